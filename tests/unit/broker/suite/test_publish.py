"""Every broker: numbering, order, interest and the life of a channel."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.broker.interface import ChannelOptions, Publisher, PublishResult
from gateway.errors import BrokerUnavailableError
from gateway.message.publication import Member, Position
from tests.unit.broker.harness import KEPT, NOT_KEPT, Harness, message

both_kinds = pytest.mark.parametrize("options", [KEPT, NOT_KEPT], ids=["kept", "not_kept"])


@both_kinds
async def test_publish_numbers_from_one_without_a_hole(harness: Harness, options: ChannelOptions) -> None:
    results = [await harness.broker.publish("c", message(), options) for _ in range(5)]
    assert [result.offset for result in results] == [1, 2, 3, 4, 5]
    assert len({result.epoch for result in results}) == 1
    assert not any(result.duplicate for result in results)


async def test_publish_counts_each_channel_for_itself(harness: Harness) -> None:
    await harness.publish_many("a", 3)
    assert (await harness.broker.publish("b", message(), KEPT)).offset == 1


async def test_publish_ignores_the_offset_it_is_given(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    given = message("m", offset=77)
    assert (await harness.broker.publish("c", given, KEPT)).offset == 1
    await harness.settle()
    assert harness.relay.offsets("c") == [1]
    assert given.offset == 77


@both_kinds
async def test_publish_carries_every_field_to_relay_unchanged(
    harness: Harness, options: ChannelOptions
) -> None:
    given = message("\x00\u20ac", binary=True, exclude="c9")
    epoch = (await harness.broker.subscribe("c", options)).epoch
    await harness.broker.publish("c", given, options)
    await harness.settle()
    expected = message("\x00\u20ac", binary=True, exclude="c9", offset=1)
    assert harness.relay.publications == [("c", epoch, expected)]


async def test_publish_without_interest_reaches_no_relay(harness: Harness) -> None:
    await harness.broker.subscribe("other", KEPT)
    await harness.publish_many("c", 2)
    await harness.settle()
    assert harness.relay.publications == []


@both_kinds
async def test_publish_many_at_once_arrive_in_order_of_offsets(
    harness: Harness, options: ChannelOptions
) -> None:
    await harness.broker.subscribe("c", options)
    results = await asyncio.gather(
        *(harness.broker.publish("c", message(f"m{n}"), options) for n in range(200))
    )
    await harness.settle()
    assert sorted(result.offset for result in results) == list(range(1, 201))
    assert harness.relay.offsets("c") == list(range(1, 201))
    by_offset = {result.offset: f"m{n}" for n, result in enumerate(results)}
    assert harness.relay.ids("c") == [by_offset[offset] for offset in range(1, 201)]


async def test_publish_from_inside_the_relay_arrives_after_what_caused_it(harness: Harness) -> None:
    tasks: list[asyncio.Future[PublishResult]] = []

    def answer(channel: str, publication: object) -> None:
        if len(tasks) < 3:
            tasks.append(asyncio.ensure_future(harness.broker.publish(channel, message("answer"), KEPT)))

    harness.relay.on_publication = answer
    await harness.broker.subscribe("c", KEPT)
    await harness.broker.publish("c", message("question"), KEPT)
    for _ in range(4):
        await harness.settle()
        await asyncio.gather(*tasks)
    await harness.settle()
    assert harness.relay.ids("c") == ["question", "answer", "answer", "answer"]
    assert harness.relay.offsets("c") == [1, 2, 3, 4]


async def test_subscribe_to_a_new_channel_gives_offset_zero(harness: Harness) -> None:
    position = await harness.broker.subscribe("c", KEPT)
    assert position.offset == 0
    assert position.epoch


async def test_subscribe_delivers_what_follows_the_position_and_nothing_else(harness: Harness) -> None:
    await harness.publish_many("c", 3)
    position = await harness.broker.subscribe("c", KEPT)
    first = await harness.broker.publish("c", message("m4"), KEPT)
    await harness.broker.publish("c", message("m5"), KEPT)
    await harness.settle()
    assert position == Position(first.epoch, 3)
    assert harness.relay.offsets("c") == [4, 5]


async def test_subscribe_again_returns_the_position_and_delivers_once(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    result = await harness.broker.publish("c", message(), KEPT)
    assert await harness.broker.subscribe("c", KEPT) == Position(result.epoch, 1)
    await harness.broker.publish("c", message(), KEPT)
    await harness.settle()
    assert harness.relay.offsets("c") == [1, 2]


async def test_subscribe_among_publishes_has_neither_hole_nor_repetition(harness: Harness) -> None:
    publishes = [harness.broker.publish("c", message(), KEPT) for _ in range(60)]
    before, during, after = publishes[:20], publishes[20:40], publishes[40:]
    await asyncio.gather(*before)
    subscribing = asyncio.ensure_future(harness.broker.subscribe("c", KEPT))
    await asyncio.gather(subscribing, *during)
    position = subscribing.result()
    await asyncio.gather(*after)
    await harness.settle()
    assert harness.relay.offsets("c") == list(range(position.offset + 1, 61))


async def test_unsubscribe_ends_delivery_and_is_idempotent(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    await harness.broker.publish("c", message(), KEPT)
    await harness.settle()
    await harness.broker.unsubscribe("c")
    await harness.broker.unsubscribe("c")
    await harness.broker.unsubscribe("never heard of")
    await harness.broker.publish("c", message(), KEPT)
    await harness.settle()
    assert harness.relay.offsets("c") == [1]


async def test_subscribe_after_unsubscribe_goes_on_in_the_same_epoch(harness: Harness) -> None:
    first = await harness.broker.subscribe("c", NOT_KEPT)
    await harness.broker.unsubscribe("c")
    await harness.broker.publish("c", message(), NOT_KEPT)
    assert await harness.broker.subscribe("c", NOT_KEPT) == Position(first.epoch, 1)


async def test_relay_that_raises_leaves_publish_done_and_the_next_in_order(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    harness.relay.fault = RuntimeError("planted")
    result = await harness.broker.publish("c", message("m1"), KEPT, key="k")
    await harness.settle()
    harness.relay.fault = None
    again = await harness.broker.publish("c", message("m1"), KEPT, key="k")
    await harness.broker.publish("c", message("m2"), KEPT)
    await harness.settle()
    assert (result.offset, again.offset, again.duplicate) == (1, 1, True)
    assert harness.relay.offsets("c") == [1, 2]
    page = await harness.broker.history("c", KEPT, since=Position(result.epoch, 0), limit=10)
    assert [publication.id for publication in page.publications] == ["m1", "m2"]


async def test_channel_forgotten_comes_back_with_another_epoch(harness: Harness) -> None:
    short = ChannelOptions(history_size=5, history_ttl_s=harness.unit_s, idempotency_ttl_s=harness.unit_s)
    first = await harness.broker.publish("c", message(), short, key="k")
    await harness.let_forget()
    assert harness.stats()["channels"] == 0
    second = await harness.broker.publish("c", message(), short)
    assert second.offset == 1
    assert second.epoch != first.epoch
    page = await harness.broker.history("c", short, since=Position(first.epoch, 1), limit=10)
    assert (page.publications, page.complete) == ([], False)


async def test_channel_with_interest_is_never_forgotten(harness: Harness) -> None:
    position = await harness.broker.subscribe("c", NOT_KEPT)
    await harness.broker.publish("c", message(), NOT_KEPT)
    await harness.let_forget()
    result = await harness.broker.publish("c", message(), NOT_KEPT)
    await harness.settle()
    assert (result.epoch, result.offset) == (position.epoch, 2)
    assert harness.relay.offsets("c") == [1, 2]


async def test_channel_with_a_member_is_never_forgotten(harness: Harness) -> None:
    await harness.broker.join("c", Member(client="c1"), NOT_KEPT)
    first = await harness.broker.publish("c", message(), NOT_KEPT)
    await harness.let_forget()
    assert (await harness.broker.publish("c", message(), NOT_KEPT)) == (first.epoch, 2, False)


async def test_methods_before_start_say_unavailable(harness: Harness) -> None:
    broker = harness.unstarted()
    with pytest.raises(BrokerUnavailableError):
        await broker.publish("c", message(), KEPT)
    with pytest.raises(BrokerUnavailableError):
        await broker.subscribe("c", KEPT)
    with pytest.raises(BrokerUnavailableError):
        await broker.probe()


async def test_stop_is_idempotent_and_nothing_works_or_arrives_after_it(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    await harness.broker.stop()
    await harness.broker.stop()
    with pytest.raises(BrokerUnavailableError):
        await harness.broker.publish("c", message(), KEPT)
    await harness.settle()
    assert harness.relay.publications == []


async def test_start_after_stop_never_uses_an_offset_twice_in_an_epoch(harness: Harness) -> None:
    first = await harness.broker.publish("c", message(), KEPT)
    await harness.broker.stop()
    await harness.broker.start(harness.relay)
    second = await harness.broker.publish("c", message(), KEPT)
    assert (second.epoch, second.offset) != (first.epoch, first.offset)


class Outcomes:
    """Notes what came of what was begun, each with its number; `whole` is set when there are `count`."""

    def __init__(self, count: int) -> None:
        self.of: list[tuple[int, PublishResult | Exception]] = []
        self.whole = asyncio.Event()
        self._count = count

    def publisher(self, number: int) -> Publisher:
        return cast(Publisher, SimpleNamespace(settle=lambda outcome: self._note(number, outcome)))

    def _note(self, number: int, outcome: PublishResult | Exception) -> None:
        self.of.append((number, outcome))
        if len(self.of) == self._count:
            self.whole.set()


@both_kinds
async def test_publishes_that_are_begun_keep_their_order_and_each_is_settled_once(
    harness: Harness, options: ChannelOptions
) -> None:
    await harness.broker.subscribe("a", options)
    outcomes = Outcomes(300)
    for number in range(300):  # more than leave in one call
        channel, key = "ab"[number % 2], "k" if number in (100, 200) else ""
        harness.broker.begin_publish(channel, message(f"m{number}"), options, key, outcomes.publisher(number))
    await asyncio.wait_for(outcomes.whole.wait(), 10)
    await harness.settle()
    assert sorted(number for number, _ in outcomes.of) == list(range(300))
    results = {number: result for number, result in outcomes.of if isinstance(result, PublishResult)}
    again = results.pop(200)
    assert (again.offset, again.duplicate) == (results[100].offset, True)
    assert [results[n].offset for n in sorted(results) if n % 2] == list(range(1, 151))
    assert [results[n].offset for n in sorted(results) if not n % 2] == list(range(1, 150))
    assert not any(result.duplicate for result in results.values())
    assert harness.relay.ids("a") == [f"m{n}" for n in range(0, 300, 2) if n != 200]


async def test_publish_that_is_begun_while_the_broker_is_not_running_is_refused(harness: Harness) -> None:
    outcomes = Outcomes(1)
    harness.unstarted().begin_publish("c", message(), KEPT, "", outcomes.publisher(1))
    await asyncio.wait_for(outcomes.whole.wait(), 10)
    assert isinstance(outcomes.of[0][1], BrokerUnavailableError)
