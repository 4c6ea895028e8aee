"""Clients that are passed through, when an address is taken out: by a reload, or by an operator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.integration.test_passthrough import OPTIONS, service
from tests.support.api import get, metrics, post
from tests.support.process import GatewayProcess, StartGateway
from tests.support.waiting import until

MOVING = 'move_within = "1s"\n'


def configured(
    *addresses: str, route: str = f'[route.chat]\npath = "/app/*"\nupstream = "app"\n{MOVING}'
) -> str:
    upstream = f'[upstream.app]\naddresses = {json.dumps(addresses)}\nbalance = "least_pending"\n'
    return (upstream if addresses else "") + route


class Clients:
    """Clients of a route, by what the service at which they arrived says."""

    def __init__(self, gateway: GatewayProcess, stack: contextlib.AsyncExitStack) -> None:
        self._url = f"ws://{gateway.edge}/app/x"
        self._stack = stack
        self.at: dict[str, list[Any]] = {}

    async def come(self, count: int) -> None:
        for _ in range(count):
            client = await self._stack.enter_async_context(websockets.connect(self._url, **OPTIONS))
            self.at.setdefault(str(await client.recv()), []).append(client)

    async def leave(self, name: str) -> None:
        """Wait until those at a service were told to come back, and not all at once."""
        loop, ends = asyncio.get_running_loop(), list[float]()

        async def note(client: Any) -> None:
            await client.wait_closed()
            ends.append(loop.time())

        leaving = self.at.pop(name)
        async with asyncio.timeout(30):
            await asyncio.gather(*map(note, leaving))
        assert {client.close_code for client in leaving} == {1012}
        assert max(ends) - min(ends) > 0.05  # 8 of them within a second: once in 10 ** 8 runs

    def stay(self, name: str, count: int) -> None:
        assert [client.close_code for client in self.at[name]] == [None] * count


@asynccontextmanager
async def site(start: StartGateway, file: Path, *flags: str) -> AsyncIterator[tuple[Any, Clients, Any]]:
    """Two services, "a" and "b", their gateway, and 16 clients; what reloads it with other text."""
    async with contextlib.AsyncExitStack() as stack:
        (_, a), (_, b) = [await stack.enter_async_context(service(name)) for name in "ab"]
        await asyncio.to_thread(file.write_text, configured(a, b))
        gateway = await asyncio.to_thread(start, "--config", str(file), *flags)
        clients = Clients(gateway, stack)
        await clients.come(16)
        said = "configuration reloaded"

        async def reload(text: str) -> None:
            before = gateway.log.count(said)
            await asyncio.to_thread(file.write_text, text)
            os.kill(gateway.pid, signal.SIGHUP)
            await until(lambda: gateway.log.count(said) > before)

        yield gateway, clients, (a, b, reload)


async def counted(gateway: GatewayProcess, name: str) -> float | None:
    shown = await asyncio.to_thread(metrics, gateway)
    return shown.get(f'ringgate_passed_{name}{{route="chat"}}')


async def shown_targets(gateway: GatewayProcess) -> dict[str, dict[str, Any]]:
    groups = (await asyncio.to_thread(get, gateway, "/api/upstreams"))["upstreams"]
    return {
        target["address"].replace("http:", "ws:"): target for group in groups for target in group["targets"]
    }


async def test_a_reload_moves_clients_of_an_address_and_ends_those_of_a_route(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    async with site(gateway_process, tmp_path / "ringgate.toml") as (gateway, clients, (a, b, reload)):
        await reload(configured(b))
        there = await shown_targets(gateway)
        assert (there[b]["pending"], there[b]["draining"]) == (8, False)
        assert (there[a]["pending"], there[a]["draining"]) == (8, True)
        await clients.leave("a")
        clients.stay("b", 8)
        await until_shown(gateway, {b: 8})
        await clients.come(1)
        assert await counted(gateway, "opened_total") == 17, "a reload begins nothing anew"
        assert await counted(gateway, "moved_total") == 8
        assert await counted(gateway, "connections") == 9

        await reload(configured(b, route=""))
        with pytest.raises(InvalidStatus) as refused:
            await clients.come(1)
        assert refused.value.response.status_code == 404
        assert await counted(gateway, "opened_total") == 17
        await clients.leave("b")
        await until_counted(gateway, "connections", 0)

        await reload(configured(route=""))
        await reload(configured(a, b))
        await clients.come(2)


async def until_shown(gateway: GatewayProcess, pending: dict[str, int]) -> None:
    async def same() -> bool:
        return {where: t["pending"] for where, t in (await shown_targets(gateway)).items()} == pending

    await until(same)


async def until_counted(gateway: GatewayProcess, name: str, value: float) -> None:
    async def same() -> bool:
        return await counted(gateway, name) == value

    await until(same)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_operator_drains_an_address_and_uses_it_again(
    gateway_process: StartGateway, tmp_path: Path, workers: str
) -> None:
    flags = ("--workers", workers)
    async with site(gateway_process, tmp_path / "ringgate.toml", *flags) as (gateway, clients, (a, b, _)):
        done = await asyncio.to_thread(ringgate, gateway, "drain", "app", a)
        count = len(clients.at["a"])
        assert json.loads(done.stdout) == {"targets": 1, "pending": count}
        await clients.leave("a")
        clients.stay("b", 16 - count)
        await clients.come(4)
        clients.stay("b", 20 - count)
        listed = (await asyncio.to_thread(ringgate, gateway, "list")).stdout
        assert f"app  {a.replace('ws', 'http')}  draining  0 pending" in listed
        assert f"app  {b.replace('ws', 'http')}  up" in listed
        if workers == "2":
            await replace_workers(gateway)
            clients.at.clear()
            await clients.come(6)
            assert list(clients.at) == ["b"], "a worker that is new knows what is drained"
        await asyncio.to_thread(post, gateway, "/api/upstreams/undrain", {"upstream": "app", "address": a})
        await clients.come(4)
        assert clients.at["a"]
        wrong = await asyncio.to_thread(ringgate, gateway, "drain", "app", "ws://127.0.0.1:1", ok=False)
        assert "has no such address" in wrong.stderr


async def replace_workers(gateway: GatewayProcess) -> None:
    """Have every worker killed, and wait for the next."""
    nodes = (await asyncio.to_thread(get, gateway, "/api/nodes"))["nodes"]
    for node in nodes:
        os.kill(node["pid"], signal.SIGKILL)
    before = {node["pid"] for node in nodes}

    async def replaced() -> bool:
        now = {node["pid"] for node in (await asyncio.to_thread(get, gateway, "/api/nodes"))["nodes"]}
        return len(now) == len(before) and not now & before

    await until(replaced)


def ringgate(gateway: GatewayProcess, *words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "upstreams", *words, "--api", f"http://{gateway.api}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) is ok, done.stderr
    return done
