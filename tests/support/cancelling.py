"""Cancel an operation at each point at which it waits: the first, the second, and so on until it is done.

async for waits in every_wait(lambda: broker.publish(...)):
    ...  # it was cancelled at its wait number `waits`; 0 at the end: it was not
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

MOST = 200


class _Stepped:
    """An awaitable whose task is cancelled when it waits for the n-th time."""

    def __init__(self, work: Awaitable[Any], cancel_at: int) -> None:
        self._work = work
        self._cancel_at = cancel_at
        self._waits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        problem: BaseException | None = None
        while True:
            try:
                waited = inner.send(None) if problem is None else inner.throw(problem)
            except StopIteration as done:
                return done.value
            problem = None
            self._waits += 1
            if self._waits == self._cancel_at:
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield waited
            except BaseException as thrown:  # noqa: BLE001 - it is the inner one's
                problem = thrown


async def _run(work: Awaitable[Any], cancel_at: int) -> Any:
    return await _Stepped(work, cancel_at)


async def every_wait(operation: Callable[[], Awaitable[Any]]) -> AsyncIterator[int]:
    """Carry an operation out again and again, each time cancelled one wait later; see above."""
    for number in range(1, MOST):
        task = asyncio.ensure_future(_run(operation(), number))
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
            yield 0
            return
        yield number
    raise AssertionError(f"it waits more than {MOST} times")
