"""A gateway of several worker processes, as its tests see it: who is on which worker, and what ends them.

Workers are known by what `/api/nodes` says, and signalled only by these process ids.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.support.api import get
from tests.support.peers import Peer
from tests.support.process import GatewayProcess

WAIT_S = 30.0


async def ask(gateway: GatewayProcess, path: str) -> Any:
    """The answer to a GET, without blocking the clients of this loop."""
    return await asyncio.to_thread(get, gateway, path)


async def nodes(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """What the workers say of themselves, in the order of their numbers."""
    return list((await ask(gateway, "/api/nodes"))["nodes"])


async def pids(gateway: GatewayProcess) -> list[int]:
    """The process ids of the workers that answer."""
    return [int(node["pid"]) for node in await nodes(gateway)]


async def connect_to(gateway: GatewayProcess, worker: int, user: str = "") -> Peer:
    """Connect until the kernel gives the client to the worker of that number."""
    for _ in range(60):
        before = {n["worker"]: n["connections"] for n in await nodes(gateway)}
        peer = await Peer.connect(gateway, user)
        after = {n["worker"]: n["connections"] for n in await nodes(gateway)}
        if after[worker] > before[worker]:
            return peer
        await peer.connection.close()
        await settled(gateway, after)
    raise AssertionError(f"no connection came to worker {worker}")


async def settled(gateway: GatewayProcess, before: dict[int, int]) -> None:
    """Wait until one connection less than `before` is there."""
    most = sum(before.values()) - 1

    async def gone() -> bool:
        return int(sum(n["connections"] for n in await nodes(gateway))) <= most

    deadline = time.monotonic() + WAIT_S
    while not await gone():
        assert time.monotonic() < deadline, "a closed connection stays"
        await asyncio.sleep(0.01)


def kill(pid: int) -> None:
    """End a worker without a word."""
    os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return False


def waits_ms(gateway: GatewayProcess) -> list[int]:
    """Return how long the supervisor waited before each replacement it started, by the log."""
    return [json.loads(line)["wait_ms"] for line in gateway.log.splitlines() if '"a worker ended"' in line]


async def replacement_bound_s() -> float:
    """Return how long a replacement may take: a second, or twice what a start takes here just now, and a bit.

    What is asked for is that nobody waits for anything but the start of a process.
    """
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import gateway.worker")
    assert await process.wait() == 0
    return max(1.0, 2 * (time.monotonic() - begun) + 0.5)


async def eventually(condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> float:
    """Wait for a condition; return the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s, what
        await asyncio.sleep(0.01)
    return time.monotonic() - begun
