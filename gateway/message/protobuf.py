"""The Protobuf encoding, subprotocol `ringgate.v1.protobuf`.

It knows records, not sessions.  What is sent is in ringgate.proto, from which `make proto` generates
ringgate_pb2: messages and fields there have the names of the records, but for payloads, which are
`json` (text, byte for byte) or `binary`.  So events go out by the names of their fields; commands are
read field by field, and checked against the types of the records as in every encoding.  What always
holds: commands are counted before one of them is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from . import ringgate_pb2 as pb
from .commands import (
    MAX_NUMBER,
    Call,
    Command,
    Connect,
    History,
    MalformedCommand,
    Ping,
    Presence,
    Publish,
    Send,
    Subscribe,
    Unsubscribe,
    Update,
)
from .events import Event, From, MemberView, PublicationView, Reply, Resumed
from .malformed import not_readable, not_understood, refuse_number
from .publication import Member, Publication
from .views import join_of, leave_of, patch_of

_BINARY: Final = 2

_NAMES: Final = {"data": "json", "data64": "binary", "payload": "json", "payload64": "binary"}
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

    def encode_placed(self, number: int, channel: str, epoch: str, offset: int, duplicate: bool) -> bytes:
        """Return the reply to a publish."""
        return self.encode(Reply(id=number, channel=channel, epoch=epoch, offset=offset, duplicate=duplicate))

    def encode_publication(self, channel: str, publication: Publication) -> bytes:
        """Return the event of a publication, its payload byte for byte."""
        p = publication
        if p.patch:
            return self.encode(patch_of(channel, p))
        event = pb.Event()
        message = event.message
        message.channel = channel
        message.offset = p.offset
        message.id = p.id
        message.time = p.time_ms
        if p.binary:
            message.binary = p.data
        else:
            message.json = p.data
        if p.client or p.user:
            publisher = getattr(message, "from")
            publisher.client = p.client
            publisher.user = p.user
        return event.SerializeToString()

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
    record, read = _READERS[kind]
    fields = read(getattr(message, kind))
    fields["id"] = number
    try:
        return msgspec.convert(fields, record)
    except msgspec.ValidationError as problem:
        return not_understood(number if number <= MAX_NUMBER else 0, problem)


_Fields = dict[str, object]


def _channel(
    message: pb.Subscribe | pb.Unsubscribe | pb.Publish | pb.Update | pb.Presence | pb.History,
) -> _Fields:
    """Return the channel; one that is empty is one that is not there."""
    return {"channel": message.channel} if message.channel else {}


def _since(position: pb.Position) -> _Fields:
    return {
        "epoch": position.epoch,
        "offset": position.offset,
        "clients": list(position.clients),
        "id": position.id,
        "mark": position.mark,
    }


def _read_connect(message: pb.Connect) -> _Fields:
    since = {channel: _since(position) for channel, position in message.since.items()}
    return {"token": message.token, "session": message.session, "since": since}


def _read_subscribe(message: pb.Subscribe) -> _Fields:
    fields = _channel(message)
    fields["token"] = message.token
    if message.HasField("since"):
        fields["since"] = _since(message.since)
    return fields


def _read_publish(message: pb.Publish) -> _Fields:
    return {**_channel(message), "key": message.key, **_read_data(message)}


def _read_data(message: pb.Publish | pb.Send) -> _Fields:
    fields: _Fields = {}
    payload = message.WhichOneof("payload")
    if payload == "json":
        fields["data"] = msgspec.Raw(message.json)
    elif payload == "binary":
        fields["data64"] = message.binary
    return fields


def _read_call(message: pb.Call) -> _Fields:
    fields: _Fields = {"method": message.method, "timeout": message.timeout}
    payload = message.WhichOneof("payload")
    if payload == "json":
        fields["payload"] = msgspec.Raw(message.json)
    elif payload == "binary":
        fields["payload64"] = message.binary
    return fields


def _read_update(message: pb.Update) -> _Fields:
    fields = _channel(message)
    fields |= {"base": message.base, "epoch": message.epoch, "key": message.key}
    if message.patch:
        fields["patch"] = msgspec.Raw(message.patch)
    return fields


def _read_history(message: pb.History) -> _Fields:
    fields = _channel(message)
    fields["before"] = message.before
    if message.HasField("limit"):
        fields["limit"] = message.limit
    return fields


_READERS: Final[Mapping[str, tuple[type[Command], Callable[[Any], _Fields]]]] = {
    "connect": (Connect, _read_connect),
    "subscribe": (Subscribe, _read_subscribe),
    "unsubscribe": (Unsubscribe, _channel),
    "publish": (Publish, _read_publish),
    "update": (Update, _read_update),
    "presence": (Presence, _channel),
    "history": (History, _read_history),
    "call": (Call, _read_call),
    "send": (Send, _read_data),
    "ping": (Ping, lambda message: {}),
}
"""For each command its record, and what reads the fields of the record, for msgspec to check."""


def _decode_one_by_one(payload: bytes, most: int) -> Sequence[Command]:
    """Decode commands of which at least one is wrong; the others are as good as before."""
    try:
        parts = pb.LooseCommands.FromString(payload).commands
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
        number = pb.LooseCommand.FromString(payload).id
    except DecodeError:
        return 0
    return number if number <= MAX_NUMBER else 0


# -- what goes out --------------------------------------------------------------------------


def _names_of(record: type[msgspec.Struct]) -> Sequence[tuple[str, str]]:
    """Return what a record's fields are called here and in Protobuf."""
    return [
        (field.name, _NAMES.get(field.name, field.encode_name)) for field in msgspec.structs.fields(record)
    ]


_RECORDS: Final[Sequence[type[msgspec.Struct]]] = (
    *Event.__subclasses__(),
    *(From, MemberView, PublicationView, Resumed),
)
_FIELDS: Final[Mapping[type[msgspec.Struct], Sequence[tuple[str, str]]]] = {
    record: _names_of(record) for record in _RECORDS
}
_AS_THEY_ARE: Final = frozenset({str, int, bool, float, bytes, tuple})


def _fields_of(record: msgspec.Struct) -> _Fields:
    """Return the fields of a record that are set, by their names in Protobuf."""
    fields: _Fields = {}
    for here, name in _FIELDS[type(record)]:
        value = getattr(record, here)
        if type(value) in _AS_THEY_ARE:
            fields[name] = value
        elif isinstance(value, list):
            fields[name] = [_fields_of(item) for item in value]
        elif value is not None:
            fields[name] = bytes(value) if isinstance(value, msgspec.Raw) else _fields_of(value)
    return fields
