"""run_eagerly: what finishes at once makes no task; the rest goes on in one, as if it had begun there."""

from __future__ import annotations

import asyncio

import pytest

from gateway.eager import drive, run_eagerly
from tests.support.simulated import settle


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def test_coroutine_that_never_waits_is_done_at_once() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    assert run_eagerly(work(), loop()) is None
    assert done == [1]


async def test_coroutine_that_raises_before_waiting_raises_here() -> None:
    async def work() -> None:
        raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        run_eagerly(work(), loop())


async def test_coroutine_that_waits_goes_on_in_a_task_with_what_it_waited_for() -> None:
    first, second = loop().create_future(), loop().create_future()
    seen: list[object] = []

    async def work() -> None:
        seen.append(await first)
        seen.append(await second)

    task = run_eagerly(work(), loop())
    assert task is not None
    first.set_result("one")
    second.set_result("two")
    await task
    assert seen == ["one", "two"]


async def test_future_resolved_before_the_tasks_first_step_is_not_missed() -> None:
    future = loop().create_future()

    async def work() -> None:
        assert await future == "soon"

    task = run_eagerly(work(), loop())
    assert task is not None
    future.set_result("soon")
    await asyncio.wait_for(task, 1)


async def test_bare_yield_gives_the_loop_a_turn() -> None:
    order: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        order.append("work")

    task = run_eagerly(work(), loop())
    assert task is not None
    order.append("caller")
    await task
    assert order == ["caller", "work"]


async def test_exception_of_a_future_reaches_the_coroutine_and_may_be_handled() -> None:
    future = loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            await future
        except ValueError as problem:
            seen.append(str(problem))

    task = run_eagerly(work(), loop())
    assert task is not None
    future.set_exception(ValueError("late"))
    await task
    assert seen == ["late"]


async def test_exception_after_waiting_is_the_tasks() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("late")

    task = run_eagerly(work(), loop())
    assert task is not None
    with pytest.raises(ValueError, match="late"):
        await task


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_cancelled_task_cancels_the_coroutine_where_it_stands(turns: int) -> None:
    future = loop().create_future()
    seen: list[str] = []

    async def work() -> None:
        try:
            await future
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            seen.append("tidied")
            raise

    task = run_eagerly(work(), loop())
    assert task is not None
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled", "tidied"]
    assert future.cancelled()


async def test_timeout_works_after_the_first_wait() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

    task = run_eagerly(work(), loop())
    assert task is not None
    await task


async def test_driven_coroutine_goes_on_with_what_it_waited_for_and_makes_no_task() -> None:
    first, second = loop().create_future(), loop().create_future()
    seen: list[object] = []

    async def work() -> None:
        seen.append(await first)
        await asyncio.sleep(0)
        try:
            await second
        except ValueError as problem:
            seen.append(str(problem))

    before = asyncio.all_tasks()
    drive(work(), loop())
    assert asyncio.all_tasks() == before
    first.set_result("one")
    await settle()
    assert seen == ["one"]
    second.set_exception(ValueError("two"))
    await settle()
    assert seen == ["one", "two"]


async def test_what_a_driven_coroutine_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    future = loop().create_future()

    async def work() -> None:
        await future

    drive(work(), loop())
    future.cancel()
    await settle()
    assert "background work failed" in caplog.text
