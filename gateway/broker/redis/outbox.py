"""An outbox in Redis, shared by all nodes: a notice that is there outlives every gateway.

It knows nothing of HTTP.  How it works: what happens is put, in order, into the lane of its key.  Each lane
has a stream of notices and is held by one node at a time, which delivers from it; the lanes are spread evenly
over the nodes that live (`lane_work`).

What always holds: a notice leaves Redis only when it was delivered, given up (then it is a dead letter), or
there was no room, which is counted and logged; what Redis could not be told waits in the process, in order
and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple, Protocol

from ...errors import BrokerError, CommandError
from ..courier import Courier
from ..outbox import (
    DeadLetter,
    DeadPage,
    Deliver,
    Did,
    Losses,
    NoticeMaker,
    OutboxOptions,
    Told,
    Wanted,
)
from .lane_work import LaneWork
from .lanes import LANES, Lane, lane_of

_LAST_S: Final = 2.0
_LOOK_AT: Final = 500
_COUNTED: Final = ("delivered", "failed_tries", "given_up", "dropped", "setbacks")

_logger = logging.getLogger(__name__)


class Lanes(Protocol):
    """Whoever has the connections."""

    def lane(self, number: int, options: OutboxOptions) -> Lane:
        """Return a lane.  Raises BrokerUnavailableError before the start."""

    def hear(self, number: int, channel: bytes, take: Callable[[bytes], None]) -> None:
        """Have the messages of a lane's pub/sub channel."""


class _Found(NamedTuple):
    """A dead letter, and where it is."""

    place: str
    lane: int
    letter: DeadLetter

    @property
    def order(self) -> tuple[float, int]:
        """What comes after what."""
        return float(self.place), self.lane


