"""Fuzz the decoders of MessagePack and Protobuf.

    python fuzz/encodings.py -max_total_time=60 [corpus folder]

The first byte of an input says in which encoding the rest is a message, and whether it is that as it stands
or what a message is built from: fields of commands with fuzzed values, in the right places and in wrong ones.

A finding is: an exception, more commands than allowed, a command or an id that no client could hold, text
for the client that is too long, and a payload that is accepted and has not the same meaning to the clients
of every encoding.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gateway.message"]):
    import msgspec
    import orjson
    import ormsgpack

    from gateway.errors import CommandError
    from gateway.message import ringgate_pb2 as pb
    from gateway.message.commands import (
        MAX_NUMBER,
        AnyCommand,
        Command,
        History,
        MalformedCommand,
        Publish,
        Update,
    )
    from gateway.message.json import JsonCodec, check_json
    from gateway.message.merge_patch import merge_patch
    from gateway.message.msgpack import MsgpackCodec
    from gateway.message.protobuf import ProtobufCodec
    from gateway.message.publication import Publication

MOST_COMMANDS = 20
JSON, MSGPACK, PROTOBUF = JsonCodec(), MsgpackCodec(), ProtobufCodec()
TYPES = ("connect", "subscribe", "unsubscribe", "publish", "update", "presence", "history", "ping", "call")
FIELDS = (
    "id",
    "channel",
    "since",
    "data",
    "data64",
    "key",
    "limit",
    "before",
    "base",
    "patch",
    "session",
    "token",
)
VALUES = (
    *(b"\x01", b"\x00", b"\xff", b"\xc0", b"\xc3", b"\xa1c", b"\xa0", b"\xa1\xff", b"\xc4\x01a", b"\xc4\x00"),
    *(b"\xcf" + b"\xff" * 8, b"\xcf\x00\x20" + bytes(6), b"\xd3\x80" + bytes(7), b"\xcb\x7f\xf8" + bytes(6)),
    *(
        b"\xca\x7f\x80\0\0",
        b"\xcb\x3f\xf8" + bytes(6),
        b"\x81\xa1c\x82\xa5epoch\xa1e\xa6offset\x01",
        b"\x81\x01\x01",
    ),
    *(b"\x82\xa5epoch\xa1e\xa6offset\x01", b"\x92\x01\xc0", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"),
    *(
        b"\xdb\xff\xff\xff\xff",
        b"\xd6\xff\0\0\0\1",
        b"\x91" * 70 + b"\x01",
        b"\x91" * 300 + b"\x01",
        b"\xd9\xc9" + b"k" * 201,
    ),
)
WIRE = (
    *(
        b"\x08\x01",
        b"\x08" + b"\xff" * 9 + b"\x01",
        b"\x08" + b"\x80" * 11,
        b"\x0a\x01c",
        b"\x0a\x01\xff",
        b"\x0a\x00",
    ),
    *(
        b"\x12\x011",
        b"\x12\x02[]",
        b"\x1a\x01\xff",
        b"\x12\x00",
        b"\x22\x01k",
        b"\x10\x05",
        b"\x10" + b"\xff" * 9 + b"\x01",
    ),
    *(
        b"\x12\x05\x0a\x01e\x10\x01",
        b"\x1a\x0a\x0a\x01c\x12\x05\x0a\x01e\x10\x01",
        b"\x0b",
        b"\x0c",
        b"\xa2\x06\x00",
    ),
    *(b"\x12\xff\xff\xff\xff\x0f", b"\x42\x00", b"\x3a\x03\x0a\x01c", b"\x2a\x06\x0a\x01c\x12\x011", b""),
)


class FindingError(Exception):
    """A codec did what it must never do."""


def expect(holds: bool, what: str) -> None:
    """Raise FindingError unless it holds."""
    if not holds:
        raise FindingError(what)


# -- messages -----------------------------------------------------------------------------------


def pick(provider: atheris.FuzzedDataProvider, values: tuple[bytes, ...]) -> bytes:
    """Return one of the values, or one time in eight fuzzed bytes."""
    if provider.ConsumeIntInRange(0, 7) == 7:
        return bytes(provider.ConsumeBytes(provider.ConsumeIntInRange(0, 12)))
    number: int = provider.ConsumeIntInRange(0, len(values) - 1)
    return values[number]


def build_msgpack(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return a map with the fields of a command, or a list of a few."""
    number = provider.ConsumeIntInRange(1, 3)
    commands: bytes = b""
    for _ in range(number):
        kind = TYPES[provider.ConsumeIntInRange(0, len(TYPES) - 1)]
        fields: list[bytes] = [
            ormsgpack.packb("type") + ormsgpack.packb(kind),
            ormsgpack.packb("channel") + b"\xa1c",
        ]
        for _ in range(provider.ConsumeIntInRange(0, 4)):
            name = FIELDS[provider.ConsumeIntInRange(0, len(FIELDS) - 1)]
            fields.append(ormsgpack.packb(name) + pick(provider, VALUES))
        commands += bytes([0x80 | len(fields)]) + b"".join(fields)
    return commands if number == 1 else bytes([0x90 | number]) + commands


