"""The codecs, each with another implementation of its encoding that writes commands and reads events.

Tests say commands and hear events as they are in JSON, whatever the encoding: bytes as base64 in `data64`,
what is not set left out.  Only where an encoding cannot say something, a test is about fewer of them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import orjson
from google.protobuf import json_format

from gateway.message import ringgate_pb2 as pb
from gateway.message.codec import Codec
from gateway.message.json import JsonCodec
from gateway.message.msgpack import MsgpackCodec
from gateway.message.protobuf import ProtobufCodec

Record = dict[str, Any]
"""A command or an event as it is in JSON."""


@dataclass(frozen=True)
class Case:
    """A codec; `write` makes a message of a command or of a list of them, `read` an event of a message."""

    codec: Codec
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Record]


# -- MessagePack --------------------------------------------------------------------------------


def write_msgpack(value: Any) -> bytes:
    """Write commands with the package msgpack; `data64` is a bin there."""
    if isinstance(value, list):
        value = [_to_bin(item) for item in value]
    return bytes(msgpack.packb(_to_bin(value)))


def _to_bin(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for field in ("data", "payload"):
        text = value.get(f"{field}64")
        if not isinstance(text, str) or field in value:
            continue  # there is one field for both: let data64 be the unknown one
        rest = {name: other for name, other in value.items() if name != f"{field}64"}
        try:
            return rest | {field: b64decode(text, validate=True)}
        except ValueError:
            return rest | {field: {"not base64": text.encode("utf-8", "replace")}}
    return value


def read_msgpack(payload: bytes) -> Record:
    """Read an event with the package msgpack."""
    return _from_bin(msgpack.unpackb(payload))


def _from_bin(record: Record) -> Record:
    for field in ("data", "payload"):
        if isinstance(record.get(field), bytes):
            record[f"{field}64"] = b64encode(record.pop(field)).decode()
    for view in record.get("publications", ()):
        _from_bin(view)
    return record


# -- Protobuf -----------------------------------------------------------------------------------


def write_protobuf(value: Any) -> bytes:
    """Write commands with google's own reader of JSON; what the .proto cannot say is not written."""
    values = value if isinstance(value, list) else [value]
    return b"".join(b"\x0a" + _varint(len(command)) + command for command in map(_command, values))


def _command(value: Any) -> bytes:
    if not isinstance(value, dict):
        return b"\xff" if value is not None else b""
    fields = dict(value)
    kind, number = fields.pop("type", None), fields.pop("id", 0)
    head = b"\x08" + _varint(number) if isinstance(number, int) and number is not True else b"\x0a\x01x"
    if not isinstance(kind, str) or kind not in {field.name for field in pb.Command.DESCRIPTOR.fields} - {
        "id"
    }:
        return head + b"\xa2\x06\x00"  # field 100: a command of tomorrow
    for name in ("data", "payload"):
        if name in fields:
            fields["json"] = b64encode(orjson.dumps(fields.pop(name))).decode()
        if f"{name}64" in fields:
            fields["binary"] = fields.pop(f"{name}64")
    if "patch" in fields:
        fields["patch"] = b64encode(orjson.dumps(fields["patch"])).decode()
    message = getattr(pb, kind.capitalize())()
    try:
        json_format.ParseDict(fields, message, ignore_unknown_fields=True)
    except json_format.ParseError:
        return head + _tag(kind) + b"\x02\x0a\x05"  # its first field is longer than the command
    body: bytes = message.SerializeToString()
    return head + _tag(kind) + _varint(len(body)) + body


def _tag(kind: str) -> bytes:
    return _varint(pb.Command.DESCRIPTOR.fields_by_name[kind].number << 3 | 2)


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def read_protobuf(payload: bytes) -> Record:
    """Read an event by the descriptors: what is set, and what the record always has."""
    event = pb.Event.FromString(payload)
    kind = event.WhichOneof("event")
    assert kind is not None
    assert event.SerializeToString() == payload, "nothing unknown in it, and nothing twice"
    return {"type": kind, **_record(getattr(event, kind))}


_ALWAYS: dict[str, dict[str, object]] = {
    "error": {"retry": False},
    "subscribed": {"offset": 0},
    "state": {"version": 0},
    "resumed": {"offset": 0},
    "publicationview": {"offset": 0},
}
"""What JSON says although Protobuf leaves it out, since it is nothing."""


def _record(message: Any) -> Record:
    return _ALWAYS.get(message.DESCRIPTOR.name.lower(), {}) | dict(_fields(message))


def _fields(message: Any) -> Iterator[tuple[str, object]]:
    payload = "payload" if message.DESCRIPTOR.name == "Reply" else "data"
    for field, value in message.ListFields():
        if field.name in {"json", "info", "patch"} and field.message_type is None:
            yield {"json": payload}.get(field.name, field.name), orjson.loads(value)
        elif field.name == "binary":
            yield f"{payload}64", b64encode(value).decode()
        elif field.message_type is None:
            yield field.name, list(value) if field.is_repeated else value
        else:
            yield field.name, [_record(item) for item in value] if field.is_repeated else _record(value)


CASES = {
    "json": Case(JsonCodec(), orjson.dumps, orjson.loads),
    "msgpack": Case(MsgpackCodec(), write_msgpack, read_msgpack),
    "protobuf": Case(ProtobufCodec(), write_protobuf, read_protobuf),
}


def said_by(case: Case, event: Record) -> Record:
    """Return an event as an encoding can say it: in Protobuf a list that is empty is not there."""
    if case is not CASES["protobuf"]:
        return event
    return {name: value for name, value in event.items() if value != [] or name in {"data", "info"}}
