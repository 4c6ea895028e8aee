"""Asking several servers the same at once, and not waiting long for the slow ones.

Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from ...errors import BrokerUnavailableError

Answer = TypeVar("Answer")


async def poll(questions: Iterable[Coroutine[Any, Any, Answer]], settle_s: float) -> list[Answer]:
    """Return the answers that there are `settle_s` after the first one, or when all have ended.

    A question may raise BrokerUnavailableError; when all did, one that names their reasons is raised.
    """
    waiting = {asyncio.ensure_future(question) for question in questions}
    everybody = set(waiting)
    answers: list[Answer] = []
    problems: list[BrokerUnavailableError] = []
    timeout_s: float | None = None
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in done:
                try:
                    answers.append(task.result())
                    timeout_s = settle_s
                except BrokerUnavailableError as problem:
                    problems.append(problem)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*everybody, return_exceptions=True)
    if answers:
        return answers
    reasons = dict.fromkeys(map(str, problems))
    raise BrokerUnavailableError("; ".join(reasons) or "there is nobody to ask")