def build_protobuf(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return a few commands, each with fields that may belong to it."""
    message: bytes = b""
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        inner = b"".join(pick(provider, WIRE) for _ in range(provider.ConsumeIntInRange(0, 4)))
        field = bytes([provider.ConsumeIntInRange(2, 10) << 3 | 2])
        command = pick(provider, WIRE) + field + sized(inner)
        message += b"\x0a" + sized(command)
    return message + (pick(provider, WIRE) if provider.ConsumeBool() else b"")


def sized(data: bytes) -> bytes:
    """Return bytes, shorter than 16 KiB, after their length."""
    length = len(data)
    return (bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])) + data


# -- what has to hold ---------------------------------------------------------------------------


def check_command(command: Command) -> None:
    """Raise FindingError unless a command is one that a session may be given."""
    expect(0 <= command.id <= MAX_NUMBER, "an id that a client cannot read")
    if isinstance(command, MalformedCommand):
        expect(0 < len(command.message) < 300, "a message of a wrong length")
        command.message.encode()
        return
    if isinstance(command, History):
        expect(0 <= command.limit <= MAX_NUMBER and 0 <= command.before <= MAX_NUMBER, "a number too large")
    if isinstance(command, Publish):
        expect(len(command.key) <= 200, "a key too long")
        check_payload(command)
    elif isinstance(command, Update):
        expect(len(command.key) <= 200 and 0 <= command.base <= MAX_NUMBER, "a key or a number too large")
        check_patch(command)
    else:
        # What JSON clients can say is all that can be said.
        expect(
            msgspec.json.decode(msgspec.json.encode(command), type=AnyCommand) == command, "no such command"
        )


def check_patch(command: Update) -> None:
    """Raise FindingError unless clients of every encoding are sent the same patch."""
    try:
        data = check_json(bytes(command.patch))
    except CommandError:
        return
    publication = Publication(id="i", data=data, time_ms=1, offset=1, patch=True)
    packed = ormsgpack.unpackb(MSGPACK.encode_publication("c", publication))["patch"]
    expect(packed == orjson.loads(data), "another value")
    expect(
        pb.Event.FromString(PROTOBUF.encode_publication("c", publication)).patch.patch == data, "other text"
    )
    expect(b'"patch":' + data + b"," in JSON.encode_publication("c", publication), "other JSON")
    orjson.loads(merge_patch(data, data))


def check_payload(command: Publish) -> None:
    """Raise FindingError unless clients of every encoding are sent the same payload."""
    binary = command.data64 is not None
    try:
        data = command.data64 if command.data64 is not None else check_json(bytes(command.data))
    except CommandError:
        return
    publication = Publication(id="i", data=data, time_ms=1, binary=binary)
    packed = ormsgpack.unpackb(MSGPACK.encode_publication("c", publication))["data"]
    message = pb.Event.FromString(PROTOBUF.encode_publication("c", publication)).message
    if binary:
        expect(packed == message.binary == data, "other bytes")
    else:
        expect(message.json == data, "other text")
        expect(packed == orjson.loads(data), "another value")
        expect(b'"data":' + data + b"," in JSON.encode_publication("c", publication), "other JSON")


def run(data: bytes) -> None:
    """Check one input of the fuzzer."""
    if not data:
        return
    codec = PROTOBUF if data[0] & 1 else MSGPACK
    message = data[1:]
    if data[0] & 2:
        provider = atheris.FuzzedDataProvider(message)
        message = build_protobuf(provider) if data[0] & 1 else build_msgpack(provider)
    commands = codec.decode(message, most=MOST_COMMANDS)
    expect(1 <= len(commands) <= MOST_COMMANDS, "too many commands, or none")
    for command in commands:
        check_command(command)


def main() -> None:
    """Fuzz until a finding or until the time given on the command line is over."""
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
