"""Things that fall due: a queue ordered by time, for state that is forgotten later.

Knows nothing of what it holds or of clocks; times are seconds on the caller's clock.

What always holds: `pop_due` never gives an item before its time, and gives those of one
time in the order in which they were added.  An item is never taken out early: whoever
changed its mind recognises an outdated item when it comes.  Adding in ascending order of
time, the common case, costs no more than an append.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Deadlines(Generic[Item]):
    """A heap of (time, item); items need not be comparable."""

    __slots__ = ("_added", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due_s: float, item: Item) -> None:
        """Queue `item` for the time `due_s`."""
        self._added += 1
        heappush(self._heap, (due_s, self._added, item))

    def any_due(self, now_s: float) -> bool:
        """Tell whether an item's time has come."""
        return bool(self._heap) and self._heap[0][0] <= now_s

    def pop_due(self, now_s: float) -> tuple[float, Item] | None:
        """Remove and return the earliest item with its time, or None when none is due at `now_s`."""
        if not self._heap or self._heap[0][0] > now_s:
            return None
        due_s, _, item = heappop(self._heap)
        return due_s, item
