"""Every broker: a publish repeated with its idempotency key happens once."""

from __future__ import annotations

import asyncio

from gateway.broker.interface import ChannelOptions, PublishResult
from gateway.message.publication import Position
from tests.unit.broker.harness import KEPT, NOT_KEPT, Harness, message


async def test_publish_with_a_known_key_publishes_nothing(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    first = await harness.broker.publish("c", message("m1"), KEPT, key="k")
    again = await harness.broker.publish("c", message("m2"), KEPT, key="k")
    await harness.settle()
    assert first == PublishResult(first.epoch, 1, duplicate=False)
    assert again == PublishResult(first.epoch, 1, duplicate=True)
    assert harness.relay.ids("c") == ["m1"]
    page = await harness.broker.history("c", KEPT, since=Position(first.epoch, 0), limit=10)
    assert [publication.id for publication in page.publications] == ["m1"]


async def test_publish_with_a_known_key_gives_the_first_offset_after_others(harness: Harness) -> None:
    first = await harness.broker.publish("c", message(), NOT_KEPT, key="k")
    await harness.publish_many("c", 5, NOT_KEPT)
    assert await harness.broker.publish("c", message(), NOT_KEPT, key="k") == (first.epoch, 1, True)
    assert (await harness.broker.publish("c", message(), NOT_KEPT)).offset == 7


async def test_publish_without_a_key_is_never_a_duplicate(harness: Harness) -> None:
    results = [await harness.broker.publish("c", message(), KEPT) for _ in range(3)]
    assert [result.offset for result in results] == [1, 2, 3]


async def test_key_belongs_to_its_channel(harness: Harness) -> None:
    await harness.broker.publish("a", message(), KEPT, key="k")
    assert not (await harness.broker.publish("b", message(), KEPT, key="k")).duplicate
    assert not (await harness.broker.publish("a", message(), KEPT, key="K")).duplicate


async def test_publish_of_one_key_many_times_at_once_publishes_exactly_one(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    results = await asyncio.gather(
        *(harness.broker.publish("c", message(f"m{n}"), KEPT, key="k") for n in range(100))
    )
    await harness.settle()
    assert sum(not result.duplicate for result in results) == 1
    assert {(result.epoch, result.offset) for result in results} == {(results[0].epoch, 1)}
    winner = next(n for n, result in enumerate(results) if not result.duplicate)
    assert harness.relay.ids("c") == [f"m{winner}"]


async def test_publish_of_many_keys_at_once_publishes_each_once(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    results = await asyncio.gather(
        *(harness.broker.publish("c", message(), KEPT, key=f"k{n % 20}") for n in range(100))
    )
    await harness.settle()
    assert sum(not result.duplicate for result in results) == 20
    assert harness.relay.offsets("c") == list(range(1, 21))


async def test_key_is_known_until_its_time_is_over(harness: Harness) -> None:
    options = ChannelOptions(history_size=10, idempotency_ttl_s=4 * harness.unit_s)
    await harness.broker.publish("c", message(), options, key="k")
    await harness.advance(3 * harness.unit_s)
    harness.broker.sweep()
    assert (await harness.broker.publish("c", message(), options, key="k")).duplicate
    await harness.advance(1.5 * harness.unit_s)
    assert await harness.broker.publish("c", message(), options, key="k") == (
        (await harness.broker.subscribe("c", options)).epoch,
        2,
        False,
    )


async def test_key_used_again_after_its_time_is_known_for_the_whole_time_again(harness: Harness) -> None:
    options = ChannelOptions(idempotency_ttl_s=4 * harness.unit_s)
    await harness.broker.subscribe("c", options)
    await harness.broker.publish("c", message(), options, key="k")
    await harness.advance(5 * harness.unit_s)
    second = await harness.broker.publish("c", message(), options, key="k")
    await harness.advance(3 * harness.unit_s)
    harness.broker.sweep()
    assert await harness.broker.publish("c", message(), options, key="k") == (second.epoch, 2, True)


async def test_key_outlives_interest_and_history(harness: Harness) -> None:
    options = ChannelOptions(
        history_size=5, history_ttl_s=harness.unit_s, idempotency_ttl_s=20 * harness.unit_s
    )
    await harness.broker.subscribe("c", options)
    first = await harness.broker.publish("c", message(), options, key="k")
    await harness.broker.unsubscribe("c")
    await harness.advance(10 * harness.unit_s)
    harness.broker.sweep()
    assert await harness.broker.publish("c", message(), options, key="k") == (first.epoch, 1, True)


async def test_key_with_a_time_of_zero_is_not_remembered(harness: Harness) -> None:
    options = ChannelOptions(idempotency_ttl_s=0.0)
    results = [await harness.broker.publish("c", message(), options, key="k") for _ in range(2)]
    assert [result.duplicate for result in results] == [False, False]
    assert harness.stats()["keys"] == 0


async def test_stats_count_keys_until_they_are_forgotten(harness: Harness) -> None:
    options = ChannelOptions(idempotency_ttl_s=harness.unit_s)
    for n in range(3):
        await harness.broker.publish("c", message(), options, key=f"k{n}")
    assert harness.stats()["keys"] == 3
    await harness.let_forget()
    assert harness.stats()["keys"] == 0
