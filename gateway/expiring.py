"""Which sessions end when, because what they were granted ends then.

It knows sessions by their client ids, and seconds; it has no timer of its own: whoever owns it says what
time it is, about once a second.  What always holds: a session is in it exactly while its grant can expire
and it is open, so that it takes no memory for those that are gone.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .door import Held


class Expiries:
    """Sessions, and clients that are passed through, by the second in which they end."""

    def __init__(self) -> None:
        self._by_second: dict[int, dict[str, Held]] = {}
        self._seconds: list[int] = []
        self._second_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._second_of)

    def watch(self, session: Held, at_s: float) -> None:
        """End a session at a time (seconds since 1970), in place of an earlier decision."""
        self.forget(session)
        second = math.ceil(at_s)
        bucket = self._by_second.get(second)
        if bucket is None:
            bucket = self._by_second[second] = {}
            heappush(self._seconds, second)
        bucket[session.client] = session
        self._second_of[session.client] = second

    def forget(self, session: Held) -> None:
        """Do not end a session any more.  Idempotent."""
        second = self._second_of.pop(session.client, None)
        if second is not None:
            del self._by_second[second][session.client]

    def due(self, now_s: float) -> list[Held]:
        """Return the sessions whose time has come, and forget them."""
        found: list[Held] = []
        while self._seconds and (self._seconds[0] <= now_s or not self._by_second[self._seconds[0]]):
            found += self._by_second.pop(heappop(self._seconds)).values()
        for session in found:
            self._second_of.pop(session.client, None)
        return found
