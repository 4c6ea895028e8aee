"""Control messages of GRIP: what a service says to the gateway, in between what it says to the client.

Pure.  A text that begins with `c:` is one: JSON with a `type`.  What always holds: `read_control` returns one
of the records here or raises MalformedControlError; what is not understood is never passed over, since it
may have been meant to keep something from a client.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..errors import GatewayError
from ..message.filters import Filter
from .events import MOST_CONTROL_BYTES

PREFIX: Final = b"c:"
DEFAULT_MESSAGE_PREFIX: Final = b"m:"
MOST_FILTERS: Final = 16
MOST_KEEP_ALIVE_S: Final = 86_400
_KEEP_ALIVE_S: Final = 55

_DELAY_S: Final = 1
_OPCODES: Final = {"text": 1, "binary": 2, "ping": 9, "pong": 10}

_Channel = Annotated[str, Meta(min_length=1, max_length=200)]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Seconds = Annotated[int, Meta(ge=0, le=MOST_KEEP_ALIVE_S)]


class MalformedControlError(GatewayError):
    """No control message, or one that is not understood.  The text is for the log."""


class Subscribe(Struct, frozen=True, tag="subscribe"):
    """Let the client hear a channel, but for what filters keep from it."""

    channel: _Channel
    filters: Annotated[list[Filter], Meta(max_length=MOST_FILTERS)] = []


class Unsubscribe(Struct, frozen=True, tag="unsubscribe"):
    """Let it hear a channel no longer."""

    channel: _Channel


class Detach(Struct, frozen=True, tag="detach"):
    """Ask the service nothing more about this client."""


class SetMeta(Struct, frozen=True, tag="set-meta"):
    """Remember something for filters, which ask for `user`; without a value, forget it."""

    name: _Name
    value: Annotated[str, Meta(max_length=200)] | None = None


class Session(Struct, frozen=True, tag="session"):
    """Name the session of which the connection is, for whoever counts sessions: nobody here."""

    id: str = ""


class _Message(Struct, frozen=True, rename="kebab"):
    """Something for the client, later: `content` in UTF-8, or `content-bin` in base64."""

    content: str | UnsetType = UNSET
    content_bin: str | UnsetType = UNSET
    message_type: Literal["text", "binary", "ping", "pong", ""] = ""

    def __post_init__(self) -> None:
        data = self.payload()
        if data is None:
            return
        if self.message_type == "text" and not _is_text(data):
            raise ValueError("content-bin is to be text and is none")
        if self.message_type in {"ping", "pong"} and len(data) > MOST_CONTROL_BYTES:
            raise ValueError(f"a {self.message_type} of more than {MOST_CONTROL_BYTES} bytes")

    @property
    def opcode(self) -> int:
        """The opcode of its frame; text where nothing is said of it, unless it is none."""
        return _OPCODES[self.message_type or ("text" if _is_text(self.payload() or b"") else "binary")]

    def payload(self) -> bytes | None:
        """Return what is to be sent; None for nothing."""
        if isinstance(self.content_bin, str):
            try:
                return base64.b64decode(self.content_bin, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("content-bin is not base64") from None
        return self.content.encode() if isinstance(self.content, str) else None


class KeepAlive(_Message, frozen=True, tag="keep-alive"):
    """Send the client something when nothing else was sent for `timeout` seconds; without content, no more.

    With the mode "interval" it is sent every so often, whatever else was.
    """

    timeout: _Seconds = _KEEP_ALIVE_S
    mode: Literal["idle", "interval"] = "idle"

    @property
    def timeout_s(self) -> int:
        """Seconds; 0 asks for the usual time."""
        return self.timeout or _KEEP_ALIVE_S


class SendDelayed(_Message, frozen=True, tag="send-delayed"):
    """Send the client something in `timeout` seconds; what was to be sent so before is sent now."""

    timeout: _Seconds = _DELAY_S

    @property
    def timeout_s(self) -> int:
        """Seconds; 0 asks for the usual time."""
        return self.timeout or _DELAY_S


class FlushDelayed(Struct, frozen=True, tag="flush-delayed"):
    """Send now what was to be sent later."""


Control = Subscribe | Unsubscribe | Detach | SetMeta | Session | KeepAlive | SendDelayed | FlushDelayed

_decoder: Final[msgspec.json.Decoder[Control]] = msgspec.json.Decoder(Control)


def read_control(text: bytes) -> Control:
    """Return the control message behind the prefix.  Raises MalformedControlError."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as problem:
        raise MalformedControlError(f"a control message: {problem}") from None


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
