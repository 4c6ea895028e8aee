"""The memory broker's channels do not leak, and sweeping costs what happened, not what exists."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.broker.channels import Channels
from gateway.broker.interface import ChannelOptions
from gateway.message.publication import Member
from tests.unit.broker.harness import KEPT, NOT_KEPT, MemoryHarness, message

IDLE_S = 30.0


@pytest_asyncio.fixture
async def harness() -> AsyncIterator[MemoryHarness]:
    started = MemoryHarness(idle_s=IDLE_S, max_keys=100_000)
    await started.broker.start(started.relay)
    yield started
    await started.broker.stop()


def channels_after(harness: MemoryHarness, seconds: float) -> int:
    """Sweep all there is when `seconds` have passed, and return the number of channels left."""
    harness.now_s += seconds
    while harness.broker.sweep():
        pass
    return harness.broker.stats()["channels"]


async def test_idle_channel_is_forgotten_after_exactly_the_idle_time(harness: MemoryHarness) -> None:
    await harness.broker.publish("c", message(), NOT_KEPT)
    used_s = harness.now_s
    harness.now_s = math.nextafter(used_s + IDLE_S, 0.0)
    assert channels_after(harness, 0.0) == 1
    harness.now_s = used_s + IDLE_S
    assert channels_after(harness, 0.0) == 0


async def test_channel_in_use_is_kept_however_old_it_is(harness: MemoryHarness) -> None:
    epochs = set()
    for _ in range(20):
        epochs.add((await harness.broker.publish("c", message(), NOT_KEPT)).epoch)
        assert channels_after(harness, IDLE_S * 0.9) == 1
    assert len(epochs) == 1
    assert channels_after(harness, IDLE_S * 0.1) == 0


async def test_channel_is_kept_for_the_idle_time_after_unsubscribe(harness: MemoryHarness) -> None:
    await harness.broker.subscribe("c", NOT_KEPT)
    assert channels_after(harness, 1000.0) == 1
    await harness.broker.unsubscribe("c")
    assert channels_after(harness, IDLE_S - 1.0) == 1
    assert channels_after(harness, 1.0) == 0


async def test_channel_is_kept_for_the_idle_time_after_the_last_member_left(harness: MemoryHarness) -> None:
    await harness.broker.join("c", Member(client="c1"), NOT_KEPT)
    await harness.broker.join("c", Member(client="c2"), NOT_KEPT)
    assert channels_after(harness, 1000.0) == 1
    await harness.broker.leave("c", "c1", NOT_KEPT)
    assert channels_after(harness, 1000.0) == 1
    await harness.broker.leave("c", "c2", NOT_KEPT)
    assert channels_after(harness, IDLE_S - 1.0) == 1
    assert channels_after(harness, 1.0) == 0


async def test_channel_with_history_is_forgotten_when_the_newest_expires(harness: MemoryHarness) -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=100.0)
    for _ in range(3):
        await harness.broker.publish("c", message(), options)
        harness.now_s += 10.0
    assert channels_after(harness, 70.0) == 1
    assert harness.broker.stats()["publications"] == 2
    assert channels_after(harness, 19.0) == 1
    assert channels_after(harness, 1.0) == 0


async def test_expired_history_of_a_subscribed_channel_gives_its_memory_back(harness: MemoryHarness) -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=100.0)
    await harness.broker.subscribe("c", options)
    for _ in range(2):
        harness.now_s += 1000.0
        harness.broker.sweep()
        await harness.broker.publish("c", message(), options)
        assert channels_after(harness, 100.0) == 1
        assert harness.broker.stats()["publications"] == 0
        assert harness.broker.stats()["history_bytes"] == 0


async def test_channel_with_a_key_is_forgotten_when_the_key_expires(harness: MemoryHarness) -> None:
    options = ChannelOptions(idempotency_ttl_s=300.0)
    await harness.broker.publish("c", message(), options, key="k")
    assert channels_after(harness, 299.0) == 1
    assert channels_after(harness, 1.0) == 0
    assert harness.broker.stats()["keys"] == 0


async def test_history_shorter_than_a_key_is_swept_at_its_own_time(harness: MemoryHarness) -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=10.0, idempotency_ttl_s=300.0)
    await harness.broker.publish("c", message(), options, key="k")
    harness.now_s += IDLE_S
    harness.broker.sweep()
    await harness.broker.publish("c", message(), options)
    assert channels_after(harness, 10.0) == 1
    assert harness.broker.stats()["publications"] == 0


async def test_reading_is_a_use_but_asking_who_is_present_creates_nothing(harness: MemoryHarness) -> None:
    await harness.broker.presence("a", KEPT)
    await harness.broker.leave("a", "c1", KEPT)
    await harness.broker.unsubscribe("a")
    assert harness.broker.stats()["channels"] == 0
    await harness.broker.history_before("a", KEPT, before=0, limit=1)
    assert channels_after(harness, IDLE_S - 1.0) == 1
    assert channels_after(harness, 1.0) == 0


async def test_join_without_presence_creates_nothing(harness: MemoryHarness) -> None:
    await harness.broker.join("a", Member(client="c1"), ChannelOptions(presence=False))
    assert harness.broker.stats()["channels"] == 0


@pytest.mark.parametrize("key", ["", "k"])
async def test_flood_of_names_leaves_nothing(harness: MemoryHarness, key: str) -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=10.0, idempotency_ttl_s=20.0)
    for n in range(5000):
        await harness.broker.publish(f"c{n}", message(), options, key=key)
    assert channels_after(harness, IDLE_S) == 0
    assert set(harness.broker.stats().values()) == {0}


async def test_sweep_stops_at_its_limit_and_says_so(harness: MemoryHarness) -> None:
    for n in range(25):
        await harness.broker.publish(f"c{n}", message(), NOT_KEPT, key="k")
        await harness.broker.save_session(f"s{n}", b"r", 1.0)
    harness.now_s += 1000.0
    assert harness.memory.sweep(limit=10) is True
    stats = harness.broker.stats()
    assert (stats["channels"], stats["keys"], stats["sessions"]) == (15, 15, 15)
    assert harness.memory.sweep(limit=10) is True
    assert harness.memory.sweep(limit=10) is False
    assert set(harness.broker.stats().values()) == {0}


async def test_subscribing_back_and_forth_leaves_nothing(harness: MemoryHarness) -> None:
    for _ in range(1000):
        await harness.broker.subscribe("c", NOT_KEPT)
        await harness.broker.unsubscribe("c")
        harness.now_s += 0.01
    assert channels_after(harness, IDLE_S) == 0


def used(number: int) -> Channels:
    """Return channels that were all used at 0."""
    ids = iter(range(10**9))
    channels = Channels(random_id=lambda: str(next(ids)), idle_s=IDLE_S)
    for n in range(number):
        channels.use(f"c{n}", NOT_KEPT, 0.0)
    return channels


def test_sweep_looks_at_nothing_when_nothing_is_due() -> None:
    channels = used(1000)
    assert channels.sweep(IDLE_S - 1.0, 10_000) == 0
    assert channels.sweep(IDLE_S, 10_000) == 1000
    assert len(channels) == 0


def test_sweep_looks_at_a_subscribed_channel_once() -> None:
    channels = used(10)
    for n in range(10):
        channels.use(f"c{n}", NOT_KEPT, 0.0).interest_after = 0
    assert channels.sweep(IDLE_S, 10_000) == 10
    assert channels.sweep(1e9, 10_000) == 0
    assert len(channels) == 10


def test_sweep_looks_at_a_busy_channel_once_per_idle_time() -> None:
    channels = used(1)
    looked_at = 0
    for second in range(1, 301):
        channels.use("c0", NOT_KEPT, float(second))
        looked_at += channels.sweep(float(second), 10_000)
    assert 1 <= looked_at <= 300 / IDLE_S + 1
