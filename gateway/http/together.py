"""Begin several publishes, each without waiting for the one before, and collect what comes of them.

A broker that is somewhere else (Redis, another process) takes what is published in one turn of the loop in
one go; one at a time, each would take a way to it and back.  It knows nothing of requests or of the node.

What always holds: the works begin in their order, so a broker keeps the order within a channel; outcomes are
in that order too, and none stops another; what has begun goes on when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, Final, Generic, TypeVar

from ..eager import drive

YIELD_EVERY: Final = 64
"""After so many the event loop gets a turn."""

T = TypeVar("T")


async def outcome_of(work: Awaitable[T]) -> T | Exception:
    """Wait for one; return what it returns or raises."""
    try:
        return await work
    except Exception as problem:  # noqa: BLE001 - it is the outcome
        return problem


class _Outcomes(Generic[T]):
    """What came of each; `done` is resolved once nothing is left to wait for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.places: list[T | Exception | None] = []
        self.done: asyncio.Future[None] = loop.create_future()
        self._left = 1  # whoever begins them

    async def keep(self, place: int, work: Coroutine[Any, Any, T]) -> None:
        """Wait for one, and note what came of it."""
        self._left += 1
        try:
            self.places[place] = await work
        except Exception as problem:  # noqa: BLE001 - it is the outcome
            self.places[place] = problem
        finally:
            self.leave()

    def leave(self) -> None:
        """One is done."""
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T | Exception]:
    """Return what each returns or raises.  `works` is best a generator: what has not begun is never made.

    They must not need a task of their own (see `eager.drive`).
    """
    loop = asyncio.get_running_loop()
    outcomes: _Outcomes[T] = _Outcomes(loop)
    for place, work in enumerate(works):
        outcomes.places.append(None)
        drive(outcomes.keep(place, work), loop)
        if (place + 1) % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    outcomes.leave()
    await outcomes.done
    return [RuntimeError("it was cancelled") if done is None else done for done in outcomes.places]
