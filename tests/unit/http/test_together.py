"""Publishes of one request that are under way together."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.http.together import YIELD_EVERY, together


async def test_all_begin_in_order_before_the_first_ends_and_outcomes_are_in_order() -> None:
    begun: list[int] = []
    gate = asyncio.Event()

    async def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError(number)
        await gate.wait()
        return number * 10

    asked = asyncio.ensure_future(together(work(number) for number in range(5)))
    await asyncio.sleep(0)
    assert begun == [0, 1, 2, 3, 4]
    gate.set()
    *ok, _ = outcomes = await asked
    assert [outcome for outcome in outcomes if not isinstance(outcome, Exception)] == [0, 10, 20, 40]
    assert isinstance(ok[3], ValueError)


async def test_works_that_wait_for_nothing_leave_the_loop_its_turns() -> None:
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    async def work() -> int:
        return 1

    turn()
    assert await together(work() for _ in range(4 * YIELD_EVERY)) == [1] * 4 * YIELD_EVERY
    assert turns >= 4


async def test_what_is_cancelled_makes_no_more_of_them() -> None:
    made = 0

    async def work() -> None:
        await asyncio.sleep(0)

    def works() -> Iterator[Any]:
        nonlocal made
        for _ in range(10 * YIELD_EVERY):
            made += 1
            yield work()

    asked = asyncio.ensure_future(together(works()))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert made == YIELD_EVERY
    await asyncio.sleep(0.01)
