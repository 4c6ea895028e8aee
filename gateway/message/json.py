"""The JSON encoding, subprotocol `ringgate.v1.json`.

It knows records, not sessions.  A payload that came as JSON goes out byte for byte:
it was checked once, when it came in (`check_json`), and is never parsed and rebuilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import orjson

from ..errors import CommandError
from ._events import encode_placed, encode_publication
from .commands import AnyCommand, Command, Identified
from .events import Event
from .malformed import not_readable, not_understood, refuse_number
from .publication import Member
from .views import join_of, leave_of

MAX_DEPTH: Final = 64
_TEXT: Final = 1

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_commands = msgspec.json.Decoder(AnyCommand | list[AnyCommand])
_one_command: msgspec.json.Decoder[Command] = msgspec.json.Decoder(AnyCommand)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


_identified = msgspec.json.Decoder(Identified)
_encode = msgspec.json.Encoder().encode


def check_json(data: bytes | memoryview) -> bytes:
    """Return a payload as bytes.  Raises CommandError `bad_request` unless every client can parse it.

    It must be JSON in UTF-8 (RFC 8259), without lone surrogates, nested at most
    MAX_DEPTH deep.
    """
    text = data if type(data) is bytes else bytes(data)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise CommandError("bad_request", "data is not valid JSON") from None
    if (
        len(text) > 2 * MAX_DEPTH  # each level takes two characters
        and text.count(b"[") + text.count(b"{") > MAX_DEPTH
        and _is_deeper(value, MAX_DEPTH)
    ):
        raise CommandError("bad_request", f"data is nested more than {MAX_DEPTH} levels deep")
    return text


def _is_deeper(value: object, levels: int) -> bool:
    """Tell whether arrays and objects in `value` are nested more than `levels` deep."""
    layer = [value]
    for _ in range(levels):
        inner: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        layer = inner
    return any(isinstance(item, dict | list) for item in layer)


class JsonCodec:
    """Commands and events as JSON text."""

    subprotocol: Final = "ringgate.v1.json"
    opcode: Final = _TEXT

    def decode(self, payload: bytes, *, most: int) -> Sequence[Command]:
        """Return the commands of one message; see `Codec.decode`."""
        try:
            decoded = _commands.decode(payload)
        except _UNREADABLE:
            return _decode_one_by_one(payload, most)
        if isinstance(decoded, list):
            return refuse_number(len(decoded), most) or decoded
        return (decoded,)

    def encode(self, event: Event) -> bytes:
        """Return an event as JSON text."""
        return _encode(event)

    encode_placed = staticmethod(encode_placed)
    encode_publication = staticmethod(encode_publication)

    def encode_join(self, channel: str, member: Member) -> bytes:
        """Return the `join` event of a member."""
        return _encode(join_of(channel, member))

    def encode_leave(self, channel: str, member: Member) -> bytes:
        """Return the `leave` event of a member."""
        return _encode(leave_of(channel, member))


def _decode_one_by_one(payload: bytes, most: int) -> Sequence[Command]:
    """Decode commands of which at least one is wrong; the others are as good as before."""
    if payload.lstrip()[:1] != b"[":
        return (_decode_one(payload),)
    try:
        parts = _raw_list.decode(payload)
    except _UNREADABLE:
        return (not_readable("JSON"),)
    return refuse_number(len(parts), most) or [_decode_one(bytes(part)) for part in parts]


def _decode_one(payload: bytes) -> Command:
    """Decode one command that may be wrong; keep its id, so that it can be answered."""
    try:
        return _one_command.decode(payload)
    except msgspec.ValidationError as problem:
        return not_understood(_id_of(payload), problem)
    except _UNREADABLE:
        return not_readable("JSON")


def _id_of(payload: bytes) -> int:
    """Return the id of a command that is wrong elsewhere; 0 when the id is what is wrong, or absent."""
    try:
        return _identified.decode(payload).id
    except _UNREADABLE:
        return 0