class RedisOutbox:
    """See `Outbox`.  `owner` names this life of the process."""

    def __init__(
        self,
        lanes: Lanes,
        deliver: Deliver,
        make: NoticeMaker,
        options: OutboxOptions,
        *,
        owner: str,
        loop: asyncio.AbstractEventLoop,
        random: Random,
        wall_ms: Callable[[], int],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._lanes = lanes
        self._deliver = deliver
        self._make = make
        self._options = options
        self._owner = owner
        self._loop = loop
        self._random = random
        self._wall_ms = wall_ms
        self._room = asyncio.Semaphore(options.at_once)
        self._losses = Losses()
        self._works: list[LaneWork] = []
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take part in every lane.  The broker is running already."""
        for number in range(LANES):
            lane = self._lanes.lane(number, self._options)
            work = LaneWork(
                lane, self._owner, self._options, self._make, self._courier, self._drop, self._set_back,
                loop=self._loop,
            )  # fmt: skip
            self._lanes.hear(number, lane.wake, work.woken)
            self._works.append(work)
        self._tasks = [self._loop.create_task(work.serve()) for work in self._works]

    def _courier(self, work: LaneWork) -> Courier:
        return Courier(
            self._deliver,
            self._options,
            loop=self._loop,
            random=self._random,
            wall_ms=self._wall_ms,
            on_taken=work.on_taken,
            on_given_up=work.on_given_up,
            on_idle=work.on_idle,
            counts=self.counts,
            room=self._room,
        )

    async def stop(self) -> None:
        """Tell Redis what it was not told yet, for a moment, and leave."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await asyncio.gather(*map(self._leave, self._works))
        lost = self._buffered
        for work in self._works:
            await work.courier.stop()
            work.told.clear()
        if lost:
            self.counts["dropped"] += lost
            _logger.error("notices are lost: Redis could not be told", extra={"dropped": lost})

    async def _leave(self, work: LaneWork) -> None:
        try:
            await work.leave()
        except BrokerError as problem:
            _logger.warning("redis: %s", problem)

    # -- telling --------------------------------------------------------------------------------

    def tell(self, told: Told) -> None:
        """See `Outbox.tell`."""
        if not self._works:
            return
        most = self._options.most * (1 if told.did in {Did.NOTICE, Did.EXIT} else 4)
        full = self._buffered >= most
        self._works[lane_of(told.key)].tell(told, keep=not full)
        self._drop(int(full))

    @property
    def _buffered(self) -> int:
        return sum(len(work.told) for work in self._works)

    def _drop(self, count: int) -> None:
        self.counts["dropped"] += count
        lost = self._losses.add(count, self._loop.time())
        if lost:
            _logger.error("notices are dropped: too many wait", extra={"dropped": self.counts["dropped"]})
            self._confess("full", lost)

    def _set_back(self, unknown: int) -> None:
        self.counts["setbacks"] += 1
        if unknown:
            self._confess("redis", 0)

    def _confess(self, reason: str, count: int) -> None:
        """Have the service told that it will not be told something."""
        notice = self._make.lost(reason, count)
        self._works[lane_of(notice.key)].tell(Told(Did.NOTICE, notice.key, notice.encode()))

    # -- dead letters -----------------------------------------------------------------------------

    async def dead_letters(self, wanted: Wanted, *, limit: int, after: str = "") -> DeadPage:
        """See `Outbox.dead_letters`: of the whole cluster."""
        place, lane = _position(after)
        parts = await asyncio.gather(
            *(self._find(n, wanted, f"({place}" if n <= lane else place, limit) for n in range(LANES))
        )
        found = sorted((one for part in parts for one in part), key=lambda one: one.order)[:limit]
        more = f"{found[-1].place}/{found[-1].lane}" if len(found) == limit else ""
        return DeadPage([one.letter for one in found], more)

    async def _find(self, number: int, wanted: Wanted, least: str, limit: int) -> list[_Found]:
        """Return the first so many that are wanted, from a place on."""
        if not self._works:
            return []
        found: list[_Found] = []
        while len(found) < limit:
            page = await self._works[number].lane.dead_letters(least, _LOOK_AT)
            found += [_Found(at, number, letter) for at, letter in page if wanted.has(letter)]
            if len(page) < _LOOK_AT:
                break
            least = f"({page[-1].place}"
        return found[:limit]

    async def replay(self, wanted: Wanted) -> int:
        """See `Outbox.replay`."""
        return await self._take_dead("replay", wanted)

    async def drop(self, wanted: Wanted) -> int:
        """See `Outbox.drop`."""
        return await self._take_dead("drop", wanted)

    async def _take_dead(self, what: str, wanted: Wanted) -> int:
        return sum(await asyncio.gather(*(self._take_from(n, what, wanted) for n in range(len(self._works)))))

    async def _take_from(self, number: int, what: str, wanted: Wanted) -> int:
        lane, taken = self._works[number].lane, 0
        found = await self._find(number, wanted, "-inf", self._options.most_dead)
        ids = [one.letter.notice.id for one in found]
        for at in range(0, len(ids), _LOOK_AT):
            taken += await lane.take_dead(what, ids[at : at + _LOOK_AT])
        self._works[number].dead_there = max(0, self._works[number].dead_there - taken)
        return taken

    def stats(self) -> dict[str, int]:
        """See `Outbox.stats`: `waiting` and `dead` are of the lanes that this node holds."""
        held = [work for work in self._works if work.held]
        return {
            "waiting": self._buffered + sum(work.waiting_there for work in held),
            "dead": sum(work.dead_there for work in held),
            "occupied": sum(len(work.channels) for work in self._works),
            "lanes": len(held),
            **{name: self.counts[name] for name in _COUNTED},
        }


def _position(after: str) -> tuple[str, int]:
    """Return the place and lane of a cursor.  Raises CommandError."""
    if not after:
        return "-inf", -1
    place, _, lane = after.partition("/")
    try:
        float(place)
        return place, int(lane)
    except ValueError:
        raise CommandError("bad_request", "after is not what a page said") from None
