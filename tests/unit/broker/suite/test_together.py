"""Every broker: publications that come together, which one may keep in one piece, are read one by one."""

from __future__ import annotations

import asyncio

import pytest

from gateway.broker.interface import ChannelOptions, HistoryPage, PublishResult
from gateway.message.publication import Position
from tests.unit.broker.harness import KEPT, Harness, message


async def publish_together(
    harness: Harness, names: range, options: ChannelOptions = KEPT, keys: dict[int, str] | None = None
) -> list[PublishResult]:
    """Publish m1, m2... in one turn of the loop; `keys` are the idempotency keys of some."""
    return await asyncio.gather(
        *(harness.broker.publish("c", message(f"m{n}"), options, key=(keys or {}).get(n, "")) for n in names)
    )


def numbers(page: HistoryPage) -> list[int]:
    for publication in page.publications:
        assert publication.id == f"m{publication.offset}"
    return [publication.offset for publication in page.publications]


@pytest.mark.parametrize("offset", [0, 1, 29, 30, 31, 59, 60])
async def test_history_begins_in_the_midst_of_what_came_together(harness: Harness, offset: int) -> None:
    await publish_together(harness, range(1, 31))
    results = await publish_together(harness, range(31, 61))
    since = Position(results[0].epoch, offset)
    page = await harness.broker.history("c", KEPT, since=since, limit=60 - offset)
    assert (numbers(page), page.complete) == (list(range(offset + 1, 61)), True)
    if offset < 60:
        short = await harness.broker.history("c", KEPT, since=since, limit=60 - offset - 1)
        assert (short.publications, short.complete) == ([], False)


@pytest.mark.parametrize("limit", [1, 7, 30, 100])
async def test_history_before_ends_in_the_midst_of_what_came_together(harness: Harness, limit: int) -> None:
    await publish_together(harness, range(1, 41))
    seen: list[int] = []
    before, complete = 0, False
    while not complete:
        page = await harness.broker.history_before("c", KEPT, before=before, limit=limit)
        assert len(page.publications) <= limit
        seen, before, complete = numbers(page) + seen, page.publications[0].offset, page.complete
    assert seen == list(range(1, 41))


async def test_history_keeps_the_newest_by_number_of_what_came_together(harness: Harness) -> None:
    options = ChannelOptions(history_size=20)
    for first in (1, 31, 61):
        epoch = (await publish_together(harness, range(first, first + 30), options))[0].epoch
        top = first + 29
        page = await harness.broker.history("c", options, since=Position(epoch, top - 20), limit=99)
        assert (numbers(page), page.complete) == (list(range(top - 19, top + 1)), True)
        page = await harness.broker.history("c", options, since=Position(epoch, top - 21), limit=99)
        assert (page.publications, page.complete) == ([], False)
        page = await harness.broker.history_before("c", options, before=0, limit=99)
        assert (numbers(page), page.complete) == (list(range(top - 19, top + 1)), True)


async def test_history_of_what_came_together_keeps_nearly_all_the_bytes_it_may(harness: Harness) -> None:
    options = ChannelOptions(history_size=1000, history_bytes=32 * (harness.entry_bytes + 3))
    await publish_together(harness, range(10, 100), options)
    page = await harness.broker.history_before("c", options, before=0, limit=999)
    assert page.publications[-1].offset == 90
    assert 30 <= len(page.publications) <= 32
    assert [p.offset for p in page.publications] == list(range(91 - len(page.publications), 91))


async def test_keys_among_what_comes_together_are_each_for_their_own(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    before = await harness.broker.publish("c", message("m1"), KEPT, key="k7")
    results = await publish_together(harness, range(2, 12), keys={4: "k4", 7: "k7", 9: "k4"})
    await harness.settle()
    offsets = [2, 3, 4, 5, 6, 1, 7, 4, 8, 9]
    assert [(result.epoch, result.offset) for result in results] == [(before.epoch, n) for n in offsets]
    assert [n for n, result in enumerate(results, 2) if result.duplicate] == [7, 9]
    told = [f"m{n}" for n in (1, 2, 3, 4, 5, 6, 8, 10, 11)]
    assert harness.relay.ids("c") == told
    page = await harness.broker.history_before("c", KEPT, before=0, limit=99)
    assert [publication.id for publication in page.publications] == told
