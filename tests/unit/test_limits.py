"""Limits of sessions in simulated time: what passes, what is refused, who is closed, what is forgotten."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.exceeded import Exceeded
from gateway.limits import SHARE_S, USER, LimitOptions, Limits, Spent
from gateway.meters import Allowance, Meter, Meters
from gateway.options import Namespace
from gateway.seldom import QUIET_S
from gateway.tally import Tally
from tests.support.sessions import World, world
from tests.support.simulated import settle

PING = {"type": "ping", "id": 1}


def limited(w: World, **options: Any) -> Limits:
    """Give a world's node limits; a burst is a second unless it is said otherwise."""
    limits = Limits(LimitOptions(**{"burst_s": 1.0, **options}), w.node.loop, w.node.exceeded)
    w.node.limits = limits
    return limits


def outcomes(client: Any) -> list[str]:
    """Return for each event what it is: its type, or its code."""
    return [event.get("code", event["type"]) for event in client.heard()]


# -- meters -------------------------------------------------------------------------------------


def test_meter_passes_a_burst_and_then_its_rate() -> None:
    rate, meter, passed = Allowance(messages=10), Meter(0.0), 0
    for tick in range(1000):
        meter.sink(rate, tick / 100)
        if not meter.refuses(rate, 2.0, 1, 0):
            meter.spend(rate, 1, 0)
            passed += 1
    assert passed == 20 + 99


def test_meter_lets_what_is_larger_than_its_burst_through_when_it_is_empty_and_has_it_paid_off() -> None:
    rate, meter = Allowance(bytes=100), Meter(0.0)
    assert not meter.refuses(rate, 1.0, 1, 1000)
    meter.spend(rate, 1, 1000)
    meter.sink(rate, 9.9)
    assert meter.refuses(rate, 1.0, 1, 100) == "bytes"
    meter.sink(rate, 10.1)
    assert not meter.refuses(rate, 1.0, 1, 1000)


def test_meter_of_a_rate_below_one_still_lets_one_through() -> None:
    rate, meter = Allowance(messages=0.1), Meter(0.0)
    assert not meter.refuses(rate, 1.0, 1, 0)
    meter.spend(rate, 1, 0)
    assert meter.refuses(rate, 1.0, 1, 0)
    meter.sink(rate, 10.0)
    assert not meter.refuses(rate, 1.0, 1, 0)


def test_clock_that_stands_still_or_steps_back_gives_nothing_for_free() -> None:
    rate, meter = Allowance(messages=10), Meter(100.0)
    meter.spend(rate, 10, 0)
    for now in (100.0, 50.0, 50.0):
        meter.sink(rate, now)
    assert meter.messages == 10


def test_empty_meters_are_forgotten_and_others_are_not() -> None:
    rate, meters = Allowance(messages=1), Meters()
    for number in range(100):
        meters.get(str(number), rate, 0.0).spend(rate, number % 10, 0)
    for _ in range(10):
        meters.sweep(rate, 5.0, 30)
    assert {int(name) % 10 for name in meters} == {6, 7, 8, 9}
    meters.sweep(rate, 9.0, 1000)
    assert len(meters) == 0


# -- messages -----------------------------------------------------------------------------------


async def test_messages_beyond_the_rate_are_answered_rate_limited_in_their_place() -> None:
    async with world() as w:
        limited(w, connection=Allowance(messages=3))
        client = w.connect("alice")
        client.heard()
        for number in range(1, 6):
            client.say({"type": "ping", "id": number})
        events = client.heard()
        assert [(e["id"], e.get("code", e["type"])) for e in events] == [
            (1, "reply"), (2, "reply"), (3, "reply"), (4, "rate_limited"), (5, "rate_limited"),
        ]  # fmt: skip
        assert events[-1]["retry"] is True
        w.time.advance(1 / 3 + 0.01)
        client.say(PING)
        client.say(PING)
        assert outcomes(client) == ["reply", "rate_limited"]
        assert w.node.exceeded.counts == {"connection_messages": 3}


