"""The client's side of the encodings: what it writes the gateway reads, and what that writes it reads."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.client import incoming
from gateway.client.codecs import ClientCodec, codec_for
from gateway.errors import ProtocolError, UsageError
from gateway.message import commands, events
from gateway.message.codec import Codec
from gateway.message.json import JsonCodec
from gateway.message.msgpack import MsgpackCodec
from gateway.message.protobuf import ProtobufCodec

PAIRS: dict[str, tuple[ClientCodec, Codec]] = {
    "json": (codec_for("json"), JsonCodec()),
    "msgpack": (codec_for("msgpack"), MsgpackCodec()),
    "protobuf": (codec_for("protobuf"), ProtobufCodec()),
}
VALUES: list[Any] = [None, True, 0, -5, 2**53, 1.5, "", "é", [], {"a": [1, {"b": None}]}, b"", b"\x00\xff"]
INFO = msgspec.Raw(b'{"a": 1}')
SENDER = events.From("c1", "ann")
EVENTS: list[events.Event] = [
    events.Hello(client="c", session="s", user="u", ping=30.0, expires=7),
    events.Reply(id=1, channel="news", epoch="e", offset=0, recovered=True, duplicate=True),
    events.Reply(id=2, session="s", subscriptions=[events.Resumed("a", "e", 3, False)]),
    events.Error(id=3, code="timeout", message="m", retry=True),
    events.Gap(channel="news", from_=1, to=4, epoch="e", reason="slow"),
    events.Subscribed(channel="news", epoch="e", offset=3),
    events.Unsubscribed(channel="news", code="unavailable"),
    events.Pong(),
    events.Reply(id=5, channel="board", epoch="e", version=3),
    events.Reconnect(after=(0, 2000), reason="drain"),
]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[ClientCodec, Codec]:
    return PAIRS[request.param]


def test_both_sides_speak_the_same(pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    assert (client.subprotocol, client.opcode) == (gateway.subprotocol, gateway.opcode)


@pytest.mark.parametrize("value", VALUES)
def test_payload_arrives_and_comes_back(value: object, pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    payload = client.pack(value)
    command = commands.Publish(id=3, channel="news", data=payload.data, data64=payload.data64, key="k")
    (arrived,) = gateway.decode(client.encode(command), most=1)
    assert isinstance(arrived, commands.Publish)
    assert (arrived.id, arrived.channel, arrived.key) == (3, "news", "k")
    data = None if arrived.data64 is not None else arrived.data
    event = events.Message(channel="news", id="i", data=data, data64=arrived.data64, from_=SENDER, time=1)
    told = client.decode(gateway.encode(event))
    assert isinstance(told, incoming.Message)
    assert (told.channel, told.offset, told.from_) == ("news", 0, SENDER)
    back = client.unpack(told.data, told.data64)
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize(
    "command",
    [
        commands.Connect(id=1, token="t" * 3, session="s", since={"a": commands.Since("e", 0)}),
        commands.Subscribe(id=2, channel="news", since=commands.Since("e", 0)),
        commands.Subscribe(id=2, channel="news"),
        commands.Unsubscribe(id=3, channel="news"),
        commands.Presence(id=4, channel="news"),
        commands.History(id=5, channel="news", limit=7, before=3),
        commands.History(channel="news"),
        commands.Update(id=6, channel="board", base=0, patch=msgspec.Raw(b"{}"), epoch="e", key="k"),
        commands.Ping(),
    ],
    ids=lambda command: type(command).__name__,
)
def test_command_arrives_as_it_was_written(
    command: commands.Command, pair: tuple[ClientCodec, Codec]
) -> None:
    client, gateway = pair
    written = command
    if isinstance(command, commands.Update):
        written = msgspec.structs.replace(command, patch=client.pack({}).data)
    (arrived,) = gateway.decode(client.encode(written), most=1)
    assert repr_of(arrived) == repr_of(command)


def repr_of(command: commands.Command) -> dict[str, object]:
    """Return the fields of a command, those that are text as bytes."""
    fields = msgspec.structs.asdict(command)
    return {name: bytes(v) if isinstance(v, msgspec.Raw) else v for name, v in fields.items()}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_event_arrives_as_it_was_written(event: events.Event, pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    told = client.decode(gateway.encode(event))
    assert type(told).__name__ == type(event).__name__
    assert told is not None
    for field in msgspec.structs.fields(event):
        if field.name in {"data", "payload"}:  # Raw here: other tests look at them
            continue
        here, there = getattr(event, field.name), getattr(told, field.name)
        assert there == here or (here is None and there == []), field.name  # Protobuf: an empty list is none


def test_payloads_inside_of_answers_arrive(pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    views = [
        events.PublicationView(1, "a", 5, msgspec.Raw(b"[1, 2.0]"), None, SENDER),
        events.PublicationView(2, "b", 6, None, b"\x00"),
    ]
    told = client.decode(gateway.encode(events.Reply(id=1, publications=views, complete=True)))
    assert isinstance(told, incoming.Reply)
    assert told.publications is not None
    assert [client.unpack(view.data, view.data64) for view in told.publications] == [[1, 2.0], b"\x00"]
    assert told.publications[0].from_ == SENDER
    members = [events.MemberView("c1", "ann", INFO), events.MemberView("c2")]
    told = client.decode(gateway.encode(events.Reply(id=1, members=members)))
    assert isinstance(told, incoming.Reply)
    assert told.members is not None
    assert [client.unpack(member.info) for member in told.members] == [{"a": 1}, None]


@pytest.mark.parametrize("kind", [events.Join, events.Leave])
def test_info_of_members_arrives(kind: Any, pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    told = client.decode(gateway.encode(kind(channel="news", client="c", user="u", info=INFO)))
    assert isinstance(told, incoming.Join | incoming.Leave)
    assert client.unpack(told.info) == {"a": 1}


@pytest.mark.parametrize("value", VALUES)
def test_call_and_its_answer_arrive(value: object, pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    payload = client.pack(value)
    command = commands.Call(id=3, method="m", payload=payload.data, payload64=payload.data64, timeout=7)
    (arrived,) = gateway.decode(client.encode(command), most=1)
    assert isinstance(arrived, commands.Call)
    assert (arrived.method, arrived.timeout) == ("m", 7)
    text = None if arrived.payload64 is not None else arrived.payload
    told = client.decode(gateway.encode(events.Reply(id=3, payload=text, payload64=arrived.payload64)))
    assert isinstance(told, incoming.Reply)
    back = client.unpack(told.payload, told.payload64)
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("value", VALUES)
def test_what_is_sent_to_the_service_arrives(value: object, pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    payload = client.pack(value)
    (arrived,) = gateway.decode(
        client.encode(commands.Send(id=3, data=payload.data, data64=payload.data64)), most=1
    )
    assert isinstance(arrived, commands.Send)
    back = arrived.data64 if arrived.data64 is not None else json.loads(bytes(arrived.data))
    assert (arrived.id, back, type(back)) == (3, value, type(value))


def test_call_without_a_payload_arrives_without_one(pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    (arrived,) = gateway.decode(client.encode(commands.Call(id=3, method="m")), most=1)
    assert isinstance(arrived, commands.Call)
    assert (bytes(arrived.payload), arrived.payload64) == (b"", None)
    told = client.decode(gateway.encode(events.Reply(id=3)))
    assert isinstance(told, incoming.Reply)
    assert client.unpack(told.payload, told.payload64) is None


def test_state_and_patch_arrive(pair: tuple[ClientCodec, Codec]) -> None:
    client, gateway = pair
    text = msgspec.Raw(b'{"a": [1, null]}')
    state = client.decode(gateway.encode(events.State(channel="b", epoch="e", version=0, data=text)))
    assert isinstance(state, incoming.State)
    assert (state.epoch, state.version, client.unpack(state.data)) == ("e", 0, {"a": [1, None]})
    event = events.Patch(channel="b", version=3, id="i", patch=text, from_=SENDER, time=1)
    patch = client.decode(gateway.encode(event))
    assert isinstance(patch, incoming.Patch)
    assert (patch.version, patch.from_, client.unpack(patch.patch)) == (3, SENDER, {"a": [1, None]})
    error = events.Error(
        id=1, code="stale_version", message="m", retry=False, epoch="e", version=2, data=text
    )
    stale = client.decode(gateway.encode(error))
    assert isinstance(stale, incoming.Error)
    assert (stale.epoch, stale.version, client.unpack(stale.data)) == ("e", 2, {"a": [1, None]})


def test_records_have_every_field_of_the_gateway() -> None:
    for theirs in events.Event.__subclasses__():
        ours = getattr(incoming, theirs.__name__)
        assert ours in incoming.Event.__subclasses__()
        assert _names(theirs) <= _names(ours)
    for name in ("MemberView", "PublicationView"):
        assert _names(getattr(events, name)) == _names(getattr(incoming, name))


def _names(record: type[msgspec.Struct]) -> set[tuple[str, str]]:
    return {(field.name, field.encode_name) for field in msgspec.structs.fields(record)}


def test_event_and_fields_that_are_not_known_are_ignored() -> None:
    assert codec_for("json").decode(b'{"type":"novelty","x":1}') is None
    assert codec_for("msgpack").decode(b"\x81\xa4type\xa7novelty") is None
    assert codec_for("protobuf").decode(b"") is None
    assert codec_for("json").decode(b'{"type":"pong","x":[]}') == incoming.Pong()


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("json", b""),
        ("json", b"[]"),
        ("json", b'{"type":7}'),
        ("json", b'{"type":"reply"}'),
        ("json", b"[" * 100_000),
        ("json", b'{"type":"\xff"}'),
        ("msgpack", b""),
        ("msgpack", b"\x81\xa4type\xa5reply"),
        ("protobuf", b"\xff"),
        ("protobuf", b"\x12\x02\x08"),
    ],
)
def test_what_is_no_event_is_refused(encoding: Any, message: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec_for(encoding).decode(message)
    assert caught.value.close_code == 1007


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70])
def test_what_cannot_be_sent_is_refused(value: object, pair: tuple[ClientCodec, Codec]) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        pair[0].pack(value)


def test_encoding_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no encoding"):
        codec_for("xml")  # type: ignore[arg-type]
