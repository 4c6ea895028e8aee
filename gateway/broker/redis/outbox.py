"""An outbox in Redis, shared by all nodes: a notice that is there outlives every gateway.

It knows nothing of HTTP.  How it works: what happens is put, in order, into the lane of its key.  Each lane
has a stream of notices and is held by one node at a time, which delivers from it; a node renews its leases
on all lanes.  Where a node's lease has run out, the holder of a lane takes back what it had there: its
channels become vacant, its clients are told to be gone.  A node whose lease had run out enters anew with
all that it has.

What always holds: a notice leaves Redis only when it was delivered, given up (then it is a dead letter), or
there was no room, which is counted and logged; what Redis could not be told waits in the process, in order
and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from ...errors import BrokerError
from ..courier import Courier, Parcel
from ..outbox import DeadLetter, Deliver, Did, MakeVacated, OutboxOptions, Told
from .lanes import LANES, Lane, lane_of

_BATCH: Final = 64
_READ: Final = 256
_MOST_TAKEN: Final = 1024  # of a lane at a time: the rest waits in Redis
_RETRY_S: Final = 0.5
_LAST_S: Final = 2.0

_logger = logging.getLogger(__name__)


class Lanes(Protocol):
    """Whoever has the connections."""

    def lane(self, number: int, options: OutboxOptions) -> Lane:
        """Return a lane.  Raises BrokerUnavailableError before the start."""

    def hear(self, number: int, channel: bytes, take: Callable[[bytes], None]) -> None:
        """Have the messages of a lane's pub/sub channel."""


class _Part:
    """All that this node has to do with one lane."""

    def __init__(self, lane: Lane, make_courier: Callable[[_Part], Courier]) -> None:
        self.lane = lane
        self.told: deque[Told] = deque()
        self.channels: dict[str, bytes] = {}
        self.clients: dict[str, bytes] = {}
        self.held = False
        self.after = b"-"
        self.taken: list[bytes] = []
        self.dead: deque[tuple[bytes, DeadLetter]] = deque()
        self.work = asyncio.Event()
        self.courier = make_courier(self)


