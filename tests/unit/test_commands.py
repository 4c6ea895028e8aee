"""What each command does: subscriptions, publications, history, presence, and who may."""

from __future__ import annotations

import asyncio

import pytest

from gateway.broker import Control, ControlKind
from gateway.errors import BrokerUnavailableError, OutcomeUnknownError
from tests.support.sessions import Event, world
from tests.support.simulated import settle


def codes(events: list[Event]) -> list[str]:
    return [str(e.get("code", e["type"])) for e in events]


def told(events: list[Event]) -> list[tuple[str, object]]:
    """Say what each event is, and of which client or data."""
    return [(e["type"], e.get("client", e.get("data"))) for e in events]


# -- subscribe and unsubscribe ------------------------------------------------------------------


async def test_subscribe_replies_with_the_position_and_precedes_what_is_new() -> None:
    async with world() as w:
        await w.publish("news", "old", "older")
        client = w.connect()
        client.say({"type": "subscribe", "id": 1, "channel": "news"})
        await w.publish("news", "new")
        await settle()
        reply, message = client.heard()
        assert (reply["type"], reply["id"], reply["channel"], reply["offset"]) == ("reply", 1, "news", 2)
        assert reply["epoch"]
        assert "recovered" not in reply
        assert (message["type"], message["channel"], message["offset"], message["data"]) == (
            "message",
            "news",
            3,
            "new",
        )


async def test_subscribe_twice_is_refused_and_messages_come_once() -> None:
    async with world() as w:
        client = w.connect()
        command = {"type": "subscribe", "id": 1, "channel": "news"}
        assert codes(await client.ask([command, command])) == ["reply", "already_subscribed"]
        assert codes(await client.ask(command)) == ["already_subscribed"]
        await w.publish("news", "x")
        assert told(await client.ask()) == [("message", "x")]
        w.broker.slow = True
        other = {"type": "subscribe", "id": 2, "channel": "other"}
        client.say([other, other])
        await w.broker.flow()
        assert codes(client.heard()) == ["reply", "already_subscribed"]


async def test_unsubscribe_ends_the_messages_after_those_published_before() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        await w.publish("news", "before")
        client.say({"type": "unsubscribe", "id": 2, "channel": "news"})
        await w.publish("news", "after")
        await settle()
        assert told(client.heard()) == [("message", "before"), ("reply", None)]
        assert codes(await client.ask({"type": "unsubscribe", "id": 3, "channel": "news"})) == [
            "not_subscribed"
        ]
        assert (await client.subscribe("news"))["offset"] == 2


async def test_unsubscribe_and_subscribe_in_one_list_while_the_broker_is_slow() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        subscribe = {"type": "subscribe", "id": 1, "channel": "chat:1"}
        unsubscribe = {"type": "unsubscribe", "id": 2, "channel": "chat:1"}
        client.say([subscribe, unsubscribe, subscribe, unsubscribe, unsubscribe, subscribe])
        await w.broker.flow()
        answers = [e for e in client.heard() if "id" in e]
        assert codes(answers) == ["reply"] * 4 + ["not_subscribed", "reply"]
        assert await w.members("chat:1") == [client.id]


async def test_channels_of_a_connection_are_bounded() -> None:
    async with world(max_channels=2) as w:
        client = w.connect("alice")  # her own channel is one of them
        await client.subscribe("a")
        assert codes(await client.ask({"type": "subscribe", "id": 1, "channel": "b"})) == ["limit_exceeded"]
        await client.ask({"type": "unsubscribe", "channel": "a"})
        await client.subscribe("b")


@pytest.mark.parametrize("channel", ["@bob", "@", "@alice:x", "@alic", "closed:1"])
@pytest.mark.parametrize("kind", ["subscribe", "history", "presence"])
async def test_channel_of_others_and_closed_namespaces_are_refused(channel: str, kind: str) -> None:
    async with world() as w:
        for client in (w.connect("alice"), w.connect()):
            heard = await client.ask({"type": kind, "id": 1, "channel": channel})
            assert codes(heard) == ["permission_denied"]
            assert heard[0]["retry"] is False
        assert channel not in w.broker.interested


async def test_own_personal_channel_is_there_and_cannot_be_left() -> None:
    async with world() as w:
        alice = w.connect("alice")
        assert codes(await alice.ask({"type": "unsubscribe", "id": 1, "channel": "@alice"})) == [
            "permission_denied"
        ]
        await w.publish("@alice", "to her")
        (message,) = await alice.ask()
        assert (message["channel"], message["data"]) == ("@alice", "to her")
        assert codes(await alice.ask({"type": "history", "id": 1, "channel": "@alice"})) == ["reply"]


# -- publish ------------------------------------------------------------------------------------


