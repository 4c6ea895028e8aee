"""One WebSocket connection of a client: wsproto's handshake, then our own frames, over an asyncio transport.

It knows bytes, frames and the handshake, nothing of what messages say.  The head of the answer is wsproto's
to judge; what follows it is not: wsproto bounds no message.  What always holds: after `opened`, if at all,
come messages, and `lost` comes last, at most once, and never after `drop`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final, Protocol, cast

from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from .._encode import encode_close, encode_frame
from .._frames import BINARY, CLOSE, FAILED, PING, TEXT, Decoder, Event
from ..closecodes import ABNORMAL, NO_STATUS, NORMAL, PROTOCOL_ERROR, UNSUPPORTED_DATA

_PONG: Final = 10
_MAX_HEAD_BYTES: Final = 32768
_MAX_FRAGMENTS: Final = 1 << 16
_MAX_REASON_CHARS: Final = 200
_MOST_WAIT_S: Final = 3600


class Owner(Protocol):
    """Who has the connection.  None of these may raise."""

    def link_heard(self, link: Link) -> None:
        """Something came."""

    def link_message(self, link: Link, message: bytes) -> None:
        """A message of the opcode that was asked for came."""

    def link_lost(self, link: Link, code: int, reason: str, wait_s: float) -> None:
        """It is over: with the gateway's close code, 1006, or the HTTP status of a refusal."""


class Link(asyncio.Protocol):
    """`opcode` is that of the messages of `subprotocol`."""

    def __init__(
        self, owner: Owner, request: Request, *, opcode: int, max_message_bytes: int, close_timeout_s: float
    ) -> None:
        self._owner: Owner | None = owner
        self._request = request
        self._opcode = opcode
        self._close_timeout_s = close_timeout_s
        self._handshake = H11Handshake(ConnectionType.CLIENT)
        self._head = bytearray()
        self._decoder = Decoder(
            client=True, max_message_bytes=max_message_bytes, max_fragments=_MAX_FRAGMENTS
        )
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self._is_closing = False
        self._deadline: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_connected(self) -> bool:
        """There is a socket; `ended` is done when it is closed."""
        return self._transport is not None

    # -- what the owner wants -------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send a message; what is sent to a connection that is not open is lost."""
        self._write(self._opcode, message)

    def drop(self, code: int) -> None:
        """Close it, and tell the owner nothing any more.  Idempotent."""
        self._owner = None
        if self._is_open and not self._is_closing:
            self._close(code)
        elif self._transport is not None and not self._is_closing:
            self._transport.abort()

    # -- what the transport tells -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if self._owner is None:
            self._transport.abort()
            return
        self._transport.write(self._handshake.send(self._request))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._is_open:
            self._head += data
            rest = self._take_head()
            if rest is None:
                return
            data = rest
        if self._owner is not None:
            self._owner.link_heard(self)
        for event in self._decoder.receive(data):
            self._take(event)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(None)
        if error is None and not self._is_open:
            self._tell(ABNORMAL, "the server closed the connection in the handshake")
        else:
            self._tell(ABNORMAL, str(error) if error else "the connection was lost")

    # -- the handshake ----------------------------------------------------------------------------

    def _take_head(self) -> bytes | None:
        """Return what follows the head of an answer that lets us in; None as long as there is none."""
        end = self._head.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(self._head) > _MAX_HEAD_BYTES:
                self._fail(ABNORMAL, "the answer to the handshake is too large")
            return None
        head, rest = bytes(self._head[:end]), bytes(self._head[end:])
        try:
            self._handshake.receive_data(head)
            event = next(iter(self._handshake.events()), None)
        except (RemoteProtocolError, LocalProtocolError, UnicodeDecodeError) as error:
            self._fail(ABNORMAL, f"this is no WebSocket server: {error}")
            return None
        if isinstance(event, AcceptConnection):
            # Without a subprotocol a server speaks JSON: docs/protocol.md, "Connecting".
            if event.subprotocol is None and self._opcode != TEXT:
                self._fail(ABNORMAL, f"the server does not speak {self._request.subprotocols[0]}")
                return None
            self._is_open = True
            return rest
        if isinstance(event, RejectConnection):
            self._refused(event, rest)
        return None

    def _refused(self, event: RejectConnection, body: bytes) -> None:
        text = body[:_MAX_REASON_CHARS].decode("utf-8", "backslashreplace").strip()
        reason = f"the server refused the connection: HTTP {event.status_code}{f', {text}' if text else ''}"
        self._fail(event.status_code, reason, _retry_after(event.headers))

    # -- frames -------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        kind = event.kind
        if kind == self._opcode:
            if self._owner is not None:
                self._owner.link_message(self, event.payload)
        elif kind == PING:
            self._write(_PONG, event.payload)
        elif kind == CLOSE:
            code = event.close_code
            self._close(NORMAL if code == NO_STATUS else code)
            self._tell(code, event.close_reason.decode("utf-8", "replace"))
            if self._transport is not None:
                self._transport.close()
        elif kind == FAILED:
            self._fail(event.close_code, event.close_reason.decode())
        elif kind in {TEXT, BINARY}:
            self._fail(UNSUPPORTED_DATA, "the server sent a message of another encoding")

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is not None and self._is_open and not self._is_closing:
            self._transport.write(encode_frame(opcode, payload, mask=os.urandom(4)))

    def _close(self, code: int) -> None:
        """Send a close frame, and do not wait for the answer for ever."""
        if self._transport is None or self._is_closing:
            return
        self._transport.write(encode_close(code, mask=os.urandom(4)))
        self._is_closing = True
        self._deadline = asyncio.get_running_loop().call_later(self._close_timeout_s, self._transport.abort)

    def _fail(self, code: int, reason: str, wait_s: float = 0.0) -> None:
        """The server broke a rule, or does not let us in."""
        if self._is_open:
            self._close(max(code, PROTOCOL_ERROR))
        self._tell(ABNORMAL if self._is_open else code, reason, wait_s)
        if self._transport is not None:
            self._transport.close()

    def _tell(self, code: int, reason: str, wait_s: float = 0.0) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.link_lost(self, code, reason, wait_s)


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """Return the seconds of a Retry-After header; 0 where there is none, or a date."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return float(min(int(value), _MOST_WAIT_S))
    return 0.0
