"""What a node knows of one channel that it hears through Redis: where it stands, and what is missing.

A state machine without input and output: it is told what happened, and answers with steps, to be carried out
in their order by whoever drives it.  It knows nothing of connections, scripts or clocks.

How it works: pub/sub brings messages in order and at most once, and may lose any number of them when a
connection breaks.  So each time a subscription was confirmed, the channel's position is read, and what is
missing with it; messages that come meanwhile are held.  Live, a message must begin just after the last one:
one that begins later tells of a hole, and one that begins earlier of a count that went back, for which the
life of the channel is ended, since an offset would mean two publications.

What always holds: within an epoch what is delivered or announced as lost goes from each offset to the next,
without a hole or a repetition.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final, NamedTuple

from ...message.publication import Position, Publication
from ..interface import ChannelOptions, HistoryPage
from .restarts import Restarts, run_of, went_back

HELD_MESSAGES: Final = 1000
_PAST_EPOCHS: Final = 4


class State(StrEnum):
    """How much is known: no confirmed subscription; one, but not the position; all."""

    WAITING = "waiting"
    READING = "reading"
    LIVE = "live"


class Deliver(NamedTuple):
    """Give publications to the relay."""

    epoch: str
    publications: list[Publication]


class Announce(NamedTuple):
    """Tell the relay that everything up to a position is lost, as far as it did not have it."""

    position: Position


class Read(NamedTuple):
    """Read the channel's position and what follows `since` (nothing: None), and tell `read`."""

    since: Position | None


class Renew(NamedTuple):
    """End the life `epoch` of the channel, and tell `read` what holds then."""

    epoch: str


class Mark(NamedTuple):
    """Send a mark behind what is on its way, and tell `marked` when it comes."""

    top: Position


Step = Deliver | Announce | Read | Renew | Mark


class _Held(NamedTuple):
    epoch: str
    first: int
    publications: list[Publication]


