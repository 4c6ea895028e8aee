"""Begin several publishes, each without waiting for the one before, and collect what comes of them.

A broker that is somewhere else (Redis, another process) takes what is published in one turn of the loop in
one go; one at a time, each would take a way to it and back.  It knows nothing of requests or of the node.

What always holds: the works begin in their order, so a broker keeps the order within a channel; outcomes are
in that order too, and none stops another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from ..eager import run_eagerly

YIELD_EVERY: Final = 64
"""After so many the event loop gets a turn."""

T = TypeVar("T")


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T | Exception]:
    """Return what each returns or raises.  `works` is best a generator: what has not begun is never made."""
    loop = asyncio.get_running_loop()
    outcomes: dict[int, T | Exception] = {}
    waiting: list[asyncio.Task[None]] = []

    async def keep(place: int, work: Coroutine[Any, Any, T]) -> None:
        try:
            outcomes[place] = await work
        except Exception as problem:  # noqa: BLE001 - it is the outcome
            outcomes[place] = problem

    for place, work in enumerate(works):
        task = run_eagerly(keep(place, work), loop)
        if task is not None:
            waiting.append(task)
        if (place + 1) % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    if waiting:
        await asyncio.wait(waiting)
    return [outcomes[place] for place in sorted(outcomes)]