async def test_commands_of_a_list_count_one_by_one() -> None:
    async with world() as w:
        limited(w, connection=Allowance(messages=10))
        client = w.connect("alice")
        client.heard()
        client.say([PING] * 8)
        client.say([PING] * 8)
        assert outcomes(client) == ["reply"] * 8 + ["rate_limited"] * 8


async def test_bytes_count_too_and_a_refused_publish_is_not_published() -> None:
    async with world() as w:
        limited(w, connection=Allowance(bytes=2000))
        client, other = w.connect("alice"), w.connect("bob")
        other.say({"type": "subscribe", "channel": "plain:x"})
        client.heard(), other.heard()
        for _ in range(3):
            client.say({"type": "publish", "id": 1, "channel": "plain:x", "data": "x" * 900})
        await settle()
        assert outcomes(client) == ["reply", "reply", "rate_limited"]
        assert [event["type"] for event in other.heard()] == ["message"] * 2
        assert w.node.exceeded.counts == {"connection_bytes": 1}


async def test_who_goes_on_all_the_same_is_closed_and_who_stops_is_not() -> None:
    async with world() as w:
        limited(w, connection=Allowance(messages=1))
        stubborn, patient = w.connect("alice"), w.connect("bob")
        for _ in range(101):
            stubborn.say(PING)
            patient.say(PING)
        w.time.advance(5.0)
        stubborn.heard(), patient.heard()
        assert stubborn.connection.closes == []
        for _ in range(60):
            stubborn.say(PING)
        assert stubborn.connection.closes == [4102]
        patient.say(PING)
        assert outcomes(patient) == ["reply"]
        assert w.node.exceeded.counts["refusals"] == 1


async def test_connections_of_a_user_share_an_allowance_and_so_do_those_of_an_address() -> None:
    async with world() as w:
        limited(w, user=Allowance(messages=4), address=Allowance(messages=6))
        first, second, other = w.connect("alice"), w.connect("alice"), w.connect("bob")
        for client in (first, second, other):
            client.heard()
        for client in (first, second, first, second, first):
            client.say(PING)
        assert outcomes(first) == ["reply", "reply", "rate_limited"]
        assert outcomes(second) == ["reply", "reply"]
        for _ in range(3):
            other.say(PING)
        assert outcomes(other) == ["reply", "reply", "rate_limited"]
        assert w.node.exceeded.counts == {"user_messages": 1, "address_messages": 1}


async def test_coming_back_does_not_give_a_user_a_new_allowance() -> None:
    async with world() as w:
        limits = limited(w, user=Allowance(messages=2))
        for expected in (["reply", "reply"], ["rate_limited"], ["rate_limited"]):
            client = w.connect("alice")
            client.heard()
            for _ in expected:
                client.say(PING)
            assert outcomes(client) == expected
            client.lose()
        assert len(limits) == 1
        w.time.advance(2.0)
        limits.sweep()
        assert len(limits) == 0


async def test_limits_that_begin_later_hold_for_connections_that_are_there() -> None:
    async with world() as w:
        client = w.connect("alice")
        limits = limited(w, connection=Allowance(messages=1))
        client.heard()
        client.say(PING)
        client.say(PING)
        assert outcomes(client) == ["reply", "rate_limited"]
        client.lose()
        assert len(limits) == 0


async def test_connections_of_a_user_beyond_the_bound_are_closed_and_counted_no_more() -> None:
    async with world() as w:
        limits = limited(w, connections_per_user=2)
        clients = [w.connect("alice") for _ in range(4)]
        nameless = [w.connect() for _ in range(3)]
        await settle()
        assert [client.connection.closes for client in clients] == [[], [], [4100], [4100]]
        assert [client.connection.closes for client in nameless] == [[], [], []]
        for client in clients:
            client.lose()
        again = w.connect("alice")
        await settle()
        assert again.connection.closes == []
        assert w.node.exceeded.counts == {"connections_per_user": 2}
        again.lose()
        for client in nameless:
            client.lose()
        assert len(limits) == 0


