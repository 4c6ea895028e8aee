"""The client's side of the Protobuf encoding; see `gateway.client.codecs`.

Messages and fields of ringgate.proto have the names of the records, but for payloads: so both ways go
by the names of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple, get_args

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
_EVENTS: Final[dict[str, type[Event]]] = {kind.__name__.lower(): kind for kind in get_args(AnyEvent)}


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
            fields["type"] = kind
            decoded: Event = msgspec.convert(fields, _EVENTS[kind])
        except (DecodeError, msgspec.ValidationError):
            raise no_event() from None
        return decoded


def _fields_of(record: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a command that are set, by their names in Protobuf; its id stands outside."""
    fields: dict[str, Any] = {}
    for name, written, default in _fields_in(type(record)):
        value = getattr(record, name)
        if value is not default:
            fields[written] = _value(value)
    return fields


@cache
def _fields_in(kind: Any) -> tuple[tuple[str, str, object], ...]:
    """Return the fields of a kind of command: names in the record and in Protobuf, and default."""
    fields = msgspec.structs.fields(kind)
    return tuple((f.name, _NAMES.get(f.name, f.encode_name), f.default) for f in fields if f.name != "id")


def _value(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    if isinstance(value, Since):
        return msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {name: _value(item) for name, item in value.items()}
    return value


def _read(message: Message) -> dict[str, Any]:
    """Return the fields of a message by their names in the records, also those that are 0 or empty."""
    fields: dict[str, Any] = {}
    kind: Any = type(message)
    for field in _fields_of_message(kind):
        if field.has_presence and not message.HasField(field.written):
            continue
        value = getattr(message, field.written)
        if field.is_list:
            fields[field.name] = [_read_value(field, item) for item in value]
        else:
            fields[field.name] = _read_value(field, value)
    return fields


def _read_value(field: _Field, value: Any) -> object:
    if field.is_message:
        return _read(value)
    return msgspec.Raw(value) if field.is_raw else value


class _Field(NamedTuple):
    """One field of a message, in Protobuf (`written`) and in the record."""

    written: str
    name: str
    has_presence: bool
    is_list: bool
    is_message: bool
    is_raw: bool


@cache
def _fields_of_message(kind: Any) -> tuple[_Field, ...]:
    names = _PAYLOAD if kind is pb.Reply else _DATA
    found = []
    for field in kind.DESCRIPTOR.fields:
        name = names.get(field.name, field.name)
        is_raw = name in _RAW and field.type == field.TYPE_BYTES
        is_message = field.message_type is not None
        found.append(_Field(field.name, name, field.has_presence, field.is_repeated, is_message, is_raw))
    return tuple(found)
