"""What ends when: sessions whose grant ends, subscriptions whose token ends.

It knows keys and seconds; it has no timer of its own: whoever owns it says what time it is, about once a
second.  What always holds: something is in it exactly until its time has come or it is forgotten, so that it
takes no memory for what is gone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

V = TypeVar("V")


class Expiries(Generic[V]):
    """Values by the second in which they end, each by a key."""

    def __init__(self) -> None:
        self._by_second: dict[int, dict[Hashable, V]] = {}
        self._seconds: list[int] = []
        self._second_of: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._second_of)

    def watch(self, key: Hashable, value: V, at_s: float) -> None:
        """End a value at a time (seconds since 1970), in place of an earlier decision."""
        self.forget(key)
        second = math.ceil(at_s)
        bucket = self._by_second.get(second)
        if bucket is None:
            bucket = self._by_second[second] = {}
            heappush(self._seconds, second)
        bucket[key] = value
        self._second_of[key] = second

    def forget(self, key: Hashable) -> None:
        """Do not end it any more.  Idempotent."""
        second = self._second_of.pop(key, None)
        if second is not None:
            del self._by_second[second][key]

    def due(self, now_s: float) -> list[V]:
        """Return the values whose time has come, and forget them."""
        found: dict[Hashable, V] = {}
        while self._seconds and (self._seconds[0] <= now_s or not self._by_second[self._seconds[0]]):
            found |= self._by_second.pop(heappop(self._seconds))
        for key in found:
            self._second_of.pop(key, None)
        return list(found.values())
