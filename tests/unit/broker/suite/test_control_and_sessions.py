"""Every broker: control messages, kept sessions, the probe and the gauges."""

from __future__ import annotations

import asyncio

import pytest

from gateway.broker.interface import Control, ControlKind
from tests.unit.broker.harness import Harness, message

CONTROLS = [
    Control(kind=ControlKind.SEND, client="c1", publication=message("hi", binary=True)),
    Control(kind=ControlKind.DISCONNECT, user="alice", close_code=4004, reason="bye"),
    Control(kind=ControlKind.SUBSCRIBE, user="alice", channel="news"),
    Control(kind=ControlKind.UNSUBSCRIBE, client="c1", channel="news"),
]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: str(control.kind))
async def test_control_arrives_unchanged_and_returns_the_count(harness: Harness, control: Control) -> None:
    harness.relay.reached = 3
    assert await harness.broker.control(control) == 3
    await harness.settle()
    assert harness.relay.controls == [control]


async def test_control_to_nobody_returns_zero(harness: Harness) -> None:
    assert await harness.broker.control(CONTROLS[0]) == 0


async def test_relay_that_raises_reaches_nobody_and_the_next_control_works(harness: Harness) -> None:
    harness.relay.reached = 1
    harness.relay.fault = RuntimeError("planted")
    assert await harness.broker.control(CONTROLS[0]) == 0
    harness.relay.fault = None
    assert await harness.broker.control(CONTROLS[1]) == 1


async def test_session_is_taken_once(harness: Harness) -> None:
    await harness.broker.save_session("s", b"\x00record", 10 * harness.unit_s)
    assert await harness.broker.take_session("s") == b"\x00record"
    assert await harness.broker.take_session("s") is None
    assert await harness.broker.take_session("unheard of") is None


async def test_session_taken_by_many_at_once_goes_to_one(harness: Harness) -> None:
    await harness.broker.save_session("s", b"record", 10 * harness.unit_s)
    taken = await asyncio.gather(*(harness.broker.take_session("s") for _ in range(20)))
    assert sorted(record for record in taken if record is not None) == [b"record"]


async def test_session_is_kept_for_its_time(harness: Harness) -> None:
    await harness.broker.save_session("long", b"1", 4 * harness.unit_s)
    await harness.broker.save_session("short", b"2", 2 * harness.unit_s)
    await harness.advance(3 * harness.unit_s)
    harness.broker.sweep()
    assert await harness.broker.take_session("short") is None
    assert await harness.broker.take_session("long") == b"1"


async def test_session_saved_again_has_the_new_record_and_time(harness: Harness) -> None:
    await harness.broker.save_session("s", b"old", 2 * harness.unit_s)
    await harness.broker.save_session("s", b"new", 6 * harness.unit_s)
    await harness.advance(4 * harness.unit_s)
    harness.broker.sweep()
    assert await harness.broker.take_session("s") == b"new"


async def test_session_empty_record_is_not_none(harness: Harness) -> None:
    await harness.broker.save_session("s", b"", harness.unit_s)
    assert await harness.broker.take_session("s") == b""


async def test_probe_returns_a_duration_and_reaches_no_client(harness: Harness) -> None:
    assert await harness.broker.probe() >= 0.0
    await harness.settle()
    assert harness.relay.controls == []
    assert harness.relay.publications == []


async def test_stats_of_a_fresh_broker_are_all_zero(harness: Harness) -> None:
    names = ("channels", "publications", "history_bytes", "state_bytes", "keys", "members", "sessions")
    assert harness.stats() == dict.fromkeys(names, 0)


async def test_stats_count_sessions(harness: Harness) -> None:
    await harness.broker.save_session("a", b"1", harness.unit_s)
    await harness.broker.save_session("b", b"1", harness.unit_s)
    await harness.broker.take_session("a")
    assert harness.stats()["sessions"] == 1
    await harness.let_forget()
    assert harness.stats()["sessions"] == 0
