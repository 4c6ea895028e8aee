"""Gateways in front of an app service: three nodes of one Redis or of Sentinels, or one with workers.

What always holds: a gateway that is started again listens where it did before.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from tests.support.api import get, metrics, post
from tests.support.process import GatewayProcess

from .records import AnyRecord, Died
from .redis_site import ClusterSite, RedisSite, SentinelSite
from .site import Site, WorkersSite
from .stand import Stand

_QUIET_S: Final = 1.5
_LONGEST_S: Final = 40.0


class Served(Site):
    """A site with an app service.  To be named before another kind of site."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.stand = Stand()

    async def note_dead(self) -> int:
        """Write down which dead letters there are; return how many.  Raises OSError, AssertionError."""
        answer = await asyncio.to_thread(get, self.gateways[0], "/api/deadletters?limit=1000")
        letters = answer["dead_letters"]
        self.stand.log += [Died(at=time.monotonic(), id=letter["id"]) for letter in letters]
        return len(letters)

    async def replay(self) -> int:
        """Note all dead letters, and have them delivered again; return how many."""
        dead = await self.note_dead()
        if dead:
            await asyncio.to_thread(post, self.gateways[0], "/api/deadletters/replay", {"all": True})
        return dead

    async def start(self) -> None:
        await self.stand.start()
        await super().start()

    async def _launch(self, *flags: str) -> GatewayProcess:
        return await super()._launch(*flags, *self.stand.flags)

    async def last_words(self) -> list[AnyRecord]:
        """Wait until nothing waits to be told any more, or for so long; return what the service heard.

        Dead letters are replayed, as whoever runs an app service would.
        """
        end = time.monotonic() + _LONGEST_S
        while time.monotonic() < end:
            await asyncio.sleep(0.2)
            dead = await self.replay()
            looks = [await asyncio.to_thread(metrics, gateway) for gateway in self.gateways]
            waiting = sum(v.get("ringgate_notices_waiting", 0) for v in looks)
            occupied = sum(v.get("ringgate_notices_occupied", 0) for v in looks)
            if (
                not dead
                and not waiting
                and not occupied
                and time.monotonic() - self.stand.heard_at > _QUIET_S
            ):
                break
        return self.stand.log

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            await self.stand.stop()


class ServedNodes(Served, RedisSite):
    """Three nodes of one Redis that keeps an append-only file."""

    def __init__(self, folder: Path, seed: int) -> None:
        RedisSite.__init__(self, folder, seed, aof=True)
        self.stand = Stand()


class ServedSentinels(Served, SentinelSite):
    """Three nodes of a master, a replica and Sentinels."""


class ServedCluster(Served, ClusterSite):
    """Three nodes of a Redis Cluster."""


class ServedWorkers(Served, WorkersSite):
    """One gateway with workers, which keeps notices in its memory."""

    async def _again(self, number: int, old: GatewayProcess) -> GatewayProcess:
        ports = ("--listen", old.edge, "--api-listen", old.api)
        return await self._launch("--workers", str(self.workers), *ports)
