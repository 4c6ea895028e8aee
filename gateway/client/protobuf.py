"""The client's side of the Protobuf encoding; see `gateway.client.codecs`.

Messages and fields of ringgate.proto have the names of the records, but for payloads: so both ways go
by the names of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError, Message

from ..message import ringgate_pb2 as pb
from ..message.commands import Command, Since
from .codecs import Payload, json_payload, no_event, value_of_json
from .incoming import AnyEvent, Event

_NAMES: Final = {"data": "json", "data64": "binary", "payload": "json", "payload64": "binary"}
_DATA: Final = {"json": "data", "binary": "data64"}
_PAYLOAD: Final = {"json": "payload", "binary": "payload64"}
"""How payloads are called in records: `payload` in calls and their answers, `data` in everything else."""
_RAW: Final = frozenset({"data", "info", "patch", "payload"})


class ProtobufClientCodec:
    """The messages of ringgate.proto."""

    subprotocol: Final = "ringgate.v1.protobuf"
    opcode: Final = 2

    def pack(self, value: object) -> Payload:
        """See ClientCodec."""
        return json_payload(value)

    def unpack(self, data: msgspec.Raw, data64: bytes | None = None) -> Any:
        """See ClientCodec."""
        return value_of_json(data, data64)

    def encode(self, command: Command) -> bytes:
        """See ClientCodec."""
        kind = type(command).__name__.lower()
        fields: dict[str, Any] = {"id": command.id, kind: _fields_of(command)}
        return pb.Commands(commands=[pb.Command(**fields)]).SerializeToString()

    def decode(self, message: bytes) -> Event | None:
        """See ClientCodec."""
        try:
            event = pb.Event.FromString(message)
            kind = event.WhichOneof("event")
            if kind is None:
                return None
            fields = _read(getattr(event, kind))
            decoded: Event = msgspec.convert({**fields, "type": kind}, AnyEvent)
        except (DecodeError, msgspec.ValidationError):
            raise no_event() from None
        return decoded


def _fields_of(record: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a command that are set, by their names in Protobuf; its id stands outside."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        if field.name != "id" and value is not field.default:
            fields[_NAMES.get(field.name, field.encode_name)] = _value(value)
    return fields


def _value(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    if isinstance(value, Since):
        return {"epoch": value.epoch, "offset": value.offset}
    if isinstance(value, Mapping):
        return {name: _value(item) for name, item in value.items()}
    return value


def _read(message: Message) -> dict[str, Any]:
    """Return the fields of a message by their names in the records, also those that are 0 or empty."""
    fields: dict[str, Any] = {}
    names = _PAYLOAD if isinstance(message, pb.Reply) else _DATA
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        name = names.get(field.name, field.name)
        fields[name] = _read_value(name, getattr(message, field.name))
    return fields


def _read_value(name: str, value: object) -> object:
    if isinstance(value, Message):
        return _read(value)
    if isinstance(value, bytes) and name in _RAW:
        return msgspec.Raw(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_read_value(name, item) for item in value]
    return value
