"""Run a coroutine now, and make a task of it only if it has to wait.

Most commands finish without waiting for anything (the memory broker never suspends), and a task
for each would cost more than the command.  Python 3.12 has eager tasks; this does the
same on 3.11.  It knows nothing of the gateway.

Limit: until its first suspension the coroutine has no current task, so
`asyncio.timeout` and `asyncio.current_task` may be used only after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any


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
    return loop.create_task(_go_on(coro, waits_for))


@coroutine
def _go_on(coro: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Wait, as the task that runs this, for what `coro` waits for, and go on with it to its end."""
    while True:
        problem: BaseException | None = None
        try:
            # The future was marked as awaited when `coro` gave it up; the task takes it as its own.
            yield waits_for
        except BaseException as raised:
            problem = raised
        try:
            waits_for = coro.send(None) if problem is None else coro.throw(problem)
        except StopIteration:
            return
