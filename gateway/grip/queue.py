"""The events of one connection that wait to be sent, bounded.

Pure.  What always holds: they leave in the order in which they came; a batch has at least one event where any
waits, and no more than its bound allows after the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .events import Event, content_bytes

_MOST_BYTES: Final = 64 * 1024
_EVENT_BYTES: Final = 64  # what an event counts beside its content
_MOST_BATCH_BYTES: Final = 256 * 1024
_MOST_BATCH: Final = 1000


class EventQueue:
    """Events in order."""

    __slots__ = ("_again", "_bytes", "_events")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._again = 0  # of the first: they were sent before

    def __len__(self) -> int:
        return len(self._events)

    @property
    def news(self) -> bool:
        """Whether anything waits that was not sent before."""
        return len(self._events) > self._again

    @property
    def full(self) -> bool:
        """Whether nothing more should come for now; what comes all the same is kept."""
        return self._bytes >= _MOST_BYTES

    @property
    def has_room(self) -> bool:
        """Whether it may come again."""
        return self._bytes <= _MOST_BYTES // 2

    def put(self, event: Event) -> None:
        """Take an event."""
        self._events.append(event)
        self._bytes += len(event.content) + _EVENT_BYTES

    def take(self) -> list[Event]:
        """Return the next batch, none where nothing waits."""
        batch: list[Event] = []
        size = 0
        while self._events and len(batch) < _MOST_BATCH:
            cost = len(self._events[0].content) + _EVENT_BYTES
            if batch and size + cost > _MOST_BATCH_BYTES:
                break
            batch.append(self._events.popleft())
            size += cost
            self._bytes -= cost
        self._again = 0
        return batch

    def put_back(self, events: Sequence[Event]) -> None:
        """Take events back that were taken last, in front of all others."""
        self._events.extendleft(reversed(events))
        self._bytes += content_bytes(events) + _EVENT_BYTES * len(events)
        self._again = len(events)

    def clear(self) -> None:
        """Forget all."""
        self._events.clear()
        self._bytes = self._again = 0