async def test_publish_reaches_subscribers_as_it_came_and_says_who() -> None:
    async with world() as w:
        alice, bob = w.connect("alice"), w.connect()
        await bob.subscribe("news")
        text = b'{ "a" : 1.50, "b":"\\u00e9" , "a":2 }'
        alice.say_bytes(b'{"type":"publish","id":1,"channel":"news","data":%s}' % text)
        reply = alice.heard()[0]
        assert (reply["id"], reply["channel"], reply["offset"]) == (1, "news", 1)
        assert "duplicate" not in reply
        await settle()
        assert b'"data":' + text in bytes(bob.connection.received)
        (message,) = bob.heard()
        assert message["from"] == {"client": alice.id, "user": "alice"}
        assert message["time"] == 1_764_000_000_000
        assert message["id"]


async def test_publisher_that_is_subscribed_hears_its_own_reply_first_and_message_once() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        heard = await client.ask({"type": "publish", "id": 2, "channel": "news", "data": None})
        assert told(heard) == [("reply", None), ("message", None)]
        assert heard[1]["from"] == {"client": client.id}


@pytest.mark.parametrize("data64", ["", "AAH/"])
async def test_publish_of_bytes(data64: str) -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        heard = await client.ask({"type": "publish", "id": 2, "channel": "news", "data64": data64})
        assert heard[1]["data64"] == data64
        assert "data" not in heard[1]


@pytest.mark.parametrize("channel", ["@alice", "@bob", "@", "closed:1"])
async def test_publish_where_clients_may_not_is_refused(channel: str) -> None:
    async with world() as w:
        heard = await w.connect("alice").ask({"type": "publish", "id": 1, "channel": channel, "data": 1})
        assert codes(heard) == ["permission_denied"]
        assert w.broker.stats()["publications"] == 0


async def test_publish_with_a_known_key_publishes_nothing_and_says_so() -> None:
    async with world() as w:
        client = w.connect()
        command = {"type": "publish", "id": 1, "channel": "news", "data": 1, "key": "k" * 200}
        first, second = await client.ask(command, command)
        assert second == {**first, "duplicate": True}
        assert w.broker.stats()["publications"] == 1


async def test_publish_at_the_bound_and_one_byte_above() -> None:
    async with world(max_publish_bytes=10) as w:
        client = w.connect()
        for data, code in (("x" * 8, "reply"), ("x" * 9, "limit_exceeded")):
            assert codes(await client.ask({"type": "publish", "id": 1, "channel": "n", "data": data})) == [
                code
            ]


@pytest.mark.parametrize("data", [b"NaN", b'"\\ud800"', b"[" * 65 + b"]" * 65, b"01", b"{,}"])
async def test_publish_of_what_no_client_could_parse_is_refused(data: bytes) -> None:
    async with world() as w:
        client = w.connect()
        client.say_bytes(b'{"type":"publish","id":1,"channel":"news","data":%s}' % data)
        assert codes(client.heard()) == ["bad_request"]
        assert w.broker.stats()["publications"] == 0


async def test_publish_whose_outcome_is_unknown_says_timeout_and_may_be_repeated_with_its_key() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.late_faults["publish"] = OutcomeUnknownError("cut off")
        command = {"type": "publish", "id": 1, "channel": "news", "data": 1, "key": "k"}
        (error,) = await client.ask(command)
        assert (error["code"], error["retry"]) == ("timeout", True)
        w.broker.late_faults.clear()
        (reply,) = await client.ask(command)
        assert (reply["offset"], reply["duplicate"]) == (1, True)


async def test_excluded_client_does_not_get_the_message_and_the_others_do() -> None:
    async with world() as w:
        alice, bob = w.connect(), w.connect()
        await alice.subscribe("news")
        await bob.subscribe("news")
        await w.publish("news", "for bob", exclude=alice.id)
        await w.publish("news", "for both")
        assert told(await alice.ask()) == [("message", "for both")]
        assert told(await bob.ask()) == [("message", "for bob"), ("message", "for both")]


# -- history ------------------------------------------------------------------------------------


async def test_history_reads_pages_backwards() -> None:
    async with world(max_history_page=3) as w:
        client = w.connect()
        await w.publish("news", *range(1, 8))
        heard = await client.ask(
            {"type": "history", "id": 1, "channel": "news", "limit": 2},
            {"type": "history", "id": 2, "channel": "news", "limit": 2**53 - 1, "before": 6},
            {"type": "history", "id": 3, "channel": "news", "limit": 3, "before": 3},
            {"type": "history", "id": 4, "channel": "never used"},
            {"type": "history", "id": 5, "channel": "unused", "before": 1},
        )
        assert [[p["offset"] for p in e.get("publications", [])] for e in heard] == [
            [6, 7],
            [3, 4, 5],
            [1, 2],
            [],
            [],
        ]
        assert [e.get("complete") for e in heard] == [False, False, True, None, True]
        assert heard[3]["code"] == "bad_request"
        assert [p["data"] for p in heard[0]["publications"]] == [6, 7]
        assert heard[0]["offset"] == 7


