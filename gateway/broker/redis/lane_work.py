"""All that one node has to do with one lane of the outbox in Redis.

It knows nothing of HTTP.  How it works: what happens here is put into the lane, in order and numbered.  The
lane says how much of it it knows: where that is less than it said before, Redis lost the end of its data, and
what is missing is told again, as far as it is remembered.  Who should hold the lane is the lane's to say;
who holds it delivers from it, as long as its lease lasts; who is to give it back lets deliveries end before.
Where another node's lease has run out, the holder takes back what that one had.

What always holds: no delivery begins outside of a lease; what Redis could not be told waits here, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from ...errors import BrokerError, OutcomeUnknownError
from ..courier import Courier, Parcel
from ..outbox import OCCUPIED, VACATED, DeadLetter, Did, NoticeMaker, OutboxOptions, Told
from .lanes import MISSING, UNKNOWN, Beat, Lane

_BATCH: Final = 64
_READ: Final = 256
_MOST_TAKEN: Final = 1024  # of a lane at a time: the rest waits in Redis
_RETRY_S: Final = 0.5
_LAST_S: Final = 1.0
_REMEMBERED: Final = 2000
_REMEMBERED_S: Final = 30.0
_HANDED_ON: Final = b"h"

_logger = logging.getLogger(__name__)


class LaneWork:
    """See the module.  `make_courier` gets what hears of ends: taken, given up, idle."""

    def __init__(
        self,
        lane: Lane,
        owner: str,
        options: OutboxOptions,
        make: NoticeMaker,
        make_courier: Callable[[LaneWork], Courier],
        on_dropped: Callable[[int], None],
        on_setback: Callable[[int], None],
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.lane = lane
        self.told: deque[Told] = deque()
        self.channels: dict[str, bytes] = {}
        self.held = False
        self.waiting_there = self.dead_there = 0
        """What Redis keeps of this lane, if this node holds it."""
        self._owner = owner
        self._options = options
        self._make = make
        self._on_dropped = on_dropped
        self._on_setback = on_setback
        self._loop = loop
        self._clients: dict[str, bytes] = {}
        self._known = 0  # the number of the last thing that the lane said it knows
        self._remembered: deque[tuple[float, Told]] = deque(maxlen=_REMEMBERED)  # up to that one
        self._agreed_s = loop.time()  # when the lane last said that it knows all that it was told
        self._owes = False  # the lane may not know what is here
        self._chosen = False
        self._after = b"-"
        self._in_hand: dict[bytes, str] = {}
        self._taken: list[bytes] = []
        self._dead: deque[tuple[bytes, DeadLetter]] = deque()
        self._work = asyncio.Event()
        self._next_beat = loop.time()
        self.courier = make_courier(self)

    # -- what others call -------------------------------------------------------------------------

    def woken(self, message: bytes) -> None:
        """Hear that there is something in the lane, or that nobody holds it."""
        if message == _HANDED_ON:
            self._next_beat = self._loop.time()
        self._work.set()

    def on_taken(self, parcel: Parcel) -> None:
        """Hear that a notice was delivered."""
        self._taken.append(parcel.place)
        self._work.set()

    def on_given_up(self, parcel: Parcel, dead: DeadLetter) -> None:
        """Hear that a notice was not."""
        self._dead.append((parcel.place, dead))
        self._work.set()

    def on_idle(self) -> None:
        """Hear that no delivery is under way."""
        self._work.set()

    def tell(self, told: Told, *, keep: bool = True) -> None:
        """Take what happened; where it is not to be kept it counts for what is here, and is not told."""
        if told.did is Did.OCCUPY:
            self.channels[told.key] = told.notice
        elif told.did is Did.VACATE:
            self.channels.pop(told.key, None)
        elif told.did is Did.ENTER:
            self._clients[told.key] = told.notice
        elif told.did is Did.EXIT:
            self._clients.pop(told.key, None)
        if keep:
            self.told.append(told)
            self._work.set()

    # -- the loop ---------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Do what there is to do, again and again; at least as often as the lease wants."""
        while True:
            try:
                if self._loop.time() >= self._next_beat:
                    await self._beat()
                await self._flush()
                await self._settle()
                if self.held and self._chosen:
                    await self._read()
                elif self.held and not self.courier.under_way:
                    await self._hand_on()
            except BrokerError as problem:
                _logger.warning("redis: notices wait: %s", problem)
                await asyncio.sleep(_RETRY_S)
                self._work.set()
            except Exception:
                _logger.exception("notices: a lane cannot be served")
                await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._next_beat - self._loop.time())):
                    await self._work.wait()
            self._work.clear()

    async def leave(self) -> None:
        """Let deliveries end for a moment, tell Redis what it was not told yet, and leave.

        Raises BrokerError.
        """
        self.courier.hold()
        await self._flush()
        end = self._loop.time() + _LAST_S
        while self.courier.under_way and self._loop.time() < end:  # noqa: ASYNC110 the loop has ended
            await asyncio.sleep(0.01)
        await self.courier.stop()
        await self._settle()
        await self.lane.reap(self._owner, leaves=True)

    @property
    def _beat_s(self) -> float:
        return min(self._options.lease_s / 3, max(0.05, self._options.grace_s / 2))

    async def _beat(self) -> None:
        begun = self._loop.time()
        self._next_beat = begun + self._beat_s
        beat = await self._ask()
        await self._catch_up(beat.told)
        if self.held and not beat.held:
            _logger.warning("a lane of notices is another node's now")
            await self._let_go()
        self.held, self._chosen = beat.held, beat.chosen
        self.waiting_there, self.dead_there = beat.waiting, beat.dead
        if not beat.held:
            return
        if beat.chosen:
            self.courier.allow(begun + self._options.lease_s)
        else:
            self.courier.hold()
        if self._overlooks(beat):
            self._after = b"-"
        for owner in beat.gone:
            if await self.lane.reap(owner):
                _logger.warning("a node is gone: what it had in a lane is told of", extra={"owner": owner})
        if beat.due:
            made = [(due, self._make.about(VACATED, due.channel, int(due.when))) for due in beat.due]
            await self.lane.vacated(made)
            self._next_beat = begun  # there may be more
            self._work.set()

    async def _ask(self) -> Beat:
        """Renew the lease, and find out whether the lane knew this node.  Raises BrokerError."""
        try:
            beat = await self.lane.beat(self._owner)
        except OutcomeUnknownError:
            self._be_news()  # it may have been taken in just now, and will be known from now on
            raise
        if not beat.known:
            self._be_news()
        return beat

    def _overlooks(self, beat: Beat) -> bool:
        """Tell whether there may be entries that were not read, where reading does not come any more.

        Another server that took over may have lost entries, whose numbers are then used again, or their ends.
        """
        after, newest = _number(self._after), _number(beat.newest)
        return newest < after or (newest == after and beat.waiting > len(self._in_hand))

    async def _let_go(self) -> None:
        await self.courier.stop()
        self._in_hand.clear()
        self._taken.clear()
        self._dead.clear()
        self._after = b"-"

    async def _hand_on(self) -> None:
        """Give the lane back: it is for another node."""
        await self._let_go()
        self.held = False
        self.waiting_there = self.dead_there = 0
        await self.lane.release(self._owner)

    # -- telling ----------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Put what happened into the lane, in order.  Raises BrokerError; the rest stays."""
        while self.told:
            batch = [self.told[n] for n in range(min(_BATCH, len(self.told)))]
            status, told = await self.lane.tell(self._owner, batch, self._known + 1)
            if status == UNKNOWN:
                await self._ask()
                await self._catch_up(told)
            elif status == MISSING:
                await self._tell_again(told)
            else:
                for one in batch:
                    self.told.popleft()
                    self._remembered.append((self._loop.time(), one))
                self._known += len(batch)
                self._on_dropped(status)

    def _be_news(self) -> None:
        """Note that a lane does not know this node (any more), and has to be told all that is here.

        It may have told that channels are vacated: that they are occupied is news again.
        """
        self._owes = True
        if self._known:
            for channel, notice in self.channels.items():
                if notice:
                    self.channels[channel] = self._make.about(OCCUPIED, channel).encode()

    async def _catch_up(self, told: int) -> None:
        """Tell a lane what it does not know: it knows what was told up to a number.  Raises BrokerError."""
        if self._owes:
            await self._tell_all()
        if told < self._known:
            await self._tell_again(told)
        self._agreed_s = self._loop.time()

    async def _tell_all(self) -> None:
        """Tell what is here and not on its way to the lane.  Where this ends early, it is owed still."""
        coming = {told.key for told in self.told}
        everything = [Told(Did.OCCUPY, key, notice) for key, notice in self.channels.items()]
        everything += [Told(Did.ENTER, key, notice) for key, notice in self._clients.items()]
        known = [told for told in everything if told.key not in coming]
        for at in range(0, len(known), _BATCH):
            status = (await self.lane.tell(self._owner, known[at : at + _BATCH], 0)).status
            if status == UNKNOWN:
                return
            self._on_dropped(status)
        self._owes = False

    async def _tell_again(self, told: int) -> None:
        """Tell what the lane knew, and has lost."""
        missing, since = self._known - told, self._agreed_s - _REMEMBERED_S
        remembered = list(self._remembered)
        again = [one for at, one in remembered[-missing:] if at >= since]
        _logger.error(
            "redis lost what it was told of notices: the last of it is told again",
            extra={"missing": missing, "again": len(again)},
        )
        self._on_setback(missing - len(again))
        self._remembered = deque(remembered[:-missing], maxlen=_REMEMBERED)
        self._known = told
        self.told.extendleft(reversed(again))
        if len(again) < missing:
            self._owes = True
            await self._tell_all()

    # -- delivering -------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Tell the lane what became of notices."""
        while self._dead:
            place, dead = self._dead[0]
            dropped = await self.lane.done([place], dead)
            self._dead.popleft()
            self._in_hand.pop(place, None)
            self.dead_there += 1 - dropped
            self._on_dropped(dropped)
        while self._taken:
            batch = self._taken[:_READ]
            await self.lane.done(batch)
            del self._taken[: len(batch)]
            for place in batch:
                self._in_hand.pop(place, None)

    async def _read(self) -> None:
        """Take notices in hand, as far as there is room."""
        while self.courier.waiting < _MOST_TAKEN:
            found = await self.lane.read(self._after, _READ)
            for entry, notice in found:
                self._after = entry
                if self._in_hand.get(entry) != notice.id:
                    self._in_hand[entry] = notice.id
                    self.courier.add(Parcel(notice, entry))
            if len(found) < _READ:
                return


def _number(entry: bytes) -> tuple[int, int]:
    """Return an entry's id as Redis compares it."""
    ms, _, number = entry.decode().partition("-")
    return int(ms or 0), int(number or 0)
