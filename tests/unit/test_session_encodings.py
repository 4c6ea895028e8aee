"""Sessions in every encoding: the same commands, the same answers, and each other's publications."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import closecodes
from tests.support.codecs import CASES, said_by
from tests.support.sessions import Client, Event, World, world

VALUE = {"text": 'ä"\0', "n": [1, 2.5, -0.0, 2**53, None, True], "": {}}


@pytest.fixture(params=CASES)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def script(client: Client) -> list[Event]:
    """Say one of everything; return all that was heard."""
    return await client.ask(
        {"type": "ping"},
        {"type": "ping", "id": 1},
        [
            {"type": "subscribe", "id": 2, "channel": "chat:1"},
            {"type": "subscribe", "id": 3, "channel": "chat:1"},
        ],
        {"type": "publish", "id": 4, "channel": "chat:1", "data": VALUE, "key": "k"},
        {"type": "publish", "id": 5, "channel": "chat:1", "data": VALUE, "key": "k"},
        {"type": "publish", "channel": "chat:1", "data64": "AP8="},
        {"type": "publish", "id": 6, "channel": "chat:1"},
        {"type": "history", "id": 7, "channel": "chat:1"},
        {"type": "history", "id": 8, "channel": "chat:1", "limit": 1, "before": 2},
        {"type": "history", "id": 9, "channel": "chat:1", "limit": 0},
        {"type": "presence", "id": 10, "channel": "chat:1"},
        {"type": "subscribe", "id": 16, "channel": "doc:1"},
        {"type": "update", "id": 17, "channel": "doc:1", "base": 0, "patch": VALUE},
        {"type": "update", "id": 18, "channel": "doc:1", "base": 0, "patch": VALUE},
        {"type": "history", "id": 19, "channel": "doc:1"},
        {"type": "connect", "id": 11, "session": "unheard of", "since": {"a": {"epoch": "e", "offset": 1}}},
        {"type": "connect", "id": 12},
        {"type": "fly", "id": 13},
        {"type": "unsubscribe", "id": 14, "channel": "chat:1"},
        {"type": "unsubscribe", "id": 15, "channel": "ä"},
    )


async def heard_by(encoding: str) -> list[Event]:
    """Return what the first client of a world hears of the script; ids and epochs are the same in each."""
    async with world() as w:
        return await script(w.connect("alice", encoding))


async def test_script_is_answered_alike_in_every_encoding(encoding: str) -> None:
    heard, expected = await heard_by(encoding), await heard_by("json")
    for event in heard + expected:
        if event["type"] == "error":
            event["message"] = bool(event["message"])
    assert heard == [said_by(CASES[encoding], event) for event in expected]
    kinds = [(event["type"], event.get("id")) for event in heard if "time" not in event]
    assert len(kinds) == 23
    assert ("error", 13) in kinds


def payload(event: Event) -> Any:
    return event["data"] if "data" in event else event["data64"]


async def subscribed_to_all(w: World) -> dict[str, Client]:
    clients = {name: w.connect(encoding=name) for name in CASES}
    for client in clients.values():
        await client.subscribe("news")
    return clients


async def test_what_one_publishes_all_hear_and_find_in_the_history(encoding: str) -> None:
    async with world() as w:
        clients = await subscribed_to_all(w)
        publisher = clients[encoding]
        publisher.say(
            {"type": "publish", "channel": "news", "data": VALUE},
            {"type": "publish", "channel": "news", "data64": "AP8="},
        )
        for client in clients.values():
            heard = await client.ask()
            assert [payload(event) for event in heard] == [VALUE, "AP8="]
            assert {event["from"]["client"] for event in heard} == {publisher.id}
            (reply,) = await client.ask({"type": "history", "id": 1, "channel": "news"})
            assert [payload(view) for view in reply["publications"]] == [VALUE, "AP8="]


async def test_client_resumes_in_any_other_encoding(encoding: str) -> None:
    async with world() as w:
        first = w.connect("alice", encoding)
        reply = await first.subscribe("news")
        first.lose()
        await w.publish("news", VALUE)
        since = {"news": {"epoch": reply["epoch"], "offset": reply["offset"]}}
        for name in CASES:
            back = w.connect("alice", name)
            session = first.hello["session"]
            reply, message = await back.ask({"type": "connect", "id": 1, "session": session, "since": since})
            assert reply["subscriptions"][0]["recovered"] is True
            assert message["data"] == VALUE
            back.lose()


async def test_one_broadcast_is_encoded_once_per_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(CASES, 0)
    for name, case in CASES.items():
        real = case.codec.encode_publication

        def counted(self: Any, *args: Any, name: str = name, real: Any = real) -> Any:
            counts[name] += 1
            return real(*args)

        monkeypatch.setattr(type(case.codec), "encode_publication", counted)
    async with world() as w:
        clients = [w.connect(encoding=name) for name in ("json", "msgpack", "protobuf") for _ in range(5)]
        for client in clients:
            await client.subscribe("news")
        await w.publish("news", VALUE)
        assert [payload(event) for client in clients for event in await client.ask()] == [VALUE] * 15
    assert counts == dict.fromkeys(CASES, 1)


async def test_payload_too_deep_is_refused_with_its_id(encoding: str) -> None:
    async with world() as w:
        client = w.connect(encoding=encoding)
        value: object = 1
        for levels in range(1, 201):
            value = [value]
            if levels in {64, 65, 200}:
                (answer,) = await client.ask(
                    {"type": "publish", "id": levels, "channel": "news", "data": value}
                )
                assert answer["type"] == ("reply" if levels == 64 else "error")
                assert answer["id"] == levels
                assert answer.get("code", "bad_request") == "bad_request"


@pytest.mark.parametrize("noise", [b"", b"\xc1", b"\xff\xff", b"\x0a\x7f", b"[" * 1000, b"\x91" * 5000])
async def test_noise_ends_a_connection_and_is_answered_before(encoding: str, noise: bytes) -> None:
    async with world() as w:
        client, other = w.connect(encoding=encoding), w.connect(encoding=encoding)
        for _ in range(10):
            client.say_bytes(noise, client.case.codec.opcode)
        heard = client.heard()
        assert [(event["type"], event["code"]) for event in heard] == [("error", "bad_request")] * 10
        assert client.connection.closes == [closecodes.MISUSE]
        assert await other.ask({"type": "ping"}) == [{"type": "pong"}]


async def test_message_of_the_other_kind_ends_the_connection(encoding: str) -> None:
    async with world() as w:
        client = w.connect(encoding=encoding)
        client.say_bytes(client.case.write({"type": "ping"}), 3 - client.case.codec.opcode)
        assert client.connection.closes == [closecodes.UNSUPPORTED_DATA]
