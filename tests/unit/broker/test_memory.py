"""The memory broker beyond the suite: it never suspends, and times and bounds hold to the instant."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from gateway.broker.interface import ChannelOptions, Control, ControlKind
from gateway.broker.log import ENTRY_BYTES
from gateway.errors import BrokerUnavailableError, UsageError
from gateway.message.publication import Member, Position, Publication
from tests.unit.broker.harness import KEPT, NOT_KEPT, MemoryHarness, RecordingRelay, message

Result = TypeVar("Result")


def at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that must not suspend, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    pytest.fail("the coroutine suspended")


@pytest_asyncio.fixture
async def harness() -> AsyncIterator[MemoryHarness]:
    started = MemoryHarness(max_keys=3)
    await started.broker.start(started.relay)
    yield started
    await started.broker.stop()


def test_no_coroutine_suspends() -> None:
    harness = MemoryHarness()
    broker = harness.broker
    at_once(broker.start(harness.relay))
    position = at_once(broker.subscribe("c", KEPT))
    assert at_once(broker.publish("c", message(), KEPT, key="k")) == (position.epoch, 1, False)
    assert at_once(broker.publish("c", message(), KEPT, key="k")).duplicate
    assert len(at_once(broker.history("c", KEPT, since=position, limit=9)).publications) == 1
    assert len(at_once(broker.history_before("c", KEPT, before=0, limit=9)).publications) == 1
    at_once(broker.join("c", Member(client="c1"), KEPT))
    assert len(at_once(broker.presence("c", KEPT))) == 1
    at_once(broker.leave("c", "c1", KEPT))
    assert at_once(broker.control(Control(kind=ControlKind.DISCONNECT, user="u"))) == 0
    at_once(broker.save_session("s", b"r", 1.0))
    assert at_once(broker.take_session("s")) == b"r"
    assert at_once(broker.probe()) == 0.0
    at_once(broker.unsubscribe("c"))
    at_once(broker.stop())


async def test_relay_is_called_before_publish_returns(harness: MemoryHarness) -> None:
    at_once(harness.broker.subscribe("c", KEPT))
    at_once(harness.broker.publish("c", message(), KEPT))
    assert harness.relay.offsets("c") == [1]


async def test_publish_from_inside_the_relay_is_numbered_at_once_and_delivered_after(
    harness: MemoryHarness,
) -> None:
    steps: list[str] = []

    def relay_on(channel: str, publication: Publication) -> None:
        steps.append(f"begin {publication.offset}")
        if publication.offset == 1:
            for expected in (2, 3):
                assert at_once(harness.broker.publish("c", message(), KEPT)).offset == expected
        steps.append(f"end {publication.offset}")

    harness.relay.on_publication = relay_on
    at_once(harness.broker.subscribe("c", KEPT))
    at_once(harness.broker.publish("c", message(), KEPT))
    assert steps == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]


async def test_unsubscribe_from_inside_the_relay_ends_delivery_at_once(harness: MemoryHarness) -> None:
    def relay_on(channel: str, publication: Publication) -> None:
        at_once(harness.broker.publish("c", message(), KEPT))
        at_once(harness.broker.unsubscribe("c"))

    harness.relay.on_publication = relay_on
    at_once(harness.broker.subscribe("c", KEPT))
    at_once(harness.broker.publish("c", message(), KEPT))
    assert harness.relay.offsets("c") == [1]


async def test_subscribe_from_inside_the_relay_gets_nothing_at_or_before_its_position(
    harness: MemoryHarness,
) -> None:
    positions: list[Position] = []

    def relay_on(channel: str, publication: Publication) -> None:
        if publication.offset == 1:
            at_once(harness.broker.publish("c", message(), KEPT))
            at_once(harness.broker.unsubscribe("c"))
            positions.append(at_once(harness.broker.subscribe("c", KEPT)))
            at_once(harness.broker.publish("c", message(), KEPT))

    harness.relay.on_publication = relay_on
    at_once(harness.broker.subscribe("c", KEPT))
    at_once(harness.broker.publish("c", message(), KEPT))
    assert positions[0].offset == 2
    assert harness.relay.offsets("c") == [1, 3]


async def test_stop_from_inside_the_relay_ends_everything(harness: MemoryHarness) -> None:
    harness.relay.on_publication = lambda channel, publication: at_once(harness.broker.stop())
    at_once(harness.broker.subscribe("c", KEPT))
    assert at_once(harness.broker.publish("c", message(), KEPT)).offset == 1
    assert set(harness.broker.stats().values()) == {0}


async def test_restart_from_inside_the_relay_delivers_nothing_of_the_life_before(
    harness: MemoryHarness,
) -> None:
    def relay_on(channel: str, publication: Publication) -> None:
        at_once(harness.broker.publish("c", message(), KEPT))
        at_once(harness.broker.stop())
        at_once(harness.broker.start(harness.relay))

    harness.relay.on_publication = relay_on
    at_once(harness.broker.subscribe("c", KEPT))
    at_once(harness.broker.publish("c", message(), KEPT))
    assert harness.relay.offsets("c") == [1]


async def test_relay_errors_are_logged(harness: MemoryHarness, caplog: pytest.LogCaptureFixture) -> None:
    at_once(harness.broker.subscribe("c", KEPT))
    harness.relay.fault = RuntimeError("planted")
    at_once(harness.broker.publish("c", message(), KEPT))
    at_once(harness.broker.join("c", Member(client="c1"), KEPT))
    at_once(harness.broker.control(Control(kind=ControlKind.DISCONNECT, user="u")))
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert all(record.exc_info and "planted" in str(record.exc_info[1]) for record in caplog.records)


async def test_relay_error_does_not_hold_up_what_waits(harness: MemoryHarness) -> None:
    def relay_on(channel: str, publication: Publication) -> None:
        if publication.offset == 1:
            at_once(harness.broker.publish("c", message(), KEPT))
            raise RuntimeError("planted")

    harness.relay.on_publication = relay_on
    at_once(harness.broker.subscribe("c", KEPT))
    at_once(harness.broker.publish("c", message(), KEPT))
    assert harness.relay.offsets("c") == [1, 2]


async def test_start_twice_is_a_usage_error(harness: MemoryHarness) -> None:
    with pytest.raises(UsageError):
        await harness.broker.start(RecordingRelay())


async def test_stop_forgets_everything_and_start_begins_new_epochs(harness: MemoryHarness) -> None:
    first = await harness.broker.publish("c", message(), KEPT, key="k")
    await harness.broker.join("c", Member(client="c1"), KEPT)
    await harness.broker.save_session("s", b"r", 100.0)
    await harness.broker.stop()
    assert set(harness.broker.stats().values()) == {0}
    await harness.broker.start(harness.relay)
    second = await harness.broker.publish("c", message(), KEPT, key="k")
    assert (second.offset, second.duplicate) == (1, False)
    assert second.epoch != first.epoch
    assert await harness.broker.presence("c", KEPT) == []
    assert await harness.broker.take_session("s") is None


@pytest.mark.parametrize("ttl_s", [0.1, 300.0, 86_400.0])
async def test_key_is_known_to_the_last_instant_and_not_after(harness: MemoryHarness, ttl_s: float) -> None:
    options = ChannelOptions(idempotency_ttl_s=ttl_s)
    end_s = harness.now_s + ttl_s
    await harness.broker.subscribe("c", options)
    await harness.broker.publish("c", message(), options, key="k")
    harness.now_s = math.nextafter(end_s, 0.0)
    harness.broker.sweep()
    assert (await harness.broker.publish("c", message(), options, key="k")).duplicate
    harness.now_s = end_s
    assert not (await harness.broker.publish("c", message(), options, key="k")).duplicate


async def test_publication_is_read_to_the_last_instant_and_not_after(harness: MemoryHarness) -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=0.3)
    end_s = harness.now_s + 0.3
    epoch = (await harness.broker.publish("c", message(), options)).epoch
    harness.now_s = math.nextafter(end_s, 0.0)
    harness.broker.sweep()
    page = await harness.broker.history("c", options, since=Position(epoch, 0), limit=9)
    assert (len(page.publications), page.complete) == (1, True)
    harness.now_s = end_s
    page = await harness.broker.history("c", options, since=Position(epoch, 0), limit=9)
    assert (page.publications, page.complete) == ([], False)


async def test_history_without_an_age_bound_is_never_forgotten(harness: MemoryHarness) -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=math.inf)
    await harness.broker.publish("c", message(), options)
    await harness.let_forget()
    assert harness.broker.stats()["publications"] == 1


async def test_session_is_kept_to_the_last_instant_and_not_after(harness: MemoryHarness) -> None:
    end_s = harness.now_s + 0.3
    for session in ("a", "b"):
        await harness.broker.save_session(session, b"r", 0.3)
    harness.now_s = math.nextafter(end_s, 0.0)
    assert await harness.broker.take_session("a") == b"r"
    harness.now_s = end_s
    assert await harness.broker.take_session("b") is None


async def test_publish_with_one_key_too_many_is_refused_and_nothing_happened(harness: MemoryHarness) -> None:
    await harness.broker.subscribe("c", KEPT)
    for n in range(3):
        await harness.broker.publish("c", message(), KEPT, key=f"k{n}")
    for channel in ("c", "new"):
        with pytest.raises(BrokerUnavailableError):
            await harness.broker.publish(channel, message(), KEPT, key="k3")
    assert harness.relay.offsets("c") == [1, 2, 3]
    assert harness.broker.stats()["publications"] == 3
    assert harness.broker.stats()["channels"] == 1
    assert (await harness.broker.publish("c", message(), KEPT, key="k0")).duplicate
    assert (await harness.broker.publish("c", message(), KEPT)).offset == 4


async def test_publish_with_a_key_has_room_when_the_oldest_key_expires_without_a_sweep(
    harness: MemoryHarness,
) -> None:
    options = ChannelOptions(idempotency_ttl_s=10.0)
    for n in range(3):
        await harness.broker.publish("c", message(), options, key=f"k{n}")
        harness.now_s += 1.0
    harness.now_s += 6.9
    with pytest.raises(BrokerUnavailableError):
        await harness.broker.publish("c", message(), options, key="k3")
    harness.now_s += 0.1
    assert (await harness.broker.publish("c", message(), options, key="k3")).offset == 4
    with pytest.raises(BrokerUnavailableError):
        await harness.broker.publish("c", message(), options, key="k4")
    assert (await harness.broker.publish("c", message(), options, key="k1")).duplicate


async def test_key_keeps_the_time_of_its_first_use_when_options_change(harness: MemoryHarness) -> None:
    await harness.broker.publish("c", message(), ChannelOptions(idempotency_ttl_s=100.0), key="k")
    harness.now_s += 50.0
    harness.broker.sweep()
    shorter = ChannelOptions(idempotency_ttl_s=1.0)
    assert (await harness.broker.publish("c", message(), shorter, key="k")).duplicate


async def test_history_applies_options_that_changed_since_publishing(harness: MemoryHarness) -> None:
    await harness.publish_many("c", 10)
    two = ChannelOptions(history_size=2)
    page = await harness.broker.history_before("c", two, before=0, limit=10)
    assert [publication.offset for publication in page.publications] == [9, 10]
    page = await harness.broker.history_before("c", NOT_KEPT, before=0, limit=10)
    assert page.publications == []
    assert harness.broker.stats()["history_bytes"] == 0


async def test_history_bytes_are_payload_and_the_constant(harness: MemoryHarness) -> None:
    await harness.broker.publish("c", message("y" * 50), KEPT)
    assert harness.broker.stats()["history_bytes"] == 50 + ENTRY_BYTES
