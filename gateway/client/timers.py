"""What the client needs of a clock: an asyncio loop has it, and so has a test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """One call that is to come."""

    def cancel(self) -> None:
        """Do not call.  Idempotent."""


class Timers(Protocol):
    """A monotonic clock in seconds, and calls at a later time."""

    def time(self) -> float:
        """Return the time."""

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: object) -> Timer:
        """Call once, in so many seconds."""


class Alarm:
    """One timer that is set, set anew, and stopped."""

    __slots__ = ("_callback", "_timer", "_timers")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback = callback
        self._timer: Timer | None = None

    def set(self, delay_s: float) -> None:
        """Call in so many seconds, and not when it was set to before."""
        self.stop()
        self._timer = self._timers.call_later(delay_s, self._ring)

    def stop(self) -> None:
        """Do not call.  Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._callback()
