"""The node: interest at the broker follows who listens; control messages; its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import closecodes
from gateway.broker import Control, ControlKind
from gateway.errors import BrokerError, BrokerUnavailableError
from gateway.message.publication import Publication
from tests.support.sessions import Event, World, world
from tests.support.simulated import settle


@pytest.fixture(autouse=True)
def no_errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def kinds(events: list[Event]) -> list[str]:
    return [e["type"] for e in events]


def numbered(offset: int) -> Publication:
    return Publication(id=f"p{offset}", data=b"%d" % offset, time_ms=0, offset=offset)


# -- interest -----------------------------------------------------------------------------------


async def test_interest_begins_with_the_first_subscriber_and_ends_after_the_last() -> None:
    async with world() as w:
        first, second = w.connect(), w.connect()
        await first.subscribe("news")
        await second.subscribe("news")
        assert w.broker.calls.count("subscribe") == 1
        first.lose()
        await w.sweep()
        assert w.broker.interested == {"news"}
        second.lose()
        assert w.broker.interested == {"news"}, "it may come back at once"
        await w.check_nothing_is_left()
        assert w.broker.calls.count("unsubscribe") == 1


async def test_subscribers_that_come_while_a_channel_opens_wait_for_the_one_opening() -> None:
    async with world() as w:
        w.broker.slow = True
        clients = [w.connect() for _ in range(3)]
        for client in clients:
            client.say({"type": "subscribe", "id": 1, "channel": "news"})
        await settle()
        assert w.broker.methods_sent == ["subscribe"]
        clients[0].lose()  # the one that asked first
        await w.broker.flow()
        assert [kinds(client.heard()) for client in clients[1:]] == [["reply"], ["reply"]]
        for client in clients[1:]:
            client.lose()
        await w.check_nothing_is_left()


async def test_opening_that_fails_fails_for_all_that_wait_and_is_tried_anew() -> None:
    async with world() as w:
        clients = [w.connect() for _ in range(2)]
        w.broker.slow = True
        w.broker.late_faults["subscribe"] = BrokerUnavailableError("down")
        for client in clients:
            client.say({"type": "subscribe", "id": 1, "channel": "news"})
        await w.broker.flow()
        assert [[e["code"] for e in client.heard()] for client in clients] == [["unavailable"]] * 2
        w.broker.late_faults.clear()
        w.broker.slow = False
        await clients[0].subscribe("news")


async def test_subscribe_while_interest_is_being_lost_waits_and_begins_anew() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        await client.ask({"type": "unsubscribe", "channel": "news"})
        w.broker.slow = True
        await w.sweep(20)
        assert w.broker.methods_sent == ["unsubscribe"]
        client.say({"type": "subscribe", "id": 2, "channel": "news"})
        await settle()
        assert w.broker.methods_sent == ["unsubscribe"], "one change of interest at a time"
        await w.broker.execute()
        w.broker.slow = False
        w.broker.reply()
        await w.broker.flow()
        assert kinds(client.heard()) == ["reply"]
        await w.publish("news", 1)
        assert kinds(await client.ask()) == ["message"]
        assert w.broker.interested == {"news"}


async def test_channel_that_gets_a_subscriber_in_time_is_not_closed() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        await w.sweep(60)
        assert w.broker.interested == {"news"}
        await w.publish("news", 1)
        assert kinds(await client.ask()) == ["message"]


async def test_broker_that_cannot_be_told_is_told_later() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        client.lose()
        w.broker.faults["unsubscribe"] = BrokerUnavailableError("down")
        await w.sweep(20)
        assert len(w.node.hub) == 0
        assert w.broker.interested == {"news"}
        w.broker.faults.clear()
        await w.sweep(2)
        assert w.broker.interested == set()
        await w.check_nothing_is_left()


async def test_channel_opened_again_before_the_broker_could_be_told_stays_wanted() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        await client.ask({"type": "unsubscribe", "channel": "news"})
        w.broker.faults["unsubscribe"] = BrokerUnavailableError("down")
        await w.sweep(20)
        await client.subscribe("news")
        assert w.node._unwanted == set()
        w.broker.faults.clear()
        await w.sweep(5)
        assert w.broker.interested == {"news"}
        await w.publish("news", 1)
        assert kinds(await client.ask()) == ["message"]


# -- what the broker brings ---------------------------------------------------------------------


async def test_publications_for_a_channel_nobody_hears_are_dropped() -> None:
    async with world() as w:
        w.node.on_publications("news", "e", [numbered(1)])
        assert len(w.node.hub) == 0


async def test_publications_while_a_channel_opens_follow_it_from_its_position_on() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        await w.broker.memory.publish("news", numbered(0), w.options.default.broker)
        client.say({"type": "subscribe", "id": 1, "channel": "news"})
        await settle()
        await w.broker.execute()
        for _ in range(3):
            await w.broker.memory.publish("news", numbered(0), w.options.default.broker)
        w.broker.reply()
        await settle()
        (reply,) = client.heard()
        assert reply["offset"] == 4
        await w.broker.memory.publish("news", numbered(0), w.options.default.broker)
        await settle()
        assert [e["offset"] for e in client.heard()] == [5]


async def test_jump_of_offsets_is_told_as_a_gap_before_what_follows() -> None:
    async with world() as w:
        client = w.connect()
        epoch = (await client.subscribe("news"))["epoch"]
        w.node.on_publications("news", epoch, [numbered(1), numbered(5), numbered(6)])
        await settle()
        assert [(e["type"], e.get("offset")) for e in client.heard()] == [
            ("message", 1),
            ("gap", None),
            ("message", 5),
            ("message", 6),
        ]
        w.node.on_publications("news", epoch, [numbered(9)])
        gap = (await client.ask())[0]
        assert gap == {"type": "gap", "channel": "news", "from": 7, "to": 8, "reason": "lost"}


async def test_loss_after_which_nothing_comes_is_told_at_once_and_once() -> None:
    async with world() as w:
        client = w.connect()
        epoch = (await client.subscribe("news"))["epoch"]
        w.node.on_publications("news", epoch, [numbered(1)])
        for _ in range(2):
            w.node.on_position("news", epoch, 4)
        w.node.on_position("unheard of", epoch, 4)
        w.node.on_publications("news", epoch, [numbered(5)])
        heard = await client.ask()
        assert [(e["type"], e.get("offset")) for e in heard] == [
            ("message", 1),
            ("gap", None),
            ("message", 5),
        ]
        assert heard[1] == {"type": "gap", "channel": "news", "from": 2, "to": 4, "reason": "lost"}
        w.node.on_position("news", "another", 0)
        assert await client.ask() == [
            {"type": "gap", "channel": "news", "epoch": "another", "reason": "lost"}
        ]


async def test_loss_while_a_channel_is_being_opened_is_where_it_begins() -> None:
    async with world() as w:
        w.broker.slow = True
        client = w.connect()
        client.say({"type": "subscribe", "id": 1, "channel": "news"})
        await settle()
        await w.broker.execute()
        w.node.on_position("news", "another", 7)
        w.broker.reply()
        await settle()
        (reply,) = client.heard()
        assert (reply["epoch"], reply["offset"]) == ("another", 7)


async def test_nobody_resumes_across_a_gap_from_the_ring() -> None:
    async with world() as w:
        client = w.connect()
        epoch = (await client.subscribe("news"))["epoch"]
        w.node.on_publications("news", epoch, [numbered(1), numbered(2), numbered(5)])
        late = w.connect()
        since = {"epoch": epoch, "offset": 1}
        heard = await late.ask({"type": "subscribe", "id": 1, "channel": "news", "since": since})
        assert heard[0]["recovered"] is False
        since["offset"] = 4
        heard = await w.connect().ask({"type": "subscribe", "id": 1, "channel": "news", "since": since})
        assert heard[0]["recovered"] is True
        assert [e.get("offset") for e in heard[1:]] == [5]


async def test_publications_that_were_had_before_are_not_given_twice() -> None:
    async with world() as w:
        client = w.connect()
        epoch = (await client.subscribe("news"))["epoch"]
        w.node.on_publications("news", epoch, [numbered(1), numbered(2)])
        w.node.on_publications("news", epoch, [numbered(1), numbered(2), numbered(3)])
        assert [e["offset"] for e in await client.ask()] == [1, 2, 3]


@pytest.mark.parametrize(("first", "gap"), [(1, {}), (4, {"from": 1, "to": 3})])
async def test_new_epoch_is_told_with_its_name_whatever_it_begins_with(first: int, gap: Event) -> None:
    async with world() as w:
        client = w.connect()
        epoch = (await client.subscribe("news"))["epoch"]
        w.node.on_publications("news", epoch, [numbered(1)])
        w.node.on_publications("news", "another", [numbered(first), numbered(first + 1)])
        heard = await client.ask()
        assert [(e["type"], e.get("offset")) for e in heard] == [
            ("message", 1),
            ("gap", None),
            ("message", first),
            ("message", first + 1),
        ]
        assert heard[1] == {"type": "gap", "channel": "news", "epoch": "another", "reason": "lost", **gap}
        late = await w.connect().ask(
            {"type": "subscribe", "id": 1, "channel": "news", "since": {"epoch": epoch, "offset": 1}}
        )
        assert (late[0]["epoch"], late[0]["recovered"]) == ("another", False)


async def test_uncounted_publications_are_given_as_they_come() -> None:
    async with world() as w:
        client = w.connect()
        epoch = (await client.subscribe("news"))["epoch"]
        w.node.on_publications("news", epoch, [numbered(0), numbered(0)])
        w.node.on_publications("news", "another", [numbered(0), numbered(0)])
        assert kinds(await client.ask()) == ["message", "message", "gap", "message", "message"]


# -- control ------------------------------------------------------------------------------------


async def test_control_reaches_all_connections_of_a_user_or_one_client() -> None:
    async with world() as w:
        alices = [w.connect("alice"), w.connect("alice")]
        bob = w.connect("bob")
        targets: list[tuple[dict[str, Any], int]] = [({"user": "alice"}, 2), ({"client": bob.id}, 1)]
        for target, reached in (*targets, ({"user": "eve"}, 0)):
            assert w.node.on_control(Control(kind=ControlKind.SUBSCRIBE, channel="closed:1", **target)) == (
                reached
            )
        assert w.node.on_control(Control(kind=ControlKind.DISCONNECT, close_code=4004)) == 0
        for client in (*alices, bob):
            (event,) = client.heard()
            assert (event["type"], event["channel"], event["offset"]) == ("subscribed", "closed:1", 0)
        assert w.node.on_control(
            Control(kind=ControlKind.DISCONNECT, user="alice", close_code=4004, reason="bye")
        ) == len(alices)
        assert [a.connection.closes for a in alices] == [[4004], [4004]]
        assert bob.connection.closes == []


async def test_subscribed_event_precedes_messages_while_the_broker_is_slow() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        w.node.on_control(Control(kind=ControlKind.SUBSCRIBE, client=client.id, channel="chat:1"))
        await settle()
        await w.broker.execute()
        w.broker.reply()
        await settle()
        assert w.broker.methods_sent == ["join"]
        await w.broker.memory.publish("chat:1", numbered(0), w.options.namespace("chat:1").broker)
        await w.broker.flow()
        assert kinds(client.heard()) == ["subscribed", "message", "join"]


async def test_subscribing_by_a_service_twice_or_beyond_the_bound_harms_nothing() -> None:
    async with world(max_channels=2) as w:
        client = w.connect()
        for channel in ("a", "a", "b", "c"):
            w.node.on_control(Control(kind=ControlKind.SUBSCRIBE, client=client.id, channel=channel))
        assert kinds(client.heard()) == ["subscribed", "subscribed"]
        assert client.session.channels == {"a", "b"}


async def test_connection_lost_while_a_service_subscribes_it_leaves_nothing() -> None:
    for turns in range(4):
        async with world() as w:
            client = w.connect()
            w.broker.slow = True
            w.node.on_control(Control(kind=ControlKind.SUBSCRIBE, client=client.id, channel="chat:1"))
            for _ in range(turns):
                await settle()
                await w.broker.execute()
                w.broker.reply()
            await settle()
            client.lose()
            await w.check_nothing_is_left()


async def test_unsubscribing_by_a_service_is_told_and_undone_presence() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("chat:1")
        client.heard()
        control = Control(kind=ControlKind.UNSUBSCRIBE, client=client.id, channel="chat:1")
        assert w.node.on_control(control) == 1
        assert w.node.on_control(control) == 1, "reached, though there was nothing to do"
        assert await client.ask() == [{"type": "unsubscribed", "channel": "chat:1", "code": "unsubscribed"}]
        assert await w.members("chat:1") == []
        client.lose()
        await w.check_nothing_is_left()


@pytest.mark.parametrize("turns", [0, 1])
async def test_unsubscribing_by_a_service_also_ends_what_is_being_made(turns: int) -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        client.say({"type": "subscribe", "id": 1, "channel": "chat:1"})
        for _ in range(turns):
            await settle()
            await w.broker.execute()
            w.broker.reply()
        await settle()
        w.node.on_control(Control(kind=ControlKind.UNSUBSCRIBE, client=client.id, channel="chat:1"))
        await w.broker.flow()
        w.broker.slow = False
        heard = [e for e in client.heard() if e["type"] not in {"join", "leave"}]
        assert [e.get("code", e["type"]) for e in heard] == (
            ["permission_denied"] if turns == 0 else ["reply", "unsubscribed"]
        )
        assert client.session.channels == set()
        assert await w.members("chat:1") == []
        await client.subscribe("chat:1")
        client.lose()
        await w.check_nothing_is_left()


async def test_message_to_one_client_is_direct_and_bounded_by_what_it_does_not_read() -> None:
    async with world(max_queued_bytes=100) as w:
        client = w.connect()
        control = Control(kind=ControlKind.SEND, client=client.id, publication=numbered(0))
        assert w.node.on_control(control) == 1
        (message,) = client.heard()
        assert (message["type"], message["channel"], message["data"]) == ("message", f"@#{client.id}", 0)
        client.connection.queued_bytes = 101
        w.node.on_control(control)
        assert client.connection.closes == [closecodes.SLOW_CONSUMER]


# -- life ---------------------------------------------------------------------------------------


async def test_sweep_calls_the_broker_again_soon_while_it_has_more_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        answers = [True, True, False, False]
        monkeypatch.setattr(w.broker, "sweep", lambda: answers.pop(0))
        w.time.advance(1.0)
        await settle()
        assert answers == [False]


async def test_start_fails_as_the_broker_does_and_leaves_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    w = World()

    async def start(relay: object) -> None:
        raise BrokerUnavailableError("down")

    monkeypatch.setattr(w.broker, "start", start)
    with pytest.raises(BrokerUnavailableError):
        await w.node.start()
    assert w.time.timers == 0


async def test_stop_waits_for_work_under_way_and_ends_what_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.node._STOP_S", 0.05)
    w = World()
    await w.node.start()
    done: list[str] = []

    async def work(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            done.append("done")
        except asyncio.CancelledError:
            done.append("cancelled")
            raise

    w.node.spawn(work(0.01))
    w.node.spawn(work(10))
    await w.node.stop()
    await settle()
    assert done == ["done", "cancelled"]
    assert w.time.timers == 0
    assert not w.node._tasks


async def test_background_work_that_fails_is_logged_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:

        async def work(*, late: bool, problem: Exception) -> None:
            if late:
                await asyncio.sleep(0)
            raise problem

        for late in (False, True):
            w.node.spawn(work(late=late, problem=BrokerError("broker says no")))
            w.node.spawn(work(late=late, problem=ValueError("a mistake")))
        await settle()
        assert [r.levelname for r in caplog.records] == ["WARNING", "ERROR", "WARNING", "ERROR"]
        assert not w.node._tasks
        caplog.clear()


async def test_publish_is_timed() -> None:
    async with world() as w:
        seen: list[float] = []
        w.node.observe_publish = seen.append
        await w.publish("news", 1)
        assert seen == [0.0]
