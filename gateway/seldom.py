"""Which lines are logged, of those that somebody else can bring about as often as they like.

It knows no logger and no text.  How it works: whoever would log a line asks how many it would stand for, and
names what it is about.  What always holds: of one kind at most one line is logged in `quiet_s`, and the
numbers of all lines add up to what happened, but for what came since the last one.  Kinds are the program's
own or the configuration's words, never a peer's, so they are few.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

QUIET_S: Final = 10.0


class Seldom:
    """The lines of one part of the program.  `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, quiet_s: float = QUIET_S) -> None:
        self._clock = clock
        self._quiet_s = quiet_s
        self._next: dict[Hashable, float] = {}  # when a line of the kind may be logged
        self._waiting: dict[Hashable, int] = {}  # how often it was not

    def times(self, kind: Hashable = "") -> int:
        """Count that something happened; return for how many its line stands, 0 if there shall be none."""
        now = self._clock()
        if now < self._next.get(kind, now):
            self._waiting[kind] = self._waiting.get(kind, 0) + 1
            return 0
        self._next[kind] = now + self._quiet_s
        return self._waiting.pop(kind, 0) + 1
