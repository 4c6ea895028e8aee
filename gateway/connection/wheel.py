"""One timer for all connections: a hashed wheel of deadlines.

Each item has one place on the wheel.  Moving a deadline costs two set operations, and
one callback of the loop serves every connection, not a timer each.  It knows nothing of
connections beyond their attribute `wheel_slot`.  Times are the loop's monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Scheduled(Protocol):
    """What can stand on a wheel: hashable, with a place for the wheel's note (-1: not on it)."""

    wheel_slot: int


T = TypeVar("T", bound=Scheduled)


class TimerWheel(Generic[T]):
    """Items by the time at which they want to be looked at.

    A deadline further away than `slots * tick_s` is met earlier: whoever is looked at too
    early says again when it wants to be looked at next.  Nothing is met before its
    time otherwise, or more than one tick late.
    """

    def __init__(self, *, now: float, tick_s: float = 0.25, slots: int = 512) -> None:
        self.tick_s = tick_s
        self._slots: list[set[T]] = [set() for _ in range(slots)]
        self._ticks = self._tick_of(now)

    def _tick_of(self, time_s: float) -> int:
        return int(time_s / self.tick_s)

    def schedule(self, item: T, due: float) -> None:
        """Have `item` looked at when `due` has passed; its earlier deadline is forgotten."""
        ticks = min(max(self._tick_of(due) + 1, self._ticks + 1), self._ticks + len(self._slots) - 1)
        slot = ticks % len(self._slots)
        if item.wheel_slot == slot:
            return
        if item.wheel_slot >= 0:
            self._slots[item.wheel_slot].discard(item)
        item.wheel_slot = slot
        self._slots[slot].add(item)

    def remove(self, item: T) -> None:
        """Take `item` off the wheel.  Idempotent."""
        if item.wheel_slot >= 0:
            self._slots[item.wheel_slot].discard(item)
            item.wheel_slot = -1

    def due(self, now: float) -> Iterator[T]:
        """Yield, and take off the wheel, the items whose time has come."""
        last = self._tick_of(now)
        for _ in range(min(last - self._ticks, len(self._slots))):
            self._ticks += 1
            slot = self._slots[self._ticks % len(self._slots)]
            while slot:
                item = slot.pop()
                item.wheel_slot = -1
                yield item
        self._ticks = max(last, self._ticks)

    def __len__(self) -> int:
        return sum(map(len, self._slots))
