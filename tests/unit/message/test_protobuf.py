"""What is particular to Protobuf: the .proto and what is generated, wire types, varints, what is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway.message import commands, events
from gateway.message import ringgate_pb2 as pb
from gateway.message.commands import (
    MAX_NUMBER,
    Command,
    History,
    MalformedCommand,
    Ping,
    Publish,
    Since,
    Subscribe,
)
from gateway.message.protobuf import ProtobufCodec
from gateway.message.publication import Publication
from scripts.generate_proto import SOURCE, generate
from tests.support.memory import peak_growth

CODEC = ProtobufCodec()
MIB = 1 << 20
PING = pb.Command(id=1, ping=pb.Ping()).SerializeToString()


def decode(payload: bytes, most: int = 100) -> list[Command]:
    return list(CODEC.decode(payload, most=most))


def frame(*parts: bytes) -> bytes:
    """Return a message of commands that are written already, each shorter than 16 KiB."""
    return b"".join(b"\x0a" + size(part) + part for part in parts)


def size(part: bytes) -> bytes:
    return bytes([len(part)]) if len(part) < 128 else bytes([len(part) & 127 | 128, len(part) >> 7])


def is_refused(command: Command, number: int) -> bool:
    return isinstance(command, MalformedCommand) and command.id == number and 0 < len(command.message) < 300


# -- the .proto ---------------------------------------------------------------------------------


def test_generated_module_is_what_the_proto_gives(tmp_path: Path) -> None:
    for made in generate(tmp_path):
        assert made.read_text() == (SOURCE.parent / made.name).read_text(), "run: make proto"


def records() -> Iterator[tuple[type[msgspec.Struct], Any]]:
    """Yield every record that clients see, and its message."""
    seen = [*get_args(commands.AnyCommand), *events.Event.__subclasses__()]
    seen += [events.From, events.MemberView, events.PublicationView, events.Resumed]
    yield from ((record, getattr(pb, record.__name__).DESCRIPTOR) for record in seen)
    yield Since, pb.Position.DESCRIPTOR


@pytest.mark.parametrize(("record", "message"), list(records()))
def test_messages_have_the_fields_of_the_records(record: type[msgspec.Struct], message: Any) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(record)}
    if issubclass(record, Command):
        del fields["id"]  # it stands beside the command
    payload = "payload" if "payload" in fields else "data"
    renamed = {"json": payload, "binary": f"{payload}64"}
    assert {renamed.get(field.name, field.name) for field in message.fields} == set(fields)
    for field in message.fields:
        default = fields[renamed.get(field.name, field.name)].default
        if field.has_presence:
            assert default is None or field.name in {"json", "limit"}, "presence says what None says"
        elif not field.is_repeated and default is not msgspec.NODEFAULT:
            assert default == field.default_value, field.name


def test_every_command_and_event_can_be_set() -> None:
    assert {field.name for field in pb.Command.DESCRIPTOR.fields} - {"id"} == {
        record.__name__.lower() for record in get_args(commands.AnyCommand)
    }
    assert {field.name for field in pb.Event.DESCRIPTOR.fields} == {
        record.__name__.lower() for record in events.Event.__subclasses__()
    }


# -- payloads -----------------------------------------------------------------------------------


def test_json_text_comes_in_and_goes_out_byte_for_byte() -> None:
    text = b' {"b" : 1.50, "a":\t[1E2]}'
    command = pb.Command(id=3, publish=pb.Publish(channel="c", json=text, key="k"))
    (publish,) = decode(frame(command.SerializeToString()))
    assert isinstance(publish, Publish)
    assert (publish.id, publish.channel, publish.key, bytes(publish.data)) == (3, "c", "k", text)
    sent = CODEC.encode_publication("c", Publication(id="i", data=text, time_ms=5))
    assert pb.Event.FromString(sent).message.json == text


def test_bytes_go_out_as_they_are_and_none_at_all_are_bytes_too() -> None:
    for data in (b"", b"\0\xff"):
        sent = CODEC.encode_publication("c", Publication(id="i", data=data, time_ms=5, binary=True))
        message = pb.Event.FromString(sent).message
        assert (message.WhichOneof("payload"), message.binary) == ("binary", data)


# -- what is wrong ------------------------------------------------------------------------------


def test_channel_that_is_not_set_is_missing() -> None:
    (command,) = decode(frame(pb.Command(id=3, subscribe=pb.Subscribe()).SerializeToString()))
    assert is_refused(command, 3)
    assert isinstance(command, MalformedCommand)
    assert "`channel`" in command.message


def test_what_is_nothing_may_be_left_out() -> None:
    subscribe = pb.Subscribe(channel="c", since=pb.Position(epoch="e"))
    assert decode(frame(pb.Command(subscribe=subscribe).SerializeToString())) == [
        Subscribe(channel="c", since=Since("e", 0))
    ]
    for limit, meant in ((None, 50), (0, 0), (7, 7)):
        history = pb.Command(history=pb.History(channel="c", limit=limit)).SerializeToString()
        assert decode(frame(history)) == [History(channel="c", limit=meant)]


@pytest.mark.parametrize(
    ("part", "number"),
    [
        (b"", 0),
        (b"\x08\x07", 7),
        (b"\x08\x07\xa2\x06\x00", 7),
        (b"\x08\x07\x1a\x03\x0a\x01\xff", 7),
        (b"\x1a\x03\x0a\x01\xff\x08\x07", 7),
        (b"\x08\x07\x1a\x04\x0a\x05cc", 7),
        (b"\x08\x07\x1a\x01\x0b", 7),
        (b"\x08\x07\x1a\x7fx", 0),
        (b"\x08\x07\x12\x07\x1a\x05\x0a\x01\xff\x12\x00", 7),
        (b"\x0a\x01x", 0),
        (b"\x08\x80\x80\x80\x80\x80\x80\x80\x10\x42\x00", 0),
        (b"\x08\x80\x80\x80\x80\x80\x80\x80\x10\x1a\x03\x0a\x01\xff", 0),
        (b"\x08" + b"\xff" * 9 + b"\x01\x42\x00", 0),
        (b"\x08" + b"\x80" * 11 + b"\x01\x42\x00", 0),
        (b"\x00\x00\x42\x00", 0),
        (b"\x08\x07\x1a\x10\x0a\x01c\x12\x0b\x10" + b"\xff" * 9 + b"\x01", 7),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_command_that_is_wrong_keeps_its_place_and_its_id_where_it_can_be_read(
    part: bytes, number: int
) -> None:
    before, wrong, after = decode(frame(PING, part, PING))
    assert before == after == Ping(id=1)
    assert is_refused(wrong, number)


HOSTILE: list[bytes] = [
    b"",
    b"\x00",
    b"\x0a",
    b"\x0a\xff\xff\xff\xff\x0f",
    b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x0a" + b"\xff" * 20,
    b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    b"\xff" * 65_536,
    b"\x80" * 65_536,
    b"\x0b" * 65_536,
    b"\x0b" * 32_768 + b"\x0c" * 32_768,
    b"\x0c",
    b"\x0f\x00",
    frame(PING)[:-1],
    frame(PING) + b"\x0a",
    PING,
    b"\xfa\xff\xff\xff\x7f\x00",
    b'{"type":"ping"}',
    b"\x0a\x00" * 32_768,
    b"\xf8\xff\xff\xff\x0f\x00" * 10_000,
]


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: f"{payload[:16].hex()}-{len(payload)}")
def test_message_without_commands_is_malformed_without_id(payload: bytes) -> None:
    (command,) = decode(payload)
    assert is_refused(command, 0)


def test_what_is_unknown_is_passed_over() -> None:
    part = pb.Command(id=5, ping=pb.Ping()).SerializeToString()
    unknown = b"\xa2\x06\x03\xff\xff\xff" + b"\xa8\x06" + b"\xff" * 9 + b"\x01" + b"\xa3\x06\x0b\x0c\xa4\x06"
    assert decode(frame(part + unknown) + unknown) == [Ping(id=5)]


def test_repeated_fields_have_one_meaning_the_last() -> None:
    both = b"\x08\x01\x08\x02" + b"\x1a\x03\x0a\x01a" + b"\x1a\x03\x0a\x01c"
    assert decode(frame(both)) == [Subscribe(id=2, channel="c")]
    other = pb.Command(publish=pb.Publish(json=b"1", channel="c")).SerializeToString() + b"\x42\x00"
    assert decode(frame(other)) == [Ping()]


def test_number_may_not_be_larger_than_a_client_can_hold() -> None:
    for number, held in ((MAX_NUMBER, True), (MAX_NUMBER + 1, False), (2**64 - 1, False)):
        (command,) = decode(frame(pb.Command(id=number, ping=pb.Ping()).SerializeToString()))
        assert command == Ping(id=number) if held else is_refused(command, 0)
        before = pb.Command(id=3, history=pb.History(channel="c", before=number))
        (command,) = decode(frame(before.SerializeToString()))
        assert command == History(id=3, channel="c", before=number) if held else is_refused(command, 3)


def test_hostile_messages_take_no_more_memory_than_their_kind_is_known_to() -> None:
    """64 KiB is the largest message by default; the most that two bytes can be is a command, or a field."""
    entries = b"\x08\x01\x12" + b"\xff\x7f" + (b"\x1a\x00" * 8191 + b"\0")
    worst = [
        *HOSTILE,
        b"\x0a\x02\x12\x00" * 16_384,
        b"\x0a\x04\x2a\x02\x0a\x00" * 10_922,
        frame(entries)[:65_536],
        b"\x0a\x80\x80\x04" + b"\xa0\x06\x00" * 21_845,
        b"\x0a\x80\x80\x04" + b"\xa2\x06\x00" * 21_845,
        b"\xa0\x06\x00" * 21_845,
    ]
    grown = peak_growth("gateway.message.protobuf:ProtobufCodec", worst)
    print(f"peak of memory: {grown / MIB:.1f} MiB above the start")
    assert grown < 16 * MIB
