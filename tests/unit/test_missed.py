"""Many who resume at once share reads, and each gets exactly what it missed or is told that it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.broker import HistoryPage
from gateway.eager import run_eagerly
from gateway.errors import BrokerUnavailableError
from gateway.message.publication import Position, Publication
from gateway.missed import FRESH_S, SLACK, STALE_S, MissedReads
from tests.support.simulated import SimulatedTime

EPOCH = "e"


class Source:
    """A channel with offsets up to `top`, of which those after `kept_after` are kept."""

    def __init__(self, top: int = 50, kept_after: int = 10) -> None:
        self.top, self.kept_after = top, kept_after
        self.waits = True
        self.fault: Exception | None = None
        self.calls: list[str] = []
        self.time = SimulatedTime()
        self.reads = MissedReads(self.since, self.newest, loop=self.time.loop, spawn=self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        run_eagerly(work, asyncio.get_running_loop())

    def page(self, after: int, *, complete: bool = True) -> HistoryPage:
        found = [
            Publication(id=f"m{n}", data=b"1", time_ms=0, offset=n) for n in range(after + 1, self.top + 1)
        ]
        return HistoryPage(found, Position(EPOCH, self.top), complete)

    async def call(self, name: str) -> None:
        self.calls.append(name)
        if self.waits:
            await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault

    async def since(self, channel: str, since: Position) -> HistoryPage:
        await self.call("since")
        if since.epoch == EPOCH and self.kept_after <= since.offset <= self.top:
            return self.page(since.offset)
        return HistoryPage([], Position(EPOCH, self.top), complete=False)

    async def newest(self, channel: str, limit: int | None) -> HistoryPage:
        await self.call("all" if limit is None else f"newest {limit}")
        after = max(self.kept_after, self.top - limit) if limit is not None else self.kept_after
        return self.page(after, complete=after == self.kept_after)

    async def ask(self, offset: int, reaching: int = 0, epoch: str = EPOCH) -> tuple[list[int], bool]:
        reaching = reaching or self.top
        page = await self.reads.read("c", Position(epoch, offset), reaching=reaching, top=reaching)
        return [publication.offset for publication in page.publications], page.complete


@pytest.mark.parametrize("order", [1, -1])
async def test_storm_costs_one_read_and_gives_each_what_it_missed(order: int) -> None:
    source = Source()
    offsets = [*range(50)][::order]
    answers = await asyncio.gather(*(source.ask(offset) for offset in offsets for _ in range(4)))
    for n, (heard, complete) in enumerate(answers):
        offset = offsets[n // 4]
        assert complete is (offset >= 10)
        assert heard == ([*range(offset + 1, 51)] if complete else [])
    assert len(source.calls) == 1
    assert await source.ask(30) == ([*range(31, 51)], True)
    assert len(source.calls) == 1


async def test_read_of_a_long_history_is_of_what_was_missed_and_a_little_more() -> None:
    source = Source(top=9 * SLACK, kept_after=0)
    since = 8 * SLACK
    assert (await source.ask(since))[1]
    assert source.calls == [f"newest {2 * SLACK}"]
    assert len((await source.ask(since - SLACK))[0]) == 2 * SLACK
    assert len(source.calls) == 1
    assert len((await source.ask(10))[0]) == 9 * SLACK - 10
    assert source.calls[1:] == ["all"]
    assert (await source.ask(0))[1]
    assert len(source.calls) == 2


async def test_page_that_does_not_reach_the_ring_is_read_anew() -> None:
    source = Source()
    await source.ask(40)
    source.top = 60
    assert await source.ask(40, reaching=55) == ([*range(41, 61)], True)
    assert len(source.calls) == 2


async def test_page_of_another_life_answers_nothing() -> None:
    source = Source()
    await source.ask(40)
    assert await source.ask(40, epoch="f") == ([], False)


async def test_page_is_forgotten_when_nobody_asks_or_it_is_old() -> None:
    source = Source()
    await source.ask(40)
    source.time.advance(FRESH_S + 0.1)
    source.reads.forget_old()
    await source.ask(40)
    assert len(source.calls) == 2
    while source.time.now < 1000.0 + STALE_S:
        source.time.advance(FRESH_S - 0.1)
        source.reads.forget_old()
        await source.ask(40)
        assert len(source.calls) == 2
    source.time.advance(FRESH_S * 2)
    source.reads.forget_old()
    await source.ask(40)
    assert len(source.calls) == 3


async def test_fault_reaches_all_who_wait_and_the_next_reads_anew() -> None:
    source = Source()
    source.fault = BrokerUnavailableError("planted")
    answers = await asyncio.gather(*(source.ask(n) for n in (20, 30)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [BrokerUnavailableError] * 2
    source.fault = None
    assert (await source.ask(40))[1]


async def test_broker_that_answers_at_once_is_asked_each_time() -> None:
    source = Source()
    source.waits = False
    for offset in (20, 30):
        assert await source.ask(offset) == ([*range(offset + 1, 51)], True)
    assert source.calls[1:] == ["since", "since"], "the first finds out"
    assert await source.ask(5) == ([], False)
