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
from gateway.missed import FRESH_S, MissedReads
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
        self.reads = MissedReads(self.since, self.whole, loop=self.time.loop, spawn=self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        run_eagerly(work, asyncio.get_running_loop())

    def page(self, after: int) -> HistoryPage:
        found = [
            Publication(id=f"m{n}", data=b"1", time_ms=0, offset=n) for n in range(after + 1, self.top + 1)
        ]
        return HistoryPage(found, Position(EPOCH, self.top), complete=True)

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

    async def whole(self, channel: str) -> HistoryPage:
        await self.call("whole")
        return self.page(self.kept_after)

    async def ask(self, offset: int, reaching: int = 50, epoch: str = EPOCH) -> tuple[list[int], bool]:
        page = await self.reads.read("c", Position(epoch, offset), reaching)
        return [publication.offset for publication in page.publications], page.complete


@pytest.mark.parametrize("order", [1, -1])
async def test_storm_costs_two_reads_and_gives_each_what_it_missed(order: int) -> None:
    source = Source()
    offsets = [*range(50)][::order]
    answers = await asyncio.gather(*(source.ask(offset) for offset in offsets for _ in range(4)))
    for n, (heard, complete) in enumerate(answers):
        offset = offsets[n // 4]
        assert complete is (offset >= 10)
        assert heard == ([*range(offset + 1, 51)] if complete else [])
    assert len(source.calls) <= 2
    assert await source.ask(30) == ([*range(31, 51)], True)
    assert len(source.calls) <= 2


async def test_lone_client_costs_one_read_of_what_it_missed() -> None:
    source = Source()
    assert await source.ask(40) == ([*range(41, 51)], True)
    assert source.calls == ["since"]


async def test_page_that_does_not_reach_the_ring_is_read_anew() -> None:
    source = Source()
    await source.ask(40)
    source.top = 60
    assert await source.ask(40, reaching=55) == ([*range(41, 61)], True)
    assert source.calls == ["since", "whole"]


async def test_page_of_another_life_answers_nothing() -> None:
    source = Source()
    await source.ask(40)
    assert await source.ask(40, epoch="f") == ([], False)


async def test_page_is_forgotten_when_it_is_not_fresh() -> None:
    source = Source()
    await source.ask(40)
    source.time.advance(FRESH_S + 0.1)
    source.reads.forget_old()
    await source.ask(40)
    assert source.calls == ["since", "since"]


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
    assert source.calls == ["since", "since"]
    assert await source.ask(5) == ([], False)
