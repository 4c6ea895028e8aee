"""The MessagePack encoding, subprotocol `ringgate.v1.msgpack`.

It knows records, not sessions.  Commands and events are the maps that they are in JSON, but for payloads:
`data` that is a bin is bytes, without base64, and any other `data` is a value of its own, not text.
Inside the gateway such a value is JSON text, as for all: it becomes that once when it comes in, and a
value again once for each broadcast.  What JSON cannot hold is refused.  What always holds: memory is
given for what is there, never for what a header declares; msgspec walks through a payload, without
building anything, before ormsgpack builds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
import orjson
import ormsgpack

from .commands import AnyCommand, Call, Command, Identified, MalformedCommand, Publish, Send, Update
from .events import Error, Event, Join, Leave, MemberView, Message, Patch, PublicationView, Reply, State
from .malformed import not_readable, not_understood, refuse_number
from .publication import Member, Publication
from .views import join_of, leave_of, message_of, patch_of

_BINARY: Final = 2
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NOT_JSON: Final = (
    "holds what JSON cannot: ext, bytes inside, other keys than strings, NaN, or too many levels"
)

_commands = msgspec.msgpack.Decoder(list[AnyCommand])
_one_command: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(AnyCommand)
_raw_list = msgspec.msgpack.Decoder(list[msgspec.Raw])
_identified = msgspec.msgpack.Decoder(Identified)
_encode = msgspec.msgpack.Encoder().encode

_WithData = TypeVar("_WithData", Message, PublicationView)
_WithState = TypeVar("_WithState", State, Error)
_WithPatch = TypeVar("_WithPatch", Patch, PublicationView)
_WithInfo = TypeVar("_WithInfo", Join, Leave, MemberView)


class MsgpackCodec:
    """Commands and events as MessagePack."""

    subprotocol: Final = "ringgate.v1.msgpack"
    opcode: Final = _BINARY

    def decode(self, payload: bytes, *, most: int) -> Sequence[Command]:
        """Return the commands of one message; see `Codec.decode`."""
        number = _list_length(payload)
        if number < 0:
            return (_decode_one(payload),)
        refusal = refuse_number(number, most)
        if refusal:
            return refusal
        try:
            return [_from_client(command) for command in _commands.decode(payload)]
        except _UNREADABLE:
            return _decode_one_by_one(payload)

    def encode(self, event: Event) -> bytes:
        """Return an event as MessagePack."""
        return _encode(_for_client(event))

    def encode_placed(self, number: int, channel: str, epoch: str, offset: int, duplicate: bool) -> bytes:
        """Return the reply to a publish."""
        return self.encode(Reply(id=number, channel=channel, epoch=epoch, offset=offset, duplicate=duplicate))

    def encode_publication(self, channel: str, publication: Publication) -> bytes:
        """Return the event of a publication."""
        if publication.patch:
            return _encode(_with_patch(patch_of(channel, publication)))
        return _encode(_with_data(message_of(channel, publication)))

    def encode_join(self, channel: str, member: Member) -> bytes:
        """Return the `join` event of a member."""
        return _encode(_with_info(join_of(channel, member)))

    def encode_leave(self, channel: str, member: Member) -> bytes:
        """Return the `leave` event of a member."""
        return _encode(_with_info(leave_of(channel, member)))


# -- what comes in --------------------------------------------------------------------------


def _list_length(payload: bytes) -> int:
    """Return how many elements the array at the beginning declares; -1 when there is none."""
    first = payload[0] if payload else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first in {0xDC, 0xDD}:
        return int.from_bytes(payload[1 : 3 if first == 0xDC else 5], "big")
    return -1


def _decode_one_by_one(payload: bytes) -> Sequence[Command]:
    """Decode commands of which at least one is wrong; the others are as good as before."""
    try:
        parts = _raw_list.decode(payload)
    except _UNREADABLE:
        return (not_readable("MessagePack"),)
    return [_decode_one(bytes(part)) for part in parts]


def _decode_one(payload: bytes) -> Command:
    """Decode one command that may be wrong; keep its id, so that it can be answered."""
    try:
        return _from_client(_one_command.decode(payload))
    except msgspec.ValidationError as problem:
        return not_understood(_id_of(payload), problem)
    except UnicodeDecodeError:
        return MalformedCommand(id=_id_of(payload), message="the command has a string that is not UTF-8")
    except _UNREADABLE:
        return not_readable("MessagePack")


def _id_of(payload: bytes) -> int:
    """Return the id of a command that is wrong elsewhere; 0 when the id is what is wrong, or absent."""
    try:
        return _identified.decode(payload).id
    except _UNREADABLE:
        return 0


def _from_client(command: Command) -> Command:
    """Return a command with its payload as records have it; what it carries is MessagePack so far."""
    if isinstance(command, Publish | Send):
        return _with_payload(command, "data", command.data, command.data64)
    if isinstance(command, Call):
        return _with_payload(command, "payload", command.payload, command.payload64)
    if isinstance(command, Update):
        value, text = _read_value(bytes(command.patch))
        if text is None or isinstance(value, bytes):
            return MalformedCommand(id=command.id, message=f"patch {_NOT_JSON}")
        return msgspec.structs.replace(command, patch=msgspec.Raw(text))
    return command


def _with_payload(command: Command, field: str, raw: msgspec.Raw, not_here: bytes | None) -> Command:
    """Return a command with the payload of a field: JSON text there, or bytes in the field beside it."""
    if not_here is not None:
        return MalformedCommand(
            id=command.id, message=f"in MessagePack bytes are {field}, and there is no {field}64"
        )
    packed = bytes(raw)
    if not packed:
        return command
    value, text = _read_value(packed)
    if text is None:
        return MalformedCommand(id=command.id, message=f"{field} {_NOT_JSON}")
    if isinstance(value, bytes):
        return msgspec.structs.replace(command, **{field: msgspec.Raw(), f"{field}64": value})
    return msgspec.structs.replace(command, **{field: msgspec.Raw(text)})


def _read_value(packed: bytes) -> tuple[object, bytes | None]:
    """Return a value and its JSON text: nothing where it is bytes, None where it is no JSON."""
    try:
        value = ormsgpack.unpackb(packed)
        if isinstance(value, bytes):
            return value, b""
        text = orjson.dumps(value)
        # orjson writes NaN and Infinity as null: then what is read back is not what was written.
        is_json = b"null" not in text or orjson.loads(text) == value
    except (ValueError, TypeError, RecursionError):
        return None, None
    return value, text if is_json else None


# -- what goes out --------------------------------------------------------------------------


def _for_client(event: Event) -> Event:
    """Return an event in which what is JSON text or bytes in the records is MessagePack."""
    if isinstance(event, Reply):
        if event.publications or event.members:
            return msgspec.structs.replace(
                event,
                publications=event.publications
                and [_with_patch(_with_data(view)) for view in event.publications],
                members=event.members and [_with_info(view) for view in event.members],
            )
        return _answer(event)
    if isinstance(event, Message):
        return _with_data(event)
    if isinstance(event, State):
        return _with_state(event)
    if isinstance(event, Error):
        return _with_state(event)
    if isinstance(event, Patch):
        return _with_patch(event)
    if isinstance(event, Join):
        return _with_info(event)
    return _with_info(event) if isinstance(event, Leave) else event


def _answer(reply: Reply) -> Reply:
    if reply.payload64 is not None:
        packed = ormsgpack.packb(reply.payload64)
        return msgspec.structs.replace(reply, payload=msgspec.Raw(packed), payload64=None)
    if reply.payload is not None:
        return msgspec.structs.replace(reply, payload=msgspec.Raw(_packed(reply.payload)))
    return reply


def _with_data(record: _WithData) -> _WithData:
    if record.data64 is not None:
        packed = ormsgpack.packb(record.data64)
    elif record.data is not None:
        packed = _packed(record.data)
    else:
        return record
    return msgspec.structs.replace(record, data=msgspec.Raw(packed), data64=None)


def _with_state(record: _WithState) -> _WithState:
    if record.data is None:
        return record
    return msgspec.structs.replace(record, data=msgspec.Raw(_packed(record.data)))


def _with_patch(record: _WithPatch) -> _WithPatch:
    if record.patch is None:
        return record
    return msgspec.structs.replace(record, patch=msgspec.Raw(_packed(record.patch)))


def _with_info(record: _WithInfo) -> _WithInfo:
    if record.info is None:
        return record
    return msgspec.structs.replace(record, info=msgspec.Raw(_packed(record.info)))


def _packed(json: msgspec.Raw) -> bytes:
    """Return the value of a JSON text in MessagePack; integers beyond 64 bits are floats there."""
    return ormsgpack.packb(orjson.loads(memoryview(json)))