class RedisOutbox:
    """See `Outbox`.  `owner` names this life of the process."""

    def __init__(
        self,
        lanes: Lanes,
        deliver: Deliver,
        make_vacated: MakeVacated,
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
        self._make_vacated = make_vacated
        self._options = options
        self._owner = owner
        self._loop = loop
        self._random = random
        self._wall_ms = wall_ms
        self._parts: list[_Part] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._buffered = 0

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take part in every lane.  The broker is running already."""
        for number in range(LANES):
            part = _Part(self._lanes.lane(number, self._options), self._courier)
            self._lanes.hear(number, part.lane.wake, lambda _, part=part: part.work.set())  # type: ignore[misc]
            self._parts.append(part)
        self._tasks = [self._loop.create_task(self._serve(part)) for part in self._parts]

    def _courier(self, part: _Part) -> Courier:
        def bury(parcel: Parcel, dead: DeadLetter) -> None:
            part.dead.append((parcel.place, dead))
            part.work.set()

        def take(parcel: Parcel) -> None:
            part.taken.append(parcel.place)
            part.work.set()

        return Courier(
            self._deliver,
            self._options,
            loop=self._loop,
            random=self._random,
            wall_ms=self._wall_ms,
            on_taken=take,
            on_given_up=bury,
            counts=self.counts,
        )

    async def stop(self) -> None:
        """Tell Redis what it was not told yet, for a moment, and leave."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await asyncio.gather(*(self._leave(part) for part in self._parts))
        for part in self._parts:
            await part.courier.stop()
        if self._buffered:
            self.counts["dropped"] += self._buffered
            _logger.error("notices are lost: Redis could not be told", extra={"dropped": self._buffered})
            self._buffered = 0

    async def _leave(self, part: _Part) -> None:
        try:
            await self._flush(part)
            await part.courier.stop()
            await self._settle(part)
            await part.lane.reap(self._owner, leaves=True)
        except BrokerError as problem:
            _logger.warning("redis: %s", problem)

    # -- telling --------------------------------------------------------------------------------

    def tell(self, told: Told) -> None:
        """See `Outbox.tell`."""
        if not self._parts:
            return
        part = self._parts[lane_of(told.key)]
        if told.did is Did.OCCUPY:
            part.channels[told.key] = told.notice
        elif told.did is Did.VACATE:
            part.channels.pop(told.key, None)
        elif told.did is Did.ENTER:
            part.clients[told.key] = told.notice
        elif told.did is Did.EXIT:
            part.clients.pop(told.key, None)
        most = self._options.most * (1 if told.did in {Did.NOTICE, Did.EXIT} else 4)
        if self._buffered >= most:
            self._drop(1)
            return
        self._buffered += 1
        part.told.append(told)
        part.work.set()

    def _drop(self, count: int) -> None:
        if not count:
            return
        before, self.counts["dropped"] = self.counts["dropped"], self.counts["dropped"] + count
        if before // 1000 != self.counts["dropped"] // 1000 or not before:
            _logger.error("notices are dropped: too many wait", extra={"dropped": self.counts["dropped"]})

    async def _flush(self, part: _Part) -> None:
        """Put what happened into the lane, in order.  Raises BrokerError; the rest stays."""
        while part.told:
            batch = [part.told[n] for n in range(min(_BATCH, len(part.told)))]
            dropped = await part.lane.tell(self._owner, batch)
            if dropped < 0:
                await self._enter(part)
                continue
            for _ in batch:
                part.told.popleft()
            self._buffered -= len(batch)
            self._drop(dropped)

    async def _enter(self, part: _Part) -> None:
        """Become known to a lane, and tell it all that is here and not on its way to it."""
        await part.lane.beat(self._owner)
        coming = {told.key for told in part.told}
        everything = [Told(Did.OCCUPY, key, notice) for key, notice in part.channels.items()]
        everything += [Told(Did.ENTER, key, notice) for key, notice in part.clients.items()]
        known = [told for told in everything if told.key not in coming]
        for at in range(0, len(known), _BATCH):
            self._drop(max(0, await part.lane.tell(self._owner, known[at : at + _BATCH])))

    # -- delivering -----------------------------------------------------------------------------

    async def _serve(self, part: _Part) -> None:
        """Do what there is to do for a lane, again and again; at least as often as its lease wants."""
        next_beat = self._loop.time()
        while True:
            try:
                if self._loop.time() >= next_beat:
                    next_beat = self._loop.time() + self._beat_s
                    await self._beat(part)
                await self._flush(part)
                await self._settle(part)
                if part.held:
                    await self._read(part)
            except BrokerError as problem:
                _logger.warning("redis: notices wait: %s", problem)
                await asyncio.sleep(_RETRY_S)
                part.work.set()
            except Exception:
                _logger.exception("notices: a lane cannot be served")
                await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_beat - self._loop.time())):
                    await part.work.wait()
            part.work.clear()

    @property
    def _beat_s(self) -> float:
        return min(self._options.lease_s / 3, max(0.05, self._options.grace_s / 2))

    async def _beat(self, part: _Part) -> None:
        beat = await part.lane.beat(self._owner)
        if not beat.known and (part.channels or part.clients):
            await self._enter(part)
        if part.held and not beat.held:
            _logger.warning("a lane of notices is another node's now")
            await part.courier.stop()
            part.taken.clear()
            part.dead.clear()
        if part.held != beat.held:
            part.held, part.after = beat.held, b"-"
        for owner in beat.gone:
            if await part.lane.reap(owner):
                _logger.warning("a node is gone: what it had in a lane is told of", extra={"owner": owner})
        if beat.due:
            await part.lane.vacated([self._make_vacated(channel) for channel in beat.due])

    async def _settle(self, part: _Part) -> None:
        """Tell the lane what became of notices."""
        while part.dead:
            place, dead = part.dead[0]
            dropped = await part.lane.done([place], dead)
            part.dead.popleft()
            self._drop(dropped)
        while part.taken:
            batch = part.taken[:_READ]
            await part.lane.done(batch)
            del part.taken[: len(batch)]

    async def _read(self, part: _Part) -> None:
        """Take notices in hand, as far as there is room."""
        while part.courier.waiting < _MOST_TAKEN:
            found = await part.lane.read(part.after, _READ)
            for entry, notice in found:
                part.after = entry
                part.courier.add(Parcel(notice, entry))
            if len(found) < _READ:
                return

    # -- dead letters -----------------------------------------------------------------------------

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """See `Outbox.dead_letters`: of the whole cluster."""
        told = await asyncio.gather(*(part.lane.dead_letters(limit) for part in self._parts))
        return sorted((d for letters in told for d in letters), key=lambda d: d.time_ms)[:limit]

    async def replay(self, ids: list[str]) -> int:
        """See `Outbox.replay`."""
        return await self._take_dead("replay", ids)

    async def drop(self, ids: list[str]) -> int:
        """See `Outbox.drop`."""
        return await self._take_dead("drop", ids)

    async def _take_dead(self, what: str, ids: list[str]) -> int:
        return sum(await asyncio.gather(*(part.lane.take_dead(what, ids) for part in self._parts)))

    def stats(self) -> dict[str, int]:
        """See `Outbox.stats`: of this node; `waiting` is in hand, or not put into Redis yet."""
        return {
            "waiting": self._buffered + sum(part.courier.waiting for part in self._parts),
            "dead": 0,
            "occupied": sum(len(part.channels) for part in self._parts),
            "lanes": sum(part.held for part in self._parts),
            **{name: self.counts[name] for name in ("delivered", "failed_tries", "given_up", "dropped")},
        }
