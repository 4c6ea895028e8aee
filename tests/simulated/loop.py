"""An event loop without sockets, whose clock only the test moves: thousands of simulated runs a minute.

It has what futures, tasks and timers need, and nothing else.  What always holds: callbacks run in the order
in which they were called for; nothing runs but by `turn`, `settle`, `advance` and `run`; what a callback
raises is raised there.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from types import TracebackType
from typing import Any, Self, cast

_MOST_TURNS = 10_000


class _Handle:
    __slots__ = ("_args", "_callback", "gone", "when_s")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], when_s: float = 0.0) -> None:
        self._callback = callback
        self._args = args
        self.when_s = when_s
        self.gone = False

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self.when_s

    def __call__(self) -> None:
        if not self.gone:
            self._callback(*self._args)


class SimulatedLoop:
    """The running loop, in a `with` block.  `loop` is this, as what it is used for."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._numbers = count()
        self._problems: list[BaseException] = []

    def __enter__(self) -> Self:
        asyncio._set_running_loop(self.loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio._set_running_loop(None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """This, for whoever needs a loop."""
        return cast(asyncio.AbstractEventLoop, self)

    # -- what asyncio asks of a loop ----------------------------------------------------------

    def time(self) -> float:
        return self.now_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.loop)

    def create_task(self, coro: Any, *, name: object = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self.loop)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = _Handle(callback, args)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> Any:
        return self.call_at(self.now_s + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = _Handle(callback, args, when)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_exception_handler(self, context: Any) -> None:
        problem = context.get("exception") or AssertionError(context["message"])
        self._problems.append(problem)

    # -- what a test does with it -------------------------------------------------------------

    def turn(self) -> None:
        """Run what is ready now, and not what that calls for."""
        ready = self._ready
        for _ in range(len(ready)):
            ready.popleft()()
        if self._problems:
            raise self._problems.pop()

    def settle(self) -> None:
        """Turn until nothing is ready."""
        for _ in range(_MOST_TURNS):
            if not self._ready:
                return
            self.turn()
        raise AssertionError("it does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass; every timer is called at its time, and what follows from one before the next."""
        until = self.now_s + seconds
        while self._timers and self._timers[0][0] <= until:
            due, _, handle = heapq.heappop(self._timers)
            if handle.gone:
                continue
            self.now_s = max(self.now_s, due)
            handle()
            self.settle()
        self.now_s = until

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, which must not need time to pass; return what it returns."""
        task = self.create_task(work)
        self.settle()
        return task.result()