# -- presence -----------------------------------------------------------------------------------


async def test_join_and_leave_are_told_once_to_all_and_the_members_are_listed() -> None:
    async with world() as w:
        alice, bob = w.connect("alice"), w.connect()
        await alice.subscribe("chat:1")
        assert told(alice.heard()) == []
        await bob.subscribe("chat:1")
        join = {"type": "join", "channel": "chat:1", "client": bob.id}
        assert alice.heard() == [join]
        (reply,) = await alice.ask({"type": "presence", "id": 5, "channel": "chat:1"})
        assert reply["members"] == [{"client": alice.id, "user": "alice"}, {"client": bob.id}]
        await bob.ask({"type": "unsubscribe", "id": 2, "channel": "chat:1"})
        await bob.subscribe("chat:1")
        bob.lose()
        await settle()
        assert told(alice.heard()) == [("leave", bob.id), ("join", bob.id), ("leave", bob.id)]
        assert await w.members("chat:1") == [alice.id]


async def test_join_and_leave_are_not_told_where_the_namespace_does_not_say_so() -> None:
    async with world() as w:
        alice, bob = w.connect(), w.connect()
        await alice.subscribe("quiet:1")
        await bob.subscribe("quiet:1")
        bob.lose()
        await settle()
        assert alice.heard() == []
        assert await w.members("quiet:1") == [alice.id]


async def test_who_cannot_join_is_unsubscribed_and_told_and_may_try_again() -> None:
    async with world() as w:
        bystander, client = w.connect(), w.connect()
        await bystander.subscribe("chat:1")
        bystander.heard()
        w.broker.faults["join"] = BrokerUnavailableError("down")
        heard = await client.ask({"type": "subscribe", "id": 1, "channel": "chat:1"})
        assert codes(heard) == ["reply", "unavailable"]
        assert heard[1] == {"type": "unsubscribed", "channel": "chat:1", "code": "unavailable"}
        assert client.session.channels == set()
        w.broker.faults.clear()
        await client.subscribe("chat:1")
        assert told(bystander.heard()) == [("join", client.id)]


async def test_join_of_unknown_outcome_is_taken_back() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.late_faults["join"] = OutcomeUnknownError("cut off")
        heard = await client.ask({"type": "subscribe", "id": 1, "channel": "quiet:1"})
        assert codes(heard) == ["reply", "unavailable"]
        assert await w.members("quiet:1") == []


async def test_leave_that_fails_is_one_error_and_the_subscription_stays() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("quiet:1")
        w.broker.faults["leave"] = BrokerUnavailableError("down")
        command = {"type": "unsubscribe", "id": 2, "channel": "quiet:1"}
        assert codes(await client.ask(command)) == ["unavailable"]
        await w.publish("quiet:1", "still")
        assert told(await client.ask()) == [("message", "still")]
        w.broker.faults.clear()
        assert codes(await client.ask(command)) == ["reply"]
        assert await w.members("quiet:1") == []


async def test_connection_lost_while_it_joins_is_not_present_afterwards() -> None:
    async with world() as w:
        bystander, client = w.connect(), w.connect()
        await bystander.subscribe("chat:1")
        bystander.heard()
        w.broker.slow = True
        client.say({"type": "subscribe", "id": 1, "channel": "chat:1"})
        await settle()
        assert w.broker.methods_sent == ["join"]
        client.lose()
        await w.broker.flow()
        assert told(bystander.heard()) in ([("join", client.id), ("leave", client.id)], [])
        assert await w.members("chat:1") == [bystander.id]


async def test_join_that_was_overtaken_by_its_leave_is_taken_back() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.held = {"join"}
        await client.subscribe("quiet:1")
        w.node.on_control(Control(kind=ControlKind.UNSUBSCRIBE, client=client.id, channel="quiet:1"))
        assert w.broker.methods_sent == ["join"]
        assert await w.members("quiet:1") == []
        await w.broker.flow()
        assert await w.members("quiet:1") == []


# -- eagerness ----------------------------------------------------------------------------------


async def test_command_whose_broker_does_not_suspend_is_answered_without_a_task() -> None:
    async with world() as w:
        client = w.connect("alice")
        before = len(asyncio.all_tasks())
        client.say({"type": "subscribe", "id": 1, "channel": "chat:1"})
        client.say({"type": "publish", "id": 2, "channel": "chat:1", "data": 1})
        assert [e.get("id") for e in client.heard() if e["type"] == "reply"] == [1, 2]
        assert len(asyncio.all_tasks()) == before
