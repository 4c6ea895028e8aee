"""Subscriptions on one server that says whatever the test wants."""

from __future__ import annotations

import asyncio

import pytest

from gateway.broker.redis.shard import Shard
from tests.support.fake_redis import Command, FakeRedis, array, bulk, confirmation
from tests.support.redis_shards import Recorder, until
from tests.unit.broker.redis_transport.conftest import StartShard


def message(channel: bytes, payload: bytes) -> bytes:
    return array(bulk(b"message"), bulk(channel), bulk(payload))


def words(fake: FakeRedis) -> list[Command]:
    return [command for command in fake.commands if b"SUBSCRIBE" in command[0].upper()]


async def subscribed(start_shard: StartShard, fake: FakeRedis, *channels: bytes) -> tuple[Shard, Recorder]:
    shard, recorder = await start_shard(fake.url)
    shard.subscribe(channels)
    await until(lambda: recorder.subscribed == set(channels), "the subscriptions")
    fake.commands.clear()
    recorder.events.clear()
    return shard, recorder


async def test_wishes_of_one_turn_are_one_command(fake: FakeRedis, start_shard: StartShard) -> None:
    shard, recorder = await start_shard(fake.url)
    shard.subscribe([b"a", b"b"])
    shard.subscribe([b"c", b"a"])
    shard.unsubscribe([b"b", b"never wanted"])
    await until(lambda: recorder.subscribed, "the subscriptions")
    assert words(fake) == [(b"subscribe", b"a", b"c")]
    assert recorder.events == [("subscribed", b"a"), ("subscribed", b"c")]


async def test_wish_taken_back_in_the_same_turn_is_never_sent(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(fake.url)
    shard.subscribe([b"a"])
    shard.unsubscribe([b"a"])
    shard.subscribe([b"b"])
    await until(lambda: recorder.subscribed, "the subscription")
    assert words(fake) == [(b"subscribe", b"b")]


async def test_channel_that_is_confirmed_already_is_confirmed_again_without_a_command(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(fake.url)
    shard.subscribe([b"a"])
    await until(lambda: recorder.subscribed, "the subscription")
    shard.unsubscribe([b"a"])
    shard.subscribe([b"a"])
    await until(lambda: len(recorder.events) == 2, "the second confirmation")
    assert len(words(fake)) == 1


async def test_confirmation_counts_only_when_no_later_command_can_undo_it(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(fake.url)
    fake.answer = lambda command: None if b"subscribe" in command[0] else fake.agree(command)
    shard.subscribe([b"a"])
    await until(lambda: len(words(fake)) == 1, "the first command")
    shard.unsubscribe([b"a"])
    await until(lambda: len(words(fake)) == 2, "the second command")
    shard.subscribe([b"a"])
    await until(lambda: len(words(fake)) == 3, "the third command")
    fake.writers[-1].write(confirmation(b"subscribe", b"a") + confirmation(b"unsubscribe", b"a"))
    await asyncio.sleep(0.05)
    assert not recorder.events
    fake.writers[-1].write(confirmation(b"subscribe", b"a"))
    await until(lambda: recorder.events == [("subscribed", b"a")], "the confirmation")


async def test_messages_of_one_read_come_in_one_batch_and_in_order(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    _, recorder = await subscribed(start_shard, fake, b"a", b"b")
    fake.writers[-1].write(message(b"a", b"1") + message(b"b", b"2") + message(b"a", b"3"))
    await until(lambda: len(recorder.messages) == 3, "the messages")
    assert recorder.messages == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert recorder.batches == [3]


async def test_messages_and_confirmations_of_one_read_keep_their_order(
    fake: FakeRedis, start_shard: StartShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, recorder = await subscribed(start_shard, fake, b"a")
    fake.answer = lambda command: (
        message(b"a", b"1") + confirmation(b"subscribe", b"b") + message(b"b", b"2")
        if command[0] == b"subscribe"
        else fake.agree(command)
    )
    order: list[object] = []
    monkeypatch.setattr(recorder, "on_messages", order.extend)
    monkeypatch.setattr(recorder, "on_subscribed", order.extend)
    shard.subscribe([b"b"])
    await until(lambda: len(order) == 3, "all of it")
    assert order == [(b"a", b"1"), b"b", (b"b", b"2")]


async def test_messages_byte_by_byte_are_the_same(fake: FakeRedis, start_shard: StartShard) -> None:
    _, recorder = await subscribed(start_shard, fake, b"a")
    for byte in message(b"a", b"x\r\ny") + message(b"a", b""):
        fake.writers[-1].write(bytes([byte]))
        await asyncio.sleep(0)
    await until(lambda: len(recorder.messages) == 2, "the messages")
    assert recorder.messages == [(b"a", b"x\r\ny"), (b"a", b"")]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400\r\n\r\n",
        b":1\r\n",
        b"*0\r\n",
        b"-ERR what?\r\n",
        array(bulk(b"subscribe"), b":1\r\n", b":1\r\n"),
        array(bulk(b"subscribe"), bulk(b"stranger"), b":1\r\n"),
        array(bulk(b"pmessage"), bulk(b"*"), bulk(b"a")),
        b"*3\r\n$7\r\nmess",
    ],
)
async def test_stream_that_talks_nonsense_or_falls_silent_is_made_anew(
    fake: FakeRedis, start_shard: StartShard, nonsense: bytes
) -> None:
    _, recorder = await subscribed(start_shard, fake, b"a")
    fake.answer = lambda command: None if command == (b"PING",) else fake.agree(command)
    fake.writers[-1].write(nonsense)
    await until(lambda: recorder.events[:1] == [("interrupted", b"a")], "the break")
    fake.answer = fake.agree
    await until(lambda: b"a" in recorder.subscribed, "the subscription anew")
    assert recorder.messages == []


async def test_stream_that_answers_pings_is_kept(fake: FakeRedis, start_shard: StartShard) -> None:
    _, recorder = await subscribed(start_shard, fake, b"a")
    await asyncio.sleep(1.2)  # three heartbeats
    assert len(fake.named(b"PING")) >= 2
    assert recorder.events == []


async def test_break_interrupts_what_was_confirmed_and_confirms_it_anew(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    shard, recorder = await subscribed(start_shard, fake, b"a", b"b")
    shard.unsubscribe([b"b"])
    shard.subscribe([b"c"])
    fake.cut()
    await until(lambda: recorder.subscribed >= {b"a", b"c"}, "the subscriptions anew")
    assert ("interrupted", b"a") in recorder.events
    assert ("interrupted", b"c") not in recorder.events
    assert words(fake)[-1] == (b"subscribe", b"a", b"c")


async def test_ten_thousand_channels_come_back_after_a_break(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    channels = [b"channel:%d" % number for number in range(10_000)]
    _, recorder = await subscribed(start_shard, fake, *channels)
    fake.cut()
    await until(lambda: len(recorder.events) == 20_000, "all of them")
    assert recorder.events[:10_000] == [("interrupted", channel) for channel in channels]
    assert recorder.subscribed == set(channels)