async def test_publications_to_a_channel_are_bounded_whoever_makes_them() -> None:
    slow = {"slow": Namespace(publish_rate=2.0)}
    async with world(namespaces=slow) as w:
        w.node.rates.burst_s = 1.0
        clients = [w.connect(name) for name in ("alice", "bob", "carol")]
        for client in clients:
            client.heard()
            client.say({"type": "publish", "id": 1, "channel": "slow:1", "data": 1})
            client.say({"type": "publish", "id": 2, "channel": "fast:1", "data": 1})
        await settle()
        assert [outcomes(client) for client in clients] == [["reply", "reply"]] * 2 + [
            ["rate_limited", "reply"]
        ]
        w.time.advance(2.0)
        w.node.rates.sweep()
        assert len(w.node.rates) == 0


# -- several processes --------------------------------------------------------------------------


async def test_what_users_spend_elsewhere_counts_here() -> None:
    async with world() as w:
        limits = limited(w, user=Allowance(messages=4))
        told: list[list[Spent]] = []
        limits.share = told.append
        client = w.connect("alice")
        client.heard()
        client.say(PING)
        client.say(PING)
        w.time.advance(SHARE_S)
        assert [(spent.who, spent.messages) for spent in told[0]] == [("u:alice", 2.0)]
        client.say(PING)
        limits.told([Spent("u:alice", 2.5, 0.0)])  # of which 2 are from here; one more came since
        client.heard()
        client.say(PING)
        assert outcomes(client) == ["rate_limited"]
        w.time.advance(SHARE_S)
        assert [spent.messages for spent in told[-1]] == [1.0]
        limits.close()


async def test_what_addresses_spend_is_told_apart_from_users() -> None:
    async with world() as w:
        limits = limited(w, user=Allowance(messages=4), address=Allowance(messages=4))
        told: list[list[Spent]] = []
        limits.share = told.append
        client = w.connect("alice")
        address = "a:192.0.2.1"
        client.heard()
        client.say(PING)
        w.time.advance(SHARE_S)
        assert {spent.who: spent.messages for spent in told[0]} == {"u:alice": 1.0, address: 1.0}
        limits.told([Spent(address, 4.0, 0.0)])
        client.heard()
        client.say(PING)
        assert outcomes(client) == ["rate_limited"]
        limits.shared = frozenset({USER})
        limits.told([Spent(address, 0.0, 0.0)])
        client.say(PING)
        w.time.advance(SHARE_S)
        assert [spent.who for spent in told[-1]] == ["u:alice"]
        limits.close()


def test_tally_adds_up_what_workers_tell_of_users_and_addresses() -> None:
    tally = Tally(LimitOptions(user=Allowance(messages=10), address=Allowance(messages=1)))
    assert tally.spend([Spent("u:alice", 5, 0)], 0.0) == [Spent("u:alice", 5, 0)]
    assert tally.spend([Spent("u:alice", 5, 0), Spent("a:alice", 5, 0)], 0.5) == [
        Spent("u:alice", 5, 0),
        Spent("a:alice", 5, 0),
    ]
    assert tally.spend([Spent("a:alice", 0, 0)], 1.5) == [Spent("a:alice", 4, 0)]
    assert len(tally) == 1  # the user's is empty, and forgotten
    tally.spend([], 10.0)
    assert len(tally) == 0


# -- counters and log -----------------------------------------------------------------------------


def test_log_has_one_line_for_a_limit_now_and_then_that_says_how_many_it_stands_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    exceeded = Exceeded(lambda: now)
    with caplog.at_level(logging.WARNING, "gateway.limits"):
        for _ in range(1000):
            exceeded.count("user_messages", "alice")
            exceeded.count("connection_bytes", "bob")
        now = QUIET_S + 0.1
        exceeded.count("user_messages", "carol")
    lines = [(vars(r)["limit"], vars(r)["who"], vars(r)["times"]) for r in caplog.records]
    assert lines == [
        ("user_messages", "alice", 1), ("connection_bytes", "bob", 1), ("user_messages", "carol", 1000),
    ]  # fmt: skip
    assert {labels["limit"]: count for _, _, _, labels, count in exceeded.samples()} == {
        "user_messages": 1001, "connection_bytes": 1000,
    }  # fmt: skip
