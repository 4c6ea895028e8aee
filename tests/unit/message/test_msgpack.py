"""What is particular to MessagePack: what JSON cannot hold, headers that declare too much, depth, UTF-8."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest

from gateway.errors import CommandError
from gateway.message.commands import MAX_NUMBER, Command, MalformedCommand, Ping, Publish, Subscribe
from gateway.message.json import MAX_DEPTH, check_json
from gateway.message.msgpack import MsgpackCodec
from gateway.message.publication import Publication
from tests.support.memory import peak_growth

CODEC = MsgpackCodec()
PING = msgpack.packb({"type": "ping", "id": 1})
MIB = 1 << 20


def decode(payload: bytes, most: int = 100) -> list[Command]:
    return list(CODEC.decode(payload, most=most))


def publish(packed: bytes) -> Command:
    """Return what becomes of a publish whose data is `packed`, between two others in a list."""
    head = msgpack.packb({"type": "publish", "id": 7, "channel": "c", "data": 0})[:-1]
    (alone,) = decode(head + packed)
    before, among, after = decode(b"\x93" + PING + head + packed + PING)
    assert before == after == Ping(id=1)
    assert repr(alone) == repr(among) or isinstance(alone, Publish)
    return alone


def is_refused(command: Command, number: int = 7) -> bool:
    return isinstance(command, MalformedCommand) and command.id == number and 0 < len(command.message) < 300


# -- payloads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b"\xc0", b"null"),
        (b"\xcf" + b"\xff" * 8, b"18446744073709551615"),
        (b"\xd3\x80" + bytes(7), b"-9223372036854775808"),
        (b"\xca" + struct.pack(">f", 0.1), b"0.10000000149011612"),
        (b"\xcb" + struct.pack(">d", -0.0), b"-0.0"),
        (b'\xd9\x05a\0"\\\x7f', b'"a\\u0000\\"\\\\\x7f"'),
        (b"\xdd\0\0\0\1\xdf\0\0\0\1\xdb\0\0\0\1k\xcd\0\1", b'[{"k":1}]'),
        (b"\x92\xc0\xa4null", b'[null,"null"]'),
        (b"\x82\xa1a\1\xa1a\2", b'{"a":2}'),
    ],
)
def test_value_becomes_json_text(packed: bytes, text: bytes) -> None:
    command = publish(packed)
    assert isinstance(command, Publish)
    assert bytes(command.data) == check_json(text)
    assert command.data64 is None


@pytest.mark.parametrize("form", [b"\xc4\x02", b"\xc5\0\x02", b"\xc6\0\0\0\x02"])
def test_bin_is_bytes(form: bytes) -> None:
    command = publish(form + b"\xff\0")
    assert isinstance(command, Publish)
    assert (bytes(command.data), command.data64) == (b"", b"\xff\0")


@pytest.mark.parametrize(
    "packed",
    [
        b"\x91\xc4\x01a",
        b"\x81\xa1k\xc4\x00",
        b"\xd4\x01\x00",
        b"\xd6\xff\0\0\0\1",
        b"\x91\xc7\x01\x05\x00",
        b"\xcb\x7f\xf8" + bytes(6),
        b"\xcb\xff\xf0" + bytes(6),
        b"\x92\xc0\xca\x7f\x80\0\0",
        b"\x81\x01\x01",
        b"\x81\xc0\x01",
        b"\x81\xc4\x01a\x01",
        b"\x81\x90\x01",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\x81\xa1\xff\x01",
        b"\x91" * 300 + b"\x01",
        b"\x81\xa1k" * 300 + b"\x01",
    ],
    ids=lambda packed: packed[:12].hex(),
)
def test_what_json_cannot_hold_is_refused_with_its_id(packed: bytes) -> None:
    assert is_refused(publish(packed))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1k"])
def test_payload_may_be_as_deep_as_in_json(opening: bytes) -> None:
    command = publish(opening * MAX_DEPTH + b"\x01")
    assert isinstance(command, Publish)
    assert check_json(bytes(command.data))
    command = publish(opening * (MAX_DEPTH + 1) + b"\x01")
    assert isinstance(command, Publish), "what all encodings refuse is refused in one place"
    with pytest.raises(CommandError, match="levels deep"):
        check_json(bytes(command.data))


def test_data64_is_not_known_here() -> None:
    (command,) = decode(msgpack.packb({"type": "publish", "id": 7, "channel": "c", "data64": b"a"}))
    assert is_refused(command)


def test_payload_is_sent_as_a_value_and_bytes_as_bin() -> None:
    def sent(data: bytes, binary: bool) -> Any:
        publication = Publication(id="i", data=data, time_ms=5, binary=binary)
        return msgpack.unpackb(CODEC.encode_publication("c", publication))

    assert sent(b' {"a" : [1.0, null]}', False)["data"] == {"a": [1.0, None]}
    assert sent(b"\0\xff", True) == {
        "type": "message",
        "channel": "c",
        "id": "i",
        "data": b"\0\xff",
        "time": 5,
    }
    assert sent(b"null", False)["data"] is None


# -- what is no MessagePack ---------------------------------------------------------------------

LYING: list[bytes] = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdd\x00\x00\x00\x64",
    b"\xdc\xff\xff" + PING,
    b"\xdf\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff" + PING[1:],
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    *(
        b"\x83\xa4type\xa7publish\xa7channel\xa1c\xa4data" + header + b"\xff\xff\xff\xff" + b"\x01" * 50
        for header in (b"\xdb", b"\xc6", b"\xdd", b"\xdf", b"\xc9")
    ),
    b"\x82\xa4type\xa7connect\xa5since\xdf\xff\xff\xff\xff\xa1c",
    b"\x82\xa4type\xa4ping\xa7unknown\xdd\xff\xff\xff\xff\x01",
    b"\x82\xa4type\xa7publish\xdb\xff\xff\xff\xff",
    (b"\xdd\xff\xff\xff\xff" * 100),
    b"\x82\xa4type\xa7publish\xa4data" + b"\xdd\x00\x00\xff\xff" * 10_000,
]


@pytest.mark.parametrize("payload", LYING, ids=lambda payload: payload[:24].hex())
def test_length_that_is_not_there_gets_no_memory(payload: bytes) -> None:
    (command,) = decode(payload)
    assert isinstance(command, MalformedCommand)
    assert command.id == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\xc2",
        PING[:-1],
        PING + b"\x01",
        PING + PING,
        b"\x91" + PING + b"\xc0",
        b"\x92" + PING,
        b"\x91" * 60_000,
        b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * 60_000 + b"\x01",
        b"\x81\x01\x01",
        b"\x81\x90\x01",
        b'{"type":"ping","id":1}',
    ],
    ids=lambda payload: payload[:24].hex(),
)
def test_message_that_is_no_command_is_malformed_without_id(payload: bytes) -> None:
    (command,) = decode(payload)
    assert is_refused(command, 0)


def test_id_is_kept_beside_what_is_not_utf_8() -> None:
    bad = b"\x83\xa2id\x07\xa4type\xa9subscribe\xa7channel\xa1\xff"
    (command,) = decode(bad)
    assert is_refused(command)
    assert [command.id for command in decode(b"\x92" + bad + PING)] == [7, 1]


def test_fields_that_are_not_known_may_hold_anything() -> None:
    unknown = b"\xd6\xff\0\0\0\1", b"\xc4\x01\xff", b"\xa1\xff", b"\x81\x01\x01", b"\x91" * 50 + b"\xc0"
    for value in unknown:
        assert decode(b"\x83\xa4type\xa4ping\xa2id\x05\xa1x" + value) == [Ping(id=5)]


def test_repeated_fields_have_one_meaning_the_last() -> None:
    payload = b"\x84\xa4type\xa9subscribe\xa2id\x01\xa2id\x02\xa7channel\xa1c"
    assert decode(payload) == [Subscribe(id=2, channel="c")]


@pytest.mark.parametrize(
    "packed", [b"\x01", b"\xcc\x01", b"\xcd\0\1", b"\xce\0\0\0\1", b"\xd3" + bytes(7) + b"\1"]
)
def test_number_may_be_written_longer_than_it_need_be(packed: bytes) -> None:
    assert decode(b"\x82\xa4type\xa4ping\xa2id" + packed) == [Ping(id=1)]


def test_number_may_not_be_larger_than_a_client_can_hold() -> None:
    head = b"\x82\xa4type\xa4ping\xa2id\xcf"
    assert decode(head + MAX_NUMBER.to_bytes(8, "big")) == [Ping(id=MAX_NUMBER)]
    assert is_refused(decode(head + (MAX_NUMBER + 1).to_bytes(8, "big"))[0], 0)


def test_list_is_counted_before_it_is_looked_at() -> None:
    (command,) = decode(b"\xdd\x00\x01\x00\x00" + b"\xc1" * 65_536, most=65_535)
    assert "1 to 65535 commands" in command.message if isinstance(command, MalformedCommand) else False


def test_hostile_messages_take_no_more_memory_than_their_kind_is_known_to() -> None:
    """64 KiB is the largest message by default; a Python object for each byte is the worst there is."""
    head = b"\x83\xa4type\xa7publish\xa7channel\xa1c\xa4data"
    worst = [
        *LYING,
        head + b"\xdd\x00\x00\xff\x00" + b"\x90" * 0xFF00,
        head + b"\xdd\x00\x00\xff\x00" + b"\x80" * 0xFF00,
        head + b"\xdd\x00\x00\x7f\x00" + b"\xa1\x01" * 0x7F00,
        b"\xdd\x00\x00\xff\x00" + b"\x80" * 0xFF00,
        b"\x82\xa4type\xa4ping\xa1x\xdd\x00\x00\xff\x00" + b"\x80" * 0xFF00,
        b"\x91" * 65_536,
    ]
    grown = peak_growth("gateway.message.msgpack:MsgpackCodec", worst)
    print(f"peak of memory: {grown / MIB:.1f} MiB above the start")
    assert grown < 16 * MIB
