"""The running event loop with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, cast


class _Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class SimulatedTime:
    """Everything that has to do with time is simulated; the rest is the running loop's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._loop = asyncio.get_running_loop()
        self._timers: list[tuple[float, int, _Timer, Callable[[], object]]] = []
        self._numbers = count()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """This, as what it is used for."""
        return cast(asyncio.AbstractEventLoop, self)

    @property
    def timers(self) -> int:
        """How many timers wait."""
        return sum(not timer.cancelled for _, _, timer, _ in self._timers)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> _Timer:
        timer = _Timer()
        due = self.now + delay
        heapq.heappush(self._timers, (due, next(self._numbers), timer, lambda: callback(*args)))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass; every timer is called at its time."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            due, _, timer, callback = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if not timer.cancelled:
                callback()
        self.now = until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def settle(turns: int = 8) -> None:
    """Let the loop turn until what was called soon, and what that called, is done."""
    for _ in range(turns):
        await asyncio.sleep(0)
