"""Every broker: what history keeps, and that no read is ever partly right."""

from __future__ import annotations

import pytest

from gateway.broker.interface import ChannelOptions, HistoryPage
from gateway.message.publication import Position
from tests.unit.broker.harness import KEPT, NOT_KEPT, Harness, message


def ids(page: HistoryPage) -> list[str]:
    return [publication.id for publication in page.publications]


async def epoch_of(harness: Harness, channel: str, options: ChannelOptions) -> str:
    return (await harness.broker.history_before(channel, options, before=0, limit=0)).top.epoch


async def since(
    harness: Harness, offset: int, options: ChannelOptions = KEPT, limit: int = 1000
) -> HistoryPage:
    epoch = await epoch_of(harness, "c", options)
    return await harness.broker.history("c", options, since=Position(epoch, offset), limit=limit)


@pytest.mark.parametrize("offset", range(6))
async def test_history_since_gives_all_that_follows_in_order(harness: Harness, offset: int) -> None:
    await harness.publish_many("c", 5)
    page = await since(harness, offset)
    assert ids(page) == [f"m{n}" for n in range(offset + 1, 6)]
    assert [publication.offset for publication in page.publications] == list(range(offset + 1, 6))
    assert page.complete
    assert page.top.offset == 5


async def test_history_gives_publications_as_they_were_published(harness: Harness) -> None:
    await harness.broker.publish("c", message("\x00\u20ac", binary=True, exclude="c9"), KEPT)
    page = await since(harness, 0)
    assert page.publications == [message("\x00\u20ac", binary=True, exclude="c9", offset=1)]


async def test_history_of_another_epoch_is_not_complete_and_empty(harness: Harness) -> None:
    await harness.publish_many("c", 3)
    page = await harness.broker.history("c", KEPT, since=Position("another", 1), limit=10)
    assert (page.publications, page.complete, page.top.offset) == ([], False, 3)


@pytest.mark.parametrize("offset", [6, 10**15, -1])
async def test_history_since_a_position_never_reached_is_not_complete(harness: Harness, offset: int) -> None:
    await harness.publish_many("c", 5)
    page = await since(harness, offset)
    assert (page.publications, page.complete) == ([], False)


async def test_history_with_exactly_limit_following_is_complete(harness: Harness) -> None:
    await harness.publish_many("c", 5)
    page = await since(harness, 2, limit=3)
    assert (ids(page), page.complete) == (["m3", "m4", "m5"], True)


async def test_history_with_more_than_limit_following_is_not_complete_and_empty(harness: Harness) -> None:
    await harness.publish_many("c", 5)
    page = await since(harness, 1, limit=3)
    assert (page.publications, page.complete, page.top.offset) == ([], False, 5)


async def test_history_limit_zero_is_complete_only_at_the_top(harness: Harness) -> None:
    await harness.publish_many("c", 2)
    assert (await since(harness, 2, limit=0)).complete
    assert not (await since(harness, 1, limit=0)).complete


async def test_history_of_an_unheard_of_channel_is_empty(harness: Harness) -> None:
    page = await harness.broker.history("new", KEPT, since=Position("x", 3), limit=10)
    assert (page.publications, page.complete, page.top.offset) == ([], False, 0)
    page = await harness.broker.history("new", KEPT, since=page.top, limit=10)
    assert (page.publications, page.complete) == ([], True)


async def test_history_top_is_the_position_that_subscribe_gives(harness: Harness) -> None:
    await harness.publish_many("c", 2)
    page = await harness.broker.history_before("c", KEPT, before=0, limit=1)
    assert page.top == await harness.broker.subscribe("c", KEPT)


async def test_history_where_none_is_kept_is_complete_only_at_the_top(harness: Harness) -> None:
    await harness.publish_many("c", 3, NOT_KEPT)
    at_top, behind = await since(harness, 3, NOT_KEPT), await since(harness, 2, NOT_KEPT)
    assert (at_top.publications, at_top.complete) == ([], True)
    assert (behind.publications, behind.complete) == ([], False)


async def test_history_keeps_the_newest_by_number(harness: Harness) -> None:
    options = ChannelOptions(history_size=3)
    await harness.publish_many("c", 10, options)
    page = await since(harness, 7, options)
    assert (ids(page), page.complete) == (["m8", "m9", "m10"], True)
    page = await since(harness, 6, options)
    assert (page.publications, page.complete) == ([], False)


async def test_history_keeps_the_newest_by_bytes(harness: Harness) -> None:
    size = harness.entry_bytes + 2
    exact = ChannelOptions(history_size=100, history_bytes=3 * size)
    await harness.publish_many("c", 9, exact)
    assert ids(await since(harness, 6, exact)) == ["m7", "m8", "m9"]
    assert not (await since(harness, 5, exact)).complete


async def test_history_one_byte_short_of_the_bound_keeps_one_less(harness: Harness) -> None:
    size = harness.entry_bytes + 2
    short = ChannelOptions(history_size=100, history_bytes=3 * size - 1)
    await harness.publish_many("c", 9, short)
    assert ids(await since(harness, 7, short)) == ["m8", "m9"]
    assert not (await since(harness, 6, short)).complete


async def test_history_with_zero_bytes_has_no_bound_on_bytes(harness: Harness) -> None:
    options = ChannelOptions(history_size=50, history_bytes=0)
    for _ in range(50):
        await harness.broker.publish("c", message("y" * 30_000), options)
    assert len((await since(harness, 0, options)).publications) == 50