class Interest:
    """One channel's state.  `position` is None until the first read."""

    __slots__ = ("_held", "_late_to", "_old", "_past", "options", "position", "restarts", "state", "turn")

    def __init__(self, options: ChannelOptions) -> None:
        self.options = options
        self.state = State.WAITING
        self.position: Position | None = None
        self.turn = 0
        """Changes whenever a read that is under way becomes worthless."""
        self._held: deque[_Held] = deque()
        self._old = 0  # so many of them came before the last interruption
        self._past: deque[str] = deque(maxlen=_PAST_EPOCHS)
        # Up to here messages may still come though they were read from history: they left before.
        self._late_to = 0
        self.restarts: Restarts | None = None
        """Of the server within this life, when the position was read last; None: that was in another life."""

    # -- what happens -------------------------------------------------------------------------

    def confirmed(self) -> list[Step]:
        """Take that from now on messages arrive, and that any number before may have been lost."""
        return self._read_again()

    def interrupted(self) -> None:
        """Take that messages may be missing until the subscription is confirmed anew."""
        self.state = State.WAITING
        self.turn += 1
        self._old = len(self._held)

    def published(self, epoch: str, first: int, publications: list[Publication]) -> list[Step]:
        """Take a message: publications of which the first has the offset `first`."""
        if self.state is State.LIVE:
            return self._take(_Held(epoch, first, publications))
        self._hold(_Held(epoch, first, publications))
        return []

    def renewed(self, epoch: str) -> list[Step]:
        """Take that a new life of the channel begins."""
        return self.published(epoch, 1, [])

    def read(self, turn: int, page: HistoryPage, restarts: Restarts | None = ()) -> list[Step]:
        """Take the reply to a Read or a Renew that was asked for at `turn`."""
        if turn != self.turn or self.state is not State.READING:
            return []
        top, mine = page.top, self.position
        if self.lost(top, restarts or ()):
            return [Renew(top.epoch)]
        if mine is not None and top.epoch != mine.epoch:
            return self._read_new_life(top, restarts)
        if self.restarts is None or run_of(restarts or ()) != run_of(self.restarts):
            self._forget_old()
        self.restarts = restarts
        if mine is None:
            self.position = top
        elif top.offset < mine.offset:
            return [Renew(mine.epoch)]
        elif page.complete and page.publications:
            return self._catch_up(page)
        elif top.offset > mine.offset:
            return self._give_up(top)
        return self._go_live(top)

    def lost(self, top: Position, restarts: Restarts) -> bool:
        """Tell whether the server lost what was heard of this life, though it says that it loses nothing."""
        mine = self.position
        return (
            mine is not None
            and mine.epoch == top.epoch
            and went_back(mine.offset, run_of(self.restarts or ()), restarts)
        )

    def compare(self, top: Position, before: Position) -> list[Step]:
        """Take the channel's newest position, read when this one's was `before` or later."""
        mine = self.position
        if self.state is not State.LIVE or mine is None:
            return []
        if top.epoch != mine.epoch:
            return self._read_again() if mine == before else []
        if before.epoch == top.epoch and top.offset < before.offset:
            return self._renew()
        return [Mark(top)] if top.offset > mine.offset else []  # it may be on its way

    def marked(self, top: Position) -> list[Step]:
        """Take that everything that was published up to `top` has come, or never will."""
        mine = self.position
        if self.state is not State.LIVE or mine is None or mine.epoch != top.epoch:
            return []
        return self._read_again() if top.offset > mine.offset else []

    # -- replies --------------------------------------------------------------------------------

    def _read_new_life(self, top: Position, restarts: Restarts | None) -> list[Step]:
        if top.epoch in self._past:  # and so it was forgotten that it had ended
            return [Renew(top.epoch)]
        steps = self._begin_life(top.epoch)
        self.restarts = restarts
        if top.offset:
            return [*steps, Read(self.position)]
        return [*steps, *self._go_live(top)]

    def _catch_up(self, page: HistoryPage) -> list[Step]:
        last = page.publications[-1].offset
        self.position = Position(page.top.epoch, last)
        steps: list[Step] = [Deliver(page.top.epoch, page.publications)]
        if last < page.top.offset:
            return [*steps, Read(self.position)]
        return steps + self._go_live(page.top)

    def _give_up(self, top: Position) -> list[Step]:
        """Go on after what cannot be had: at what is held already, or else at the top."""
        held = next(
            (h for h in self._held if h.epoch == top.epoch and h.first + len(h.publications) > 1), None
        )
        lost_to = top.offset
        if held is not None and self.position is not None:
            lost_to = min(lost_to, max(held.first - 1, self.position.offset))
        steps: list[Step] = []
        if self.position is None or lost_to > self.position.offset:
            self.position = Position(top.epoch, lost_to)
            steps.append(Announce(self.position))
        return steps + self._go_live(top)

    def _go_live(self, top: Position) -> list[Step]:
        self.state, self._late_to, self._old = State.LIVE, top.offset, 0
        steps: list[Step] = []
        while self._held and self.state is State.LIVE:
            steps += self._take(self._held.popleft())
        return steps

    # -- messages ---------------------------------------------------------------------------------

    def _hold(self, message: _Held) -> None:
        self._held.append(message)
        if len(self._held) > HELD_MESSAGES:  # it shows as a hole, and is read from history
            self._held.popleft()
            self._old = max(0, self._old - 1)

    def _forget_old(self) -> None:
        """Drop what was held of an earlier run of the server, which may have given its offsets anew."""
        for _ in range(self._old):
            self._held.popleft()
        self._old = 0

    def _take(self, message: _Held) -> list[Step]:
        epoch, first, publications = message
        mine = self.position
        if mine is None or epoch != mine.epoch:
            return self._take_new_life(message)
        if not publications:
            return []
        last = first + len(publications) - 1
        if first == mine.offset + 1:
            self._late_to = 0
            self.position = Position(epoch, last)
            return [Deliver(epoch, publications)]
        if first > mine.offset:
            self._held.appendleft(message)
            return self._read_again()
        if first > self._late_to:
            return self._renew()
        if last <= mine.offset:
            return []
        self.position = Position(epoch, last)
        return [Deliver(epoch, publications[mine.offset + 1 - first :])]

    def _take_new_life(self, message: _Held) -> list[Step]:
        epoch, first, publications = message
        if epoch in self._past:
            return []
        if first != 1:
            self._held.appendleft(message)
            return [*self._begin_life(epoch), *self._read_again()]
        if not publications:
            return self._begin_life(epoch)
        self._begin_life(epoch)
        self.position = Position(epoch, len(publications))
        return [Deliver(epoch, publications)]

    def _begin_life(self, epoch: str) -> list[Step]:
        if self.position is not None:
            self._past.append(self.position.epoch)
        self.position = Position(epoch, 0)
        self._late_to = 0
        self.restarts = None
        return [Announce(self.position)]

    def _read_again(self) -> list[Step]:
        self.state = State.READING
        self.turn += 1
        return [Read(self.position)]

    def _renew(self) -> list[Step]:
        self.state = State.READING
        self.turn += 1
        return [Renew(self.position.epoch)] if self.position is not None else []
