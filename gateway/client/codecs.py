"""The client's side of the encodings: commands out, events in; JSON, MessagePack, Protobuf.

They know records, not what happens to them.  A payload is turned into its encoding when it is handed over, so
that what cannot be sent is refused there, and is not looked at again until it is sent.  What always holds:
`decode` gives None for an event that is not known here, and raises ProtocolError for what is no event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
import orjson
import ormsgpack

from ..closecodes import INVALID_PAYLOAD
from ..errors import ProtocolError, UsageError
from ..message.commands import NO_DATA, Command
from .incoming import AnyEvent, Event

EncodingName = Literal["json", "msgpack", "protobuf"]

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Payload(NamedTuple):
    """A payload, ready for a command: `data` in the encoding of the connection, or bytes."""

    data: msgspec.Raw = NO_DATA
    data64: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.data64) if self.data64 is not None else len(memoryview(self.data))


class ClientCodec(Protocol):
    """One encoding.  Stateless; one for all clients."""

    @property
    def subprotocol(self) -> str:
        """The name in `Sec-WebSocket-Protocol`."""

    @property
    def opcode(self) -> int:
        """1 when its messages are text, 2 when they are binary (RFC 6455 section 5.2)."""

    def pack(self, value: object) -> Payload:
        """Return a value, or bytes, as a payload.  Raises UsageError when it cannot be sent."""

    def unpack(self, data: msgspec.Raw, data64: bytes | None = None) -> Any:
        """Return what a payload holds; None where there is none."""

    def encode(self, command: Command) -> bytes:
        """Return a command as a message."""

    def decode(self, message: bytes) -> Event | None:
        """Return the event of a message; None if it is not known here.  Raises ProtocolError."""


class JsonClientCodec:
    """JSON text."""

    subprotocol: Final = "ringgate.v1.json"
    opcode: Final = 1

    def __init__(self) -> None:
        self._events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(AnyEvent)
        self._type = msgspec.json.Decoder(_Typed)
        self._encode = msgspec.json.Encoder().encode

    def pack(self, value: object) -> Payload:
        """See ClientCodec."""
        return json_payload(value)

    def unpack(self, data: msgspec.Raw, data64: bytes | None = None) -> Any:
        """See ClientCodec."""
        return value_of_json(data, data64)

    def encode(self, command: Command) -> bytes:
        """See ClientCodec."""
        return self._encode(command)

    def decode(self, message: bytes) -> Event | None:
        """See ClientCodec."""
        return _decode(message, self._events.decode, self._type.decode)


class MsgpackClientCodec:
    """MessagePack."""

    subprotocol: Final = "ringgate.v1.msgpack"
    opcode: Final = 2

    def __init__(self) -> None:
        self._events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(AnyEvent)
        self._type = msgspec.msgpack.Decoder(_Typed)
        self._encode = msgspec.msgpack.Encoder().encode

    def pack(self, value: object) -> Payload:
        """See ClientCodec."""
        try:
            return Payload(msgspec.Raw(ormsgpack.packb(value)))
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"this cannot be sent in MessagePack: {error}") from None

    def unpack(self, data: msgspec.Raw, data64: bytes | None = None) -> Any:
        """See ClientCodec."""
        packed = bytes(data)
        return ormsgpack.unpackb(packed) if packed else None

    def encode(self, command: Command) -> bytes:
        """See ClientCodec."""
        return self._encode(command)

    def decode(self, message: bytes) -> Event | None:
        """See ClientCodec."""
        return _decode(message, self._events.decode, self._type.decode)


def codec_for(encoding: EncodingName) -> ClientCodec:
    """Return the codec of an encoding.  Raises UsageError for a name that is none."""
    if encoding == "json":
        return JsonClientCodec()
    if encoding == "msgpack":
        return MsgpackClientCodec()
    if encoding == "protobuf":
        from .protobuf import ProtobufClientCodec  # google.protobuf is not loaded where nobody wants it

        return ProtobufClientCodec()
    raise UsageError(f"{encoding!r} is no encoding; json, msgpack and protobuf are")


class _Typed(msgspec.Struct):
    """The only thing that is read of an event that is not understood."""

    type: str


_KNOWN: Final = frozenset(kind.__name__.lower() for kind in Event.__subclasses__())


def _decode(
    message: bytes, decode: Callable[[bytes], Event], type_of: Callable[[bytes], _Typed]
) -> Event | None:
    try:
        return decode(message)
    except _UNREADABLE:
        pass
    try:
        kind = type_of(message).type
    except _UNREADABLE:
        kind = ""
    if kind and kind not in _KNOWN:
        return None
    raise no_event()


def no_event() -> ProtocolError:
    """Return what is raised for a message that is no event."""
    return ProtocolError(INVALID_PAYLOAD, "this is not an event of the gateway")


def json_payload(value: object) -> Payload:
    """Return a value as JSON text, or bytes as they are: what JSON and Protobuf have in common."""
    if isinstance(value, bytes):
        return Payload(data64=value)
    try:
        return Payload(msgspec.Raw(orjson.dumps(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"this cannot be sent in JSON: {error}") from None


def value_of_json(data: msgspec.Raw, data64: bytes | None) -> Any:
    """Return the value of JSON text, or the bytes; None where there is neither."""
    if data64 is not None:
        return data64
    text = memoryview(data)
    return orjson.loads(text) if text.nbytes else None
