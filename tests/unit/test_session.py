"""A session: one answer per id, in order; what it does with what is no command; its end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest

from gateway import closecodes
from gateway.errors import BrokerUnavailableError
from tests.support.sessions import Event, world
from tests.support.simulated import settle

PING = {"type": "ping"}


def answers(events: list[Event]) -> list[tuple[int | None, str]]:
    """Say for each event which id it answers and with what."""
    return [(e.get("id"), str(e.get("code", e["type"]))) for e in events]


async def test_start_says_hello_first() -> None:
    async with world() as w:
        nobody, alice = w.connect(), w.connect("alice")
        assert nobody.hello == {
            "type": "hello",
            "client": nobody.id,
            "session": nobody.session.session,
            "ping": 30.0,
        }
        assert alice.hello["user"] == "alice"
        assert alice.session.channels == {"@alice"}
        assert nobody.session.channels == set()


# -- one answer per id --------------------------------------------------------------------------


async def test_ping_with_id_is_replied_and_without_is_ponged() -> None:
    async with world() as w:
        client = w.connect()
        assert await client.ask({**PING, "id": 7}) == [{"type": "reply", "id": 7}]
        assert await client.ask(PING, {**PING, "id": 0}) == [{"type": "pong"}] * 2


async def test_commands_without_id_get_no_reply_but_their_errors() -> None:
    async with world() as w:
        client = w.connect()
        heard = await client.ask(
            {"type": "subscribe", "channel": "news"},
            {"type": "publish", "channel": "other", "data": 1},
            {"type": "history", "channel": "news"},
            {"type": "presence", "channel": "chat:1"},
            {"type": "connect"},
            {"type": "unsubscribe", "channel": "news"},
        )
        assert heard == []
        heard = await client.ask({"type": "unsubscribe", "channel": "news"})
        assert answers(heard) == [(None, "not_subscribed")]
        assert heard[0]["retry"] is False


async def test_list_of_good_and_bad_commands_is_answered_one_by_one_in_order() -> None:
    async with world() as w:
        client = w.connect()
        heard = await client.ask(
            [
                {**PING, "id": 1},
                {"type": "subscribe", "id": 2},
                {"type": "fly", "id": 3},
                {"type": "subscribe", "id": 4, "channel": 5},
                {"id": 5},
                {"type": "publish", "id": 6, "channel": "a b", "data": 1},
                {"type": "unsubscribe", "id": 7, "channel": "news"},
                {"type": "subscribe", "id": 8, "channel": "news", "since": {"epoch": "x"}},
                {**PING, "id": 9},
            ]
        )
        assert answers(heard) == [
            (1, "reply"),
            *[(number, "bad_request") for number in (2, 3, 4, 5, 6)],
            (7, "not_subscribed"),
            (8, "bad_request"),
            (9, "reply"),
        ]


@pytest.mark.parametrize("bad", [-1, -(2**63), 2**53, 2**64, 10**40, 1.5, 1e300, "1", True, None, [], {}])
@pytest.mark.parametrize("in_list", [False, True])
async def test_id_that_is_no_positive_integer_is_refused_without_one(bad: object, in_list: bool) -> None:
    async with world() as w:
        client = w.connect()
        text = b'{"type":"ping","id":%s}' % (str(bad).encode() if bad == 10**40 else _json(bad))
        client.say_bytes(b"[%s, %s]" % (text, text) if in_list else text)
        heard = client.heard()
        assert answers(heard) == [(None, "bad_request")] * (1 + in_list)
        assert client.connection.closes == []


def _json(value: object) -> bytes:
    return str(value).encode() if isinstance(value, int) and value is not True else orjson.dumps(value)


@pytest.mark.parametrize("good", [1, 2**31, 2**53 - 1])
async def test_id_that_every_client_can_hold_comes_back(good: int) -> None:
    async with world() as w:
        assert await w.connect().ask({**PING, "id": good}) == [{"type": "reply", "id": good}]


async def test_same_id_twice_is_answered_twice() -> None:
    async with world() as w:
        heard = await w.connect().ask([{**PING, "id": 1}, {**PING, "id": 1}])
        assert answers(heard) == [(1, "reply")] * 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "subscribe"}, "bad_request"),
        ({"type": "subscribe", "channel": None}, "bad_request"),
        ({"type": "subscribe", "channel": ["news"]}, "bad_request"),
        ({"type": "subscribe", "channel": ""}, "bad_request"),
        ({"type": "subscribe", "channel": "x" * 201}, "bad_request"),
        ({"type": "subscribe", "channel": "tür"}, "bad_request"),
        ({"type": "subscribe", "channel": "news", "since": 3}, "bad_request"),
        ({"type": "subscribe", "channel": "news", "since": {"epoch": "x", "offset": -1}}, "bad_request"),
        ({"type": "subscribe", "channel": "news", "since": {"epoch": "x", "offset": 2**63}}, "bad_request"),
        ({"type": "subscribe", "channel": "news", "since": {"epoch": 1, "offset": 1}}, "bad_request"),
        ({"type": "unsubscribe", "channel": "x y"}, "bad_request"),
        ({"type": "publish", "channel": "news"}, "bad_request"),
        ({"type": "publish", "channel": "news", "data": 1, "data64": "AA=="}, "bad_request"),
        ({"type": "publish", "channel": "news", "data64": "A"}, "bad_request"),
        ({"type": "publish", "channel": "news", "data64": "!!!!"}, "bad_request"),
        ({"type": "publish", "channel": "news", "data64": 5}, "bad_request"),
        ({"type": "publish", "channel": "news", "data": 1, "key": 5}, "bad_request"),
        ({"type": "publish", "channel": "news", "data": 1, "key": "k" * 201}, "bad_request"),
        ({"type": "history", "channel": "news", "limit": 0}, "bad_request"),
        ({"type": "history", "channel": "news", "limit": -1}, "bad_request"),
        ({"type": "history", "channel": "news", "before": -1}, "bad_request"),
        ({"type": "history", "channel": "news", "limit": "5"}, "bad_request"),
        ({"type": "history", "channel": "plain:x"}, "bad_request"),
        ({"type": "presence", "channel": "news"}, "bad_request"),
        ({"type": "presence"}, "bad_request"),
        ({"type": "connect", "session": 5}, "bad_request"),
        ({"type": "connect", "session": "unheard of"}, "unauthorized"),
        ({"type": "connect", "since": {"news": 5}}, "bad_request"),
        ({"type": "hello"}, "bad_request"),
        ({"type": "malformedcommand", "message": "x"}, "bad_request"),
        ({"type": "command"}, "bad_request"),
        ({"type": 5}, "bad_request"),
        ({"type": None}, "bad_request"),
        ({}, "bad_request"),
    ],
)
async def test_wrong_command_is_refused_with_its_id_and_changes_nothing(fields: Event, code: str) -> None:
    async with world() as w:
        client = w.connect()
        heard = await client.ask({"id": 9, **fields}, [{"id": 10, **fields}, {**PING, "id": 11}])
        assert answers(heard) == [(9, code), (10, code), (11, "reply")]
        assert client.session.channels == set()
        assert w.broker.stats()["publications"] == 0


# -- what is no command at all ------------------------------------------------------------------


async def test_ten_messages_that_are_no_commands_end_the_connection() -> None:
    async with world() as w:
        client = w.connect()
        for _ in range(9):
            client.say_bytes(b"hello?")
        assert answers(client.heard()) == [(None, "bad_request")] * 9
        assert client.connection.closes == []
        client.say_bytes(b"hello?")
        assert answers(client.heard()) == [(None, "bad_request")]
        assert client.connection.closes == [closecodes.MISUSE]
        await w.check_nothing_is_left()
        assert w.broker.stats()["sessions"] == 0, "who misuses the gateway cannot resume"


async def test_misuses_in_one_list_are_not_answered_beyond_the_end() -> None:
    async with world() as w:
        client = w.connect()
        client.say_bytes(b"[" + b",".join([b"5"] * 50) + b"]")
        assert len(client.heard()) == 10
        assert client.connection.closes == [closecodes.MISUSE]


async def test_wrong_commands_with_an_id_are_no_misuse() -> None:
    async with world() as w:
        client = w.connect()
        for number in range(1, 30):
            client.say({"type": "fly", "id": number})
        assert client.connection.closes == []


async def test_empty_lists_are_misuse() -> None:
    async with world() as w:
        client = w.connect()
        for _ in range(10):
            client.say_bytes(b"[]")
        assert client.connection.closes == [closecodes.MISUSE]


async def test_binary_message_where_text_was_negotiated_closes_1003() -> None:
    async with world() as w:
        client = w.connect()
        client.say_bytes(b'{"type":"ping"}', opcode=2)
        assert client.connection.closes == [closecodes.UNSUPPORTED_DATA]
        assert client.heard() == []


async def test_list_with_too_many_commands_does_none_of_them() -> None:
    async with world(max_commands_per_frame=3) as w:
        client = w.connect()
        assert len(await client.ask([{**PING, "id": n} for n in (1, 2, 3)])) == 3
        heard = await client.ask([{**PING, "id": n} for n in (1, 2, 3, 4)])
        assert answers(heard) == [(None, "bad_request")]


# -- order and back-pressure --------------------------------------------------------------------


async def test_slow_broker_keeps_the_order_of_one_client_and_holds_up_no_other() -> None:
    async with world() as w:
        first, second = w.connect(), w.connect()
        w.broker.slow = True
        first.say(
            {"type": "publish", "id": 1, "channel": "news", "data": 1},
            {**PING, "id": 2},
            {"type": "publish", "id": 3, "channel": "news", "data": 3},
        )
        first.say([{**PING, "id": 4}])
        await settle()
        assert first.heard() == []
        assert w.broker.methods_sent == ["publish"], "the next command waits for the one before"
        assert answers(await second.ask({**PING, "id": 1})) == [(1, "reply")]
        await w.broker.flow()
        assert [e["id"] for e in first.heard()] == [1, 2, 3, 4]


async def test_publishes_that_follow_each_other_wait_for_the_broker_together() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        publish = [{"type": "publish", "id": n, "channel": "news", "data": n} for n in range(1, 301)]
        for start in range(0, 300, 60):
            client.say(publish[start : start + 60])
        client.say([{**PING, "id": 301}, {"type": "publish", "id": 302, "channel": "news", "data": 0}])
        assert w.broker.methods_sent == ["publish"] * 256, "a bounded number at once"
        assert client.heard() == []
        await w.broker.flow()
        heard = client.heard()
        assert [e["id"] for e in heard] == list(range(1, 303))
        assert [e["offset"] for e in heard if "offset" in e] == list(range(1, 302))


async def test_publishes_are_answered_in_order_when_one_fails_at_once() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        client.say(
            [
                {"type": "publish", "id": 1, "channel": "news", "data": 1},
                {"type": "publish", "id": 2, "channel": "@me", "data": 2},
                {"type": "publish", "id": 3, "channel": "news", "data": 3},
            ]
        )
        await settle()
        assert client.heard() == []
        assert w.broker.methods_sent == ["publish", "publish"]
        await w.broker.flow()
        assert answers(client.heard()) == [(1, "reply"), (2, "permission_denied"), (3, "reply")]


async def test_client_that_goes_while_publishes_wait_leaves_nothing_behind() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        client.say([{"type": "publish", "id": n, "channel": "news", "data": n} for n in range(1, 6)])
        client.lose()
        await w.broker.flow()
        assert client.heard() == []
        await w.check_nothing_is_left()


async def test_no_more_commands_are_read_while_too_many_wait() -> None:
    async with world(max_pending_commands=5) as w:
        client = w.connect()
        w.broker.slow = True
        client.say({"type": "publish", "id": 1, "channel": "news", "data": 1})
        for number in range(2, 7):
            client.say({**PING, "id": number})
        held = [client.connection.held]
        client.say({**PING, "id": 7})
        held.append(client.connection.held)
        await w.broker.flow()
        assert answers(client.heard()) == [(number, "reply") for number in range(1, 8)]
        assert [*held, client.connection.held] == [False, True, False]
        client.lose()
        await w.check_nothing_is_left()


async def test_client_that_reads_nothing_gets_no_more_answers_until_it_does() -> None:
    async with world(max_queued_bytes=1000) as w:
        client = w.connect()
        client.connection.queued_bytes = 1001
        client.say({**PING, "id": 1}, {**PING, "id": 2})
        assert client.heard() == []
        client.connection.queued_bytes = 0
        client.session.on_writable()
        assert answers(client.heard()) == [(1, "reply"), (2, "reply")]


async def test_on_writable_sends_what_the_channels_have() -> None:
    async with world() as w:
        client = w.connect()
        await client.subscribe("news")
        client.connection.blocked = True
        await w.publish("news", "one", "two")
        await settle()
        assert client.heard() == []
        client.connection.blocked = False
        client.session.on_writable()
        assert [e["data"] for e in client.heard()] == ["one", "two"]


async def test_error_inside_a_handler_is_told_without_its_text_and_the_next_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as w:
        client = w.connect()

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr(w.node, "begin_publish", broken)
        heard = await client.ask([{"type": "publish", "id": 1, "channel": "n", "data": 1}, {**PING, "id": 2}])
        assert answers(heard) == [(1, "internal"), (2, "reply")]
        assert "secret" not in str(heard)
        assert "secret detail" in caplog.text


# -- the personal channel -----------------------------------------------------------------------


async def test_client_whose_personal_channel_cannot_be_had_is_turned_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as w:
        w.broker.faults["subscribe"] = BrokerUnavailableError("down")
        alice = w.connect("alice")
        assert alice.connection.closes == [closecodes.SERVER_ERROR]
        del w.broker.faults["subscribe"]
        await w.check_nothing_is_left()
        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_personal_channel_precedes_the_first_command() -> None:
    async with world() as w:
        w.broker.slow = True
        alice = w.connect("alice")
        alice.say({**PING, "id": 1})
        assert alice.heard() == []
        await w.broker.flow()
        assert alice.session.channels == {"@alice"}
        assert answers(alice.heard()) == [(1, "reply")]


# -- the end ------------------------------------------------------------------------------------


async def test_on_close_forgets_everything_and_commands_that_wait() -> None:
    async with world() as w:
        alice, bob = w.connect("alice"), w.connect("bob")
        await alice.subscribe("chat:1")
        await bob.subscribe("chat:1")
        bob.heard()
        w.broker.slow = True
        alice.say({"type": "publish", "channel": "chat:1", "data": 1})
        alice.say(PING | {"id": 1}, {"type": "publish", "channel": "chat:1", "data": 2})
        alice.lose()
        await w.broker.flow()
        assert [(e["type"], e.get("data")) for e in bob.heard()] == [("message", 1), ("leave", None)]
        bob.lose()
        await w.check_nothing_is_left()


COMMANDS: dict[str, Event] = {
    "subscribe": {"type": "subscribe", "id": 5, "channel": "chat:new"},
    "since": {"type": "subscribe", "id": 5, "channel": "chat:old", "since": {"epoch": "?", "offset": 1}},
    "unsubscribe": {"type": "unsubscribe", "id": 5, "channel": "chat:mine"},
    "publish": {"type": "publish", "id": 5, "channel": "chat:mine", "data": 1},
    "presence": {"type": "presence", "id": 5, "channel": "chat:mine"},
    "history": {"type": "history", "id": 5, "channel": "chat:mine"},
    "connect": {"type": "connect", "id": 5, "session": "?"},
}


async def _prepared(w: Any, command: Event) -> tuple[Any, Event]:
    """Return a client in chat:mine, and the command with what it refers to filled in."""
    old = w.connect("alice")
    await old.subscribe("chat:old")
    epoch = w.node.hub.get("chat:old").position.epoch
    await w.publish("chat:old", 1, 2, 3)
    session = old.session.session
    old.lose()
    await w.sweep()  # the ring is gone, so that history must be read
    client = w.connect("alice")
    await client.subscribe("chat:mine")
    client.heard()
    command = dict(command)
    if "since" in command:
        command["since"] = {"epoch": epoch, "offset": 1}
    if "session" in command:
        command["session"] = session
    return client, command


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("executed", [False, True])
async def test_on_close_at_every_point_of_waiting_leaves_nothing(name: str, executed: bool) -> None:
    for turns in range(8):
        async with world() as w:
            client, command = await _prepared(w, COMMANDS[name])
            w.broker.slow = True
            client.say(command)
            for _ in range(turns):
                await settle()
                await w.broker.execute()
                w.broker.reply()
            await settle()
            if executed:
                await w.broker.execute()
            over = not w.broker.sent and not w.broker.executed
            client.lose()
            await settle()
            await w.check_nothing_is_left()
            if over:
                return
    pytest.fail("the command never ended")


async def test_connection_lost_while_the_broker_never_answers_leaves_no_task_of_its_own() -> None:
    async with world(resume_ttl_s=0.0) as w:
        client = w.connect()
        before = len(asyncio.all_tasks())
        w.broker.slow = True
        client.say({"type": "history", "id": 1, "channel": "news"}, {**PING, "id": 2})
        await settle()
        assert len(asyncio.all_tasks()) == before + 1
        client.lose()
        await settle()
        assert len(asyncio.all_tasks()) == before
        assert client.heard() == []


@pytest.mark.parametrize("name", COMMANDS)
async def test_each_broker_call_that_fails_gives_one_error_and_leaves_nothing(name: str) -> None:
    async with world() as w:
        client, command = await _prepared(w, COMMANDS[name])
        w.broker.calls.clear()
        await client.ask(command)
        calls = list(dict.fromkeys(w.broker.calls))
        client.lose()
    assert calls
    for call in calls:
        async with world() as w:
            client, command = await _prepared(w, COMMANDS[name])
            w.broker.faults[call] = BrokerUnavailableError("down")
            heard = [e for e in await client.ask(command) if e.get("id") == 5]
            if call == "join":
                assert answers(heard) == [(5, "reply")], "it was answered before it joined"
            else:
                assert answers(heard) == [(5, "unavailable")], call
                assert heard[0]["retry"] is True
            w.broker.faults.clear()
            again = [e for e in await client.ask(command) if e.get("id") == 5]
            assert answers(again) == [(5, "reply")], f"{call} works again"
            client.lose()
            await w.check_nothing_is_left()


async def test_on_close_while_the_broker_is_down_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        client = w.connect("alice")
        await client.subscribe("chat:1")
        w.broker.faults = dict.fromkeys(("leave", "save_session"), BrokerUnavailableError("down"))
        client.lose()
        await settle()
        assert not w.node.sessions
        assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
