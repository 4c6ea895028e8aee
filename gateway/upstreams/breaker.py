"""A circuit breaker: whether a target should be left alone, from how requests to it went.

Pure: it is told the time, and knows nothing of requests but how they ended.  It is the passive half of a
target's health; the active half is `health`.

How it works: CLOSED lets everything through.  Enough failures in a row, or a large share of failures within
a window, and it is OPEN: nothing goes through for a while.  Then it is HALF_OPEN: a few requests may probe.
One that fails opens it again, for twice the time; when all probes went well it is closed.

What always holds: half-open, at most `probes` requests are under way that began there; what began
before a change of state does not count in the state after it.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final

from .options import BreakerOptions

_MOST_REMEMBERED: Final = 1000


class BreakerState(StrEnum):
    """What a breaker does with requests."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """The state machine of one target.  Times are seconds of one clock that does not go back."""

    __slots__ = (
        "_failed_among",
        "_in_a_row",
        "_open_s",
        "_opened_at",
        "_options",
        "_outcomes",
        "_probes_good",
        "_probes_out",
        "_state",
        "opened",
        "turn",
    )

    def __init__(self, options: BreakerOptions) -> None:
        self._options = options
        self._state = BreakerState.CLOSED
        self._in_a_row = 0
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=_MOST_REMEMBERED)
        self._failed_among = 0
        self._opened_at = 0.0
        self._open_s = options.open_s
        self._probes_out = self._probes_good = 0
        self.opened = 0
        """How often it opened."""
        self.turn = 0
        """Changes with every change of state."""

    def change(self, options: BreakerOptions) -> None:
        """Take other options; one that is open is so for as long as these say."""
        if options != self._options:
            self._options = options
            self._open_s = options.open_s

    def state(self, now: float) -> BreakerState:
        """Return the state; one that was open for long enough is half-open."""
        if self._state is BreakerState.OPEN and now - self._opened_at >= self._open_s:
            self._enter(BreakerState.HALF_OPEN)
        return self._state

    def retry_in(self, now: float) -> float:
        """Return the seconds until a probe may go; 0 where something may go now."""
        if self.state(now) is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._opened_at + self._open_s - now)

    def allows(self, now: float) -> bool:
        """Tell whether a request may begin.  It changes nothing."""
        state = self.state(now)
        if state is BreakerState.HALF_OPEN:
            return self._probes_out + self._probes_good < self._options.probes
        return state is BreakerState.CLOSED

    def begin(self, now: float) -> int:
        """Take that a request begins, where `allows` says it may; return the turn for `end`."""
        if self.state(now) is BreakerState.HALF_OPEN:
            self._probes_out += 1
        return self.turn

    def end(self, turn: int, now: float, *, ok: bool | None) -> None:
        """Take how a request ended; None where that says nothing of the target, as when the asker left."""
        if turn != self.turn:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._end_probe(now, ok=ok)
        elif ok is not None:
            self._count(now, ok=ok)

    def _end_probe(self, now: float, *, ok: bool | None) -> None:
        self._probes_out -= 1
        if ok is False:
            self._open_s = min(self._open_s * 2, max(self._options.open_most_s, self._options.open_s))
            self._open(now)
        elif ok:
            self._probes_good += 1
            if self._probes_good >= self._options.probes:
                self._open_s = self._options.open_s
                self._enter(BreakerState.CLOSED)

    def _count(self, now: float, *, ok: bool) -> None:
        outcomes = self._outcomes
        self._in_a_row = 0 if ok else self._in_a_row + 1
        if len(outcomes) == outcomes.maxlen:
            self._failed_among -= not outcomes.popleft()[1]
        outcomes.append((now, ok))
        self._failed_among += not ok
        while outcomes[0][0] < now - self._options.window_s:
            self._failed_among -= not outcomes.popleft()[1]
        many = len(outcomes) >= self._options.least
        if self._in_a_row >= self._options.failures or (
            many and self._failed_among >= self._options.share * len(outcomes) and not ok
        ):
            self._open(now)

    def _open(self, now: float) -> None:
        self._opened_at = now
        self.opened += 1
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self.turn += 1
        self._in_a_row = self._failed_among = self._probes_out = self._probes_good = 0
        self._outcomes.clear()
