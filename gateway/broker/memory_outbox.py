"""An outbox in the process: for a gateway on its own, and for the supervisor of several workers.

What it keeps ends with the process, and is bounded: what there is no room for is dropped, counted and
logged; so is what is left at the end.  A process that was killed cannot log: the next one begins by telling
that notices may be lost.  It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Final

import msgspec

from ..errors import CommandError
from .courier import Courier, Parcel
from .occupancy import Occupancy
from .outbox import (
    VACATED,
    DeadLetter,
    DeadPage,
    Deliver,
    Did,
    Losses,
    Notice,
    NoticeMaker,
    OutboxOptions,
    Told,
    Wanted,
)

ALONE: Final = "alone"
_LAST_S: Final = 2.0

_decoder = msgspec.msgpack.Decoder(Notice)
_logger = logging.getLogger(__name__)


class MemoryOutbox:
    """See `Outbox`."""

    def __init__(
        self,
        deliver: Deliver,
        make: NoticeMaker,
        options: OutboxOptions,
        *,
        loop: asyncio.AbstractEventLoop,
        random: Random,
        wall_ms: Callable[[], int],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._options = options
        self._make = make
        self._loop = loop
        self._occupancy = Occupancy(options.grace_s)
        self._clients: dict[str, dict[str, bytes]] = {}
        self._dead: dict[int, DeadLetter] = {}  # by the order in which they were given up
        self._deaths = 0
        self._timer: asyncio.TimerHandle | None = None
        self._losses = Losses()
        self._courier = Courier(
            deliver,
            options,
            loop=loop,
            random=random,
            wall_ms=wall_ms,
            on_taken=lambda parcel: None,
            on_given_up=self._bury,
            counts=self.counts,
        )

    async def start(self) -> None:
        """Tell that what an earlier process had not delivered is lost."""
        self._courier.add(Parcel(self._make.lost("start", 0)))

    async def stop(self) -> None:
        """Deliver for a moment what there is; log what is left."""
        if self._timer is not None:
            self._timer.cancel()
        end = self._loop.time() + _LAST_S
        while self._courier.waiting and self._loop.time() < end:  # noqa: ASYNC110 there is no event for it
            await asyncio.sleep(0.02)
        lost = self._courier.waiting
        await self._courier.stop()
        if lost or self._dead:
            self.counts["dropped"] += lost
            _logger.error(
                "notices are lost with the process", extra={"waiting": lost, "dead_letters": len(self._dead)}
            )

    def tell(self, told: Told) -> None:
        """See `Outbox.tell`: of this process."""
        self.tell_of(ALONE, told)

    def tell_of(self, owner: str, told: Told) -> None:
        """Take what happened at an owner."""
        clients = self._clients.setdefault(owner, {})
        if told.did is Did.NOTICE:
            self._put(_decoder.decode(told.notice))
        elif told.did is Did.OCCUPY:
            if self._occupancy.occupy(told.key, owner) and told.notice:
                self._put(_decoder.decode(told.notice))
        elif told.did is Did.VACATE:
            self._occupancy.vacate(told.key, owner, self._loop.time())
            self._watch()
        elif told.did is Did.ENTER:
            clients[told.key] = told.notice
        else:
            clients.pop(told.key, None)
            self._put(_decoder.decode(told.notice))

    def forget(self, owner: str) -> None:
        """Take that an owner is gone, without a word: its clients are, too."""
        self._occupancy.forget(owner, self._loop.time())
        self._watch()
        for notice in self._clients.pop(owner, {}).values():
            self._put(_decoder.decode(notice))

    def _put(self, notice: Notice) -> None:
        if self._courier.waiting >= self._options.most:
            self._lose("notices are dropped: too many wait")
        else:
            self._courier.add(Parcel(notice))

    def _lose(self, text: str) -> None:
        self.counts["dropped"] += 1
        lost = self._losses.add(1, self._loop.time())
        if lost:
            _logger.error(text, extra={"dropped": self.counts["dropped"]})
            self._courier.add(Parcel(self._make.lost("full", lost)))

    def _watch(self) -> None:
        """See that vacated channels are told of when their time has come."""
        due = self._occupancy.next_due()
        if due is not None and self._timer is None:
            self._timer = self._loop.call_at(due, self._tell_vacated)

    def _tell_vacated(self) -> None:
        self._timer = None
        for channel in self._occupancy.vacated(self._loop.time()):
            self._put(self._make.about(VACATED, channel))
        self._watch()

    # -- dead letters -----------------------------------------------------------------------------

    def _bury(self, parcel: Parcel, dead: DeadLetter) -> None:
        self._deaths += 1
        self._dead[self._deaths] = dead
        if len(self._dead) > self._options.most_dead:
            del self._dead[next(iter(self._dead))]
            self._lose("dead letters are dropped: too many are kept")

    async def dead_letters(self, wanted: Wanted, *, limit: int, after: str = "") -> DeadPage:
        """See `Outbox.dead_letters`."""
        try:
            behind = int(after or 0)
        except ValueError:
            raise CommandError("bad_request", "after is not what a page said") from None
        wants = (n for n, letter in self._dead.items() if n > behind and wanted.has(letter))
        found = list(islice(wants, limit))
        return DeadPage([self._dead[n] for n in found], str(found[-1]) if len(found) == limit else "")

    async def replay(self, wanted: Wanted) -> int:
        """See `Outbox.replay`."""
        found = self._take(wanted)
        for letter in found:
            self._put(letter.notice)
        return len(found)

    async def drop(self, wanted: Wanted) -> int:
        """See `Outbox.drop`."""
        return len(self._take(wanted))

    def _take(self, wanted: Wanted) -> list[DeadLetter]:
        found = [n for n, letter in self._dead.items() if wanted.has(letter)]
        return [self._dead.pop(n) for n in found]

    def stats(self) -> dict[str, int]:
        """See `Outbox.stats`."""
        return {
            "waiting": self._courier.waiting,
            "dead": len(self._dead),
            "occupied": len(self._occupancy),
            **{name: self.counts[name] for name in ("delivered", "failed_tries", "given_up", "dropped")},
        }
