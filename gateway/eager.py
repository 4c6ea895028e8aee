"""Run a coroutine now, and make a task of it only if it has to wait, or not even then.

Most commands finish without waiting for anything (the memory broker never suspends), and a task
for each would cost more than the command.  Python 3.12 has eager tasks; this does the
same on 3.11.  It knows nothing of the gateway.

Limit: until its first suspension the coroutine has no current task, so
`asyncio.timeout` and `asyncio.current_task` may be used only after it; in one that is driven, never.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator
from typing import Any

_logger = logging.getLogger(__name__)


def run_eagerly(
    coro: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None] | None:
    """Run `coro` up to its end, or to where it must wait; return the task that goes on, or None at the end.

    What it raises before it first waits is raised here; later, by the task.
    """
    try:
        waits_for = coro.send(None)
    except StopIteration:
        return None
    return loop.create_task(_Begun(coro, waits_for))


def drive(coro: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    """Run `coro` up to its end, without a task: it cannot be cancelled, and nobody waits for it.

    For short work that awaits only futures, and catches what it may raise: anything else is logged.
    """
    _Driven(coro, loop).step()


class _Driven:
    """A coroutine that goes on in the callbacks of what it waits for."""

    __slots__ = ("_coro", "_loop")

    def __init__(self, coro: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
        self._coro = coro
        self._loop = loop

    def step(self, done: object = None) -> None:
        """Go on: `done` is the future, which the coroutine asks for its result by itself."""
        try:
            waits_for = self._coro.send(None)
        except StopIteration:
            return
        except (Exception, asyncio.CancelledError):
            _logger.exception("background work failed")
            return
        if waits_for is None:
            self._loop.call_soon(self.step)
            return
        waits_for._asyncio_future_blocking = False  # as a task does with what it is given
        waits_for.add_done_callback(self.step)


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine that has begun already and waits for `waits_for`, for the task that goes on with it.

    It is no generator, because what is thrown into a generator that has not begun ends it
    unseen: a task cancelled before its first step must cancel what the coroutine waits for.
    """

    __slots__ = ("_coro", "_first_step", "_waits_for")

    def __init__(self, coro: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coro = coro
        self._waits_for = waits_for
        self._first_step = True

    def send(self, value: Any) -> Any:
        """Go on; the first step only gives the task what is waited for."""
        if not self._first_step:
            return self._coro.send(value)
        # The future was marked as awaited when the coroutine gave it up; the task takes it as its own.
        self._first_step = False
        waits_for, self._waits_for = self._waits_for, None
        return waits_for

    def throw(self, *problem: Any) -> Any:
        """Raise inside the coroutine."""
        if self._first_step:
            self._first_step = False
            waits_for, self._waits_for = self._waits_for, None
            if waits_for is not None:
                waits_for.cancel()
        return self._coro.throw(*problem)

    def close(self) -> None:
        """End the coroutine where it stands."""
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("this is for a task, not to be awaited")
