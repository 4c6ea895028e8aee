"""What a run is made against: gateways, the proxies before them, and how to look at them.

A site knows how to start real processes and where they listen; it knows nothing of clients, faults or rules.
What always holds: after `stop` nothing that it started is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.support.api import metrics
from tests.support.process import GatewayProcess, start_gateway

from .ending import BASELINE
from .proxy import FaultProxy
from .records import AnyRecord, Sample

NAMESPACES: Final = (
    "default.presence=false",
    "default.ring_idle=300ms",
    "long.history_size=100000",
    "long.history_bytes=256MiB",
    "plain.history_size=0",
    "doc.state=true",
    "doc.history_size=30",
    "skipping.history_size=0",
    "skipping.slow=skip",
    "skipping.ring_bytes=128KiB",
)
HEARTBEAT: Final = (
    *("--websocket-ping-interval", "1s", "--websocket-idle-timeout", "3s"),
    *("--websocket-close-timeout", "1s"),
)
FLAGS: Final = (
    *HEARTBEAT,
    *("--shutdown-timeout", "3s", "--session-resume-ttl", "5s"),
    *(part for option in NAMESPACES for part in ("--namespace", option)),
)
HISTORY: Final = {"long": 100_000, "plain": 0, "skipping": 0}
"""How many publications the channels of each namespace keep."""


class Site:
    """Gateways that are one for clients.  `edges` are where clients connect, by way of a proxy or not.

    `seed` is for the proxies; a folder takes the logs.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.gateways: list[GatewayProcess] = []
        self.client_proxies: list[FaultProxy] = []
        self._seed = seed
        self._started = 0

    async def start(self) -> None:
        """Start everything, with a proxy for clients in front of each gateway."""
        raise NotImplementedError

    async def _launch(self, *flags: str) -> GatewayProcess:
        self._started += 1
        log_path = self.folder / f"gateway-{self._started}.log"
        return await asyncio.to_thread(start_gateway, *FLAGS, *flags, log_path=log_path)

    async def _stand_before(self, gateway: GatewayProcess) -> None:
        proxy = FaultProxy(("127.0.0.1", gateway.edge_port), seed=self._seed)
        await proxy.start()
        self.client_proxies.append(proxy)

    async def stop(self) -> None:
        """End everything.  Raises GatewayProcessError when a gateway did not stop by itself."""
        for proxy in self.client_proxies:
            await proxy.close()
        ends = [asyncio.to_thread(gateway.stop) for gateway in self.gateways]
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end

    async def last_words(self) -> list[AnyRecord]:
        """Return what else was written down, once all clients have left."""
        return []

    # -- where things are -------------------------------------------------------------------

    @property
    def apis(self) -> list[str]:
        """Internal ports, as HOST:PORT."""
        return [gateway.api for gateway in self.gateways]

    def edges(self, *, proxied: bool) -> Callable[[int], str]:
        """Return a function of a number (any) to the URL of an edge."""

        def url(number: int) -> str:
            index = number % len(self.gateways)
            address = self.client_proxies[index].address if proxied else self.gateways[index].edge
            return f"ws://{address}/ws"

        return url

    # -- looking ----------------------------------------------------------------------------

    async def sample(self, phase: str) -> list[Sample]:
        """Read every gateway's metrics and descriptors."""
        return [await asyncio.to_thread(self._sample, n, g, phase) for n, g in enumerate(self.gateways)]

    def _sample(self, number: int, gateway: GatewayProcess, phase: str) -> Sample:
        processes = family(gateway.pid)  # before the question, which takes a descriptor itself
        values = {"rig_descriptors": float(sum(map(descriptors, processes)))}
        values["rig_processes"] = float(len(processes))
        values |= metrics(gateway) | self._more_values()
        return Sample(at=time.monotonic(), gateway=f"g{number}", phase=phase, values=values)

    def _more_values(self) -> dict[str, float]:
        return {}

    async def quiet(self, start: Sequence[Sample], within_s: float) -> list[Sample]:
        """Wait until all that is judged is back at the start, or for so long; return the last look."""
        deadline = time.monotonic() + within_s
        while True:
            await asyncio.sleep(0.2)
            now = await self.sample("end")
            pairs = list(zip(start, now, strict=True))
            back = all(b.values.get(n, 0) <= a.values.get(n, 0) for a, b in pairs for n in BASELINE)
            if back or time.monotonic() > deadline:
                return now

    async def restart(self, number: int) -> None:
        """End a gateway with SIGTERM, and start it anew on the same ports."""
        old = self.gateways[number]
        await asyncio.to_thread(old.stop)
        self.gateways[number] = await self._again(number, old)

    async def _again(self, number: int, old: GatewayProcess) -> GatewayProcess:
        raise NotImplementedError


class WorkersSite(Site):
    """One gateway with workers and the memory broker: clients see one edge, and die with a worker."""

    workers = 3

    async def start(self) -> None:
        self.gateways = [await self._launch("--workers", str(self.workers))]
        await self._stand_before(self.gateways[0])

    async def worker_pids(self) -> list[int]:
        """The process ids of the workers that there are."""
        return [pid for pid in family(self.gateways[0].pid) if pid != self.gateways[0].pid]


def family(pid: int) -> list[int]:
    """A process and its children that are no zombies."""
    children = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children += [int(child) for child in file.read().split()]
    return [pid, *(child for child in children if _alive(child))]


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return False


def descriptors(pid: int) -> int:
    """How many descriptors a process has open; 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
