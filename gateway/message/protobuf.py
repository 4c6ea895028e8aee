"""The Protobuf encoding, subprotocol `ringgate.v1.protobuf`.

It knows records, not sessions.  What is sent is in ringgate.proto, from which `make proto` generates
ringgate_pb2: messages and fields there have the names of the records, but for payloads, which are
`json` (text, byte for byte) or `binary`.  Records go out, and come in, by those names, and what comes in is
checked against the types of the records as in every encoding.  What always holds: commands are counted
before one of them is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.unknown_fields import UnknownFieldSet

from . import ringgate_pb2 as pb
from .commands import (
    MAX_NUMBER,
    Command,
    Connect,
    History,
    MalformedCommand,
    Ping,
    Presence,
    Publish,
    Subscribe,
    Unsubscribe,
)
from .events import Event
from .malformed import not_readable, not_understood, refuse_number
from .publication import Member, Publication
from .views import join_of, leave_of, message_of

_BINARY: Final = 2
_VARINT, _LENGTH_DELIMITED = 0, 2  # wire types

_COMMANDS: Final[Mapping[str, type[Command]]] = {
    "connect": Connect,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "publish": Publish,
    "presence": Presence,
    "history": History,
    "ping": Ping,
}
_NAMES: Final = {"data": "json", "data64": "binary"}
"""Fields of records that have another name in Protobuf."""


class ProtobufCodec:
    """Commands and events as the messages of ringgate.proto."""

    subprotocol: Final = "ringgate.v1.protobuf"
    opcode: Final = _BINARY

    def decode(self, payload: bytes, *, most: int) -> Sequence[Command]:
        """Return the commands of one message; see `Codec.decode`."""
        try:
            commands = pb.Commands.FromString(payload).commands
        except DecodeError:
            return _decode_one_by_one(payload, most)
        return refuse_number(len(commands), most) or [_from_client(command) for command in commands]

    def encode(self, event: Event) -> bytes:
        """Return an event as an Event of ringgate.proto."""
        fields: dict[str, Any] = {type(event).__name__.lower(): _fields_of(event)}
        return pb.Event(**fields).SerializeToString()

    def encode_publication(self, channel: str, publication: Publication) -> bytes:
        """Return the `message` event of a publication, its payload byte for byte."""
        return self.encode(message_of(channel, publication))

    def encode_join(self, channel: str, member: Member) -> bytes:
        """Return the `join` event of a member."""
        return self.encode(join_of(channel, member))

    def encode_leave(self, channel: str, member: Member) -> bytes:
        """Return the `leave` event of a member."""
        return self.encode(leave_of(channel, member))


# -- what comes in --------------------------------------------------------------------------


def _from_client(message: pb.Command) -> Command:
    kind = message.WhichOneof("command")
    number = message.id
    if kind is None:
        return MalformedCommand(
            id=number if number <= MAX_NUMBER else 0,
            message="the command is not understood: none that is known here is set",
        )
    fields = dict(_fields_from(getattr(message, kind)))
    try:
        return msgspec.convert({"id": number, **fields}, _COMMANDS[kind])
    except msgspec.ValidationError as problem:
        return not_understood(number if number <= MAX_NUMBER else 0, problem)


def _fields_from(message: ProtobufMessage) -> Iterator[tuple[str, object]]:
    """Yield name and value, as msgspec converts it, of each field of a command that is set."""
    for field, value in message.ListFields():
        if field.name == "json":
            yield "data", msgspec.Raw(value)
        elif field.name == "binary":
            yield "data64", value
        elif isinstance(value, pb.Position):
            yield field.name, _since(value)
        elif field.name == "since":
            yield field.name, {channel: _since(position) for channel, position in value.items()}
        else:
            yield field.name, value


def _since(position: pb.Position) -> dict[str, str | int]:
    return {"epoch": position.epoch, "offset": position.offset}


def _decode_one_by_one(payload: bytes, most: int) -> Sequence[Command]:
    """Decode commands of which at least one is wrong; the others are as good as before."""
    try:
        parts = [part for number, part in _unknown_fields(payload, _LENGTH_DELIMITED) if number == 1]
    except DecodeError:
        return (not_readable("Protobuf"),)
    return refuse_number(len(parts), most) or [_decode_one(part) for part in parts]


def _decode_one(payload: bytes) -> Command:
    """Decode one command that may be wrong; keep its id, so that it can be answered."""
    try:
        return _from_client(pb.Command.FromString(payload))
    except DecodeError:
        return MalformedCommand(id=_id_of(payload), message="the command is not valid Protobuf, or not UTF-8")


def _id_of(payload: bytes) -> int:
    """Return the id of a command that is wrong elsewhere; 0 when it cannot be read, or is what is wrong."""
    try:
        numbers = [value for number, value in _unknown_fields(payload, _VARINT) if number == 1]
    except DecodeError:
        return 0
    return numbers[-1] if numbers and numbers[-1] <= MAX_NUMBER else 0


def _unknown_fields(payload: bytes, wire_type: int) -> list[tuple[int, Any]]:
    """Return number and value of the fields of one wire type: to a message without fields all are unknown.

    What is inside of them is not looked at.  Raises DecodeError.
    """
    unknown = UnknownFieldSet(pb.Ping.FromString(payload))
    fields = (unknown[index] for index in range(len(unknown)))
    return [(field.field_number, field.data) for field in fields if field.wire_type == wire_type]


# -- what goes out --------------------------------------------------------------------------


@cache
def _names(record: type[msgspec.Struct]) -> Sequence[tuple[str, str]]:
    """Return what a record's fields are called here and in Protobuf."""
    return [
        (field.name, _NAMES.get(field.name, field.encode_name)) for field in msgspec.structs.fields(record)
    ]


def _fields_of(record: msgspec.Struct) -> dict[str, object]:
    """Return the fields of a record by their names in Protobuf; None is a field that is not set."""
    return {name: _plain(getattr(record, here)) for here, name in _names(type(record))}


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return _fields_of(value)
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value