async def test_publication_larger_than_the_bound_is_delivered_but_not_kept(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, history_bytes=harness.entry_bytes + 100)
    await harness.broker.subscribe("c", options)
    await harness.broker.publish("c", message("small"), options)
    large = await harness.broker.publish("c", message("y" * 101), options)
    await harness.settle()
    assert large.offset == 2
    assert harness.relay.offsets("c") == [1, 2]
    behind = await since(harness, 1, options)
    assert (behind.publications, behind.complete, behind.top.offset) == ([], False, 2)
    assert (await since(harness, 2, options)).complete


async def test_history_after_a_publication_too_large_is_complete_from_there(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, history_bytes=harness.entry_bytes + 100)
    await harness.broker.publish("c", message("y" * 101), options)
    await harness.broker.publish("c", message("small"), options)
    page = await since(harness, 1, options)
    assert (ids(page), page.complete) == (["small"], True)
    assert not (await since(harness, 0, options)).complete
    assert ids(await harness.broker.history_before("c", options, before=0, limit=9)) == ["small"]


async def test_publication_of_exactly_the_bound_is_kept(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, history_bytes=harness.entry_bytes + 100)
    await harness.broker.publish("c", message("y" * 100), options)
    assert len((await since(harness, 0, options)).publications) == 1


async def test_history_by_age_expires_each_publication_for_itself(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, history_ttl_s=4 * harness.unit_s)
    for n in range(1, 4):
        await harness.broker.publish("c", message(f"m{n}"), options)
        await harness.advance(harness.unit_s)
    assert ids(await since(harness, 0, options)) == ["m1", "m2", "m3"]
    await harness.advance(1.5 * harness.unit_s)
    assert (await since(harness, 0, options)).complete is False
    assert ids(await since(harness, 1, options)) == ["m2", "m3"]
    await harness.advance(harness.unit_s)
    page = await harness.broker.history_before("c", options, before=0, limit=10)
    assert (ids(page), page.complete) == (["m3"], True)
    await harness.advance(harness.unit_s)
    assert (await since(harness, 2, options)).complete is False
    assert (await since(harness, 3, options)).complete is True


async def test_history_ttl_of_zero_keeps_nothing(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, history_ttl_s=0.0)
    await harness.publish_many("c", 2, options)
    assert (await since(harness, 1, options)).complete is False
    assert (await since(harness, 2, options)).complete is True


async def test_history_expired_keeps_epoch_and_count_while_there_is_interest(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, history_ttl_s=harness.unit_s)
    position = await harness.broker.subscribe("c", options)
    await harness.publish_many("c", 3, options)
    await harness.advance(2 * harness.unit_s)
    await harness.let_forget()
    assert harness.stats()["publications"] == 0
    assert await harness.broker.publish("c", message("m4"), options) == (position.epoch, 4, False)
    page = await harness.broker.history("c", options, since=Position(position.epoch, 3), limit=10)
    assert (ids(page), page.complete) == (["m4"], True)


@pytest.mark.parametrize(
    ("before", "limit", "expected", "complete"),
    [
        (0, 100, [1, 2, 3, 4, 5], True),
        (0, 5, [1, 2, 3, 4, 5], True),
        (0, 2, [4, 5], False),
        (4, 2, [2, 3], False),
        (4, 3, [1, 2, 3], True),
        (2, 10, [1], True),
        (1, 10, [], True),
        (6, 2, [4, 5], False),
        (1000, 2, [4, 5], False),
        (3, 0, [], False),
    ],
)
async def test_history_before_gives_the_newest_below(
    harness: Harness, before: int, limit: int, expected: list[int], complete: bool
) -> None:
    await harness.publish_many("c", 5)
    page = await harness.broker.history_before("c", KEPT, before=before, limit=limit)
    assert [publication.offset for publication in page.publications] == expected
    assert page.complete is complete
    assert page.top.offset == 5


async def test_history_before_below_what_is_kept_is_empty_and_complete(harness: Harness) -> None:
    options = ChannelOptions(history_size=3)
    await harness.publish_many("c", 10, options)
    page = await harness.broker.history_before("c", options, before=8, limit=10)
    assert (page.publications, page.complete) == ([], True)
    page = await harness.broker.history_before("c", options, before=9, limit=10)
    assert (ids(page), page.complete) == (["m8"], True)


async def test_history_before_pages_back_to_the_oldest(harness: Harness) -> None:
    await harness.publish_many("c", 25)
    seen: list[str] = []
    before, complete = 0, False
    while not complete:
        page = await harness.broker.history_before("c", KEPT, before=before, limit=10)
        seen, before, complete = ids(page) + seen, page.publications[0].offset, page.complete
    assert seen == [f"m{n}" for n in range(1, 26)]


async def test_history_page_is_not_changed_by_later_publications(harness: Harness) -> None:
    await harness.publish_many("c", 2)
    page = await since(harness, 0)
    await harness.publish_many("c", 200)
    assert ids(page) == ["m1", "m2"]


async def test_stats_count_what_is_kept(harness: Harness) -> None:
    await harness.publish_many("a", 2)
    await harness.publish_many("b", 3, ChannelOptions(history_size=2))
    stats = harness.stats()
    assert (stats["channels"], stats["publications"]) == (2, 4)
    assert stats["history_bytes"] == 4 * (harness.entry_bytes + 2)
