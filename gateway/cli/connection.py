"""A small WebSocket client: wsproto's client side on asyncio streams.

It knows frames and the closing handshake, and nothing of channels.  Pings are answered while
`receive` is awaited.  Every failure of the network or of the peer is a CommandFailedError.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlunsplit

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from ..closecodes import NORMAL
from ..config.kinds import Address
from ..logs import escape
from .parser import CommandFailedError
from .publish import connection_error, split_url

_READ_BYTES: Final = 1 << 16
_MAX_MESSAGE_CHARS: Final = 1 << 26
_MAX_SHOWN_CHARS: Final = 200
_CLOSE_TIMEOUT_S: Final = 2.0


class Connection:
    """One open WebSocket connection.

    After `receive` returned None, `close_code` and `close_reason` are what the peer sent; the code is 0 when
    the connection ended without a close frame.  `silence_s` is how long the peer may send nothing at all.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Address) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: Iterator[Event] = iter(())
        self.silence_s: float | None = None
        self.close_code = 0
        self.close_reason = ""

    @classmethod
    async def open(cls, url: str, *, subprotocol: str, token: str, timeout_s: float) -> Connection:
        """Connect and upgrade; `token` goes into the Authorization header unless it is empty."""
        parts, port = split_url(url, {"ws": 80, "wss": 443})
        peer = Address(parts.hostname or "", port)
        tls = ssl.create_default_context() if parts.scheme == "wss" else None
        request = Request(
            host=str(peer),
            target=urlunsplit(("", "", parts.path or "/ws", parts.query, "")),
            subprotocols=[subprotocol],
            extra_headers=[(b"authorization", b"Bearer " + token.encode())] if token else [],
        )
        try:
            async with asyncio.timeout(timeout_s):
                connection = cls(*await asyncio.open_connection(peer.host, peer.port, ssl=tls), peer)
                await connection._upgrade(request)
        except OSError as error:
            raise CommandFailedError(connection_error(error, peer)) from None
        return connection

    async def _upgrade(self, request: Request) -> None:
        """Shake hands; whatever comes of it other than an open connection closes the socket."""
        try:
            await self._send(request)
            event = await self._next_event()
            if not isinstance(event, AcceptConnection):
                status = event.status_code if isinstance(event, RejectConnection) else 0
                raise CommandFailedError(_refusal(self._peer, status, await self._refusal_body(event)))
        except BaseException:
            self._writer.close()
            raise

    async def _refusal_body(self, event: Event | None) -> bytes:
        body = b""
        if isinstance(event, RejectConnection) and event.has_body:
            while isinstance(part := await self._next_event(), RejectData):
                body += part.data[:_MAX_SHOWN_CHARS]
                if part.body_finished or len(body) >= _MAX_SHOWN_CHARS:
                    break
        return body

    async def send(self, text: str) -> None:
        """Send a text message."""
        await self._send(Message(data=text))

    async def receive(self) -> str | None:
        """Return the next text message; None once the connection is closed."""
        parts: list[str] = []
        held_chars = 0
        while (event := await self._next_event()) is not None:
            if isinstance(event, Ping):
                await self._send(event.response())
            elif isinstance(event, CloseConnection):
                self.close_code, self.close_reason = int(event.code), event.reason or ""
                await self._answer_close(event)
                return None
            elif isinstance(event, TextMessage):
                parts.append(event.data)
                held_chars += len(event.data)
                if held_chars > _MAX_MESSAGE_CHARS:
                    raise CommandFailedError(f"{self._peer} sent a message that is too large")
                if event.message_finished:
                    return "".join(parts)
        return None

    async def close(self) -> None:
        """Close with 1000 and wait a moment for the answer.  Never raises."""
        with contextlib.suppress(CommandFailedError, LocalProtocolError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                if self._protocol.state is ConnectionState.OPEN:
                    await self._send(CloseConnection(code=NORMAL))
                    while await self._next_event() is not None:
                        pass
        self._writer.close()

    async def _answer_close(self, event: CloseConnection) -> None:
        with contextlib.suppress(CommandFailedError, LocalProtocolError):
            await self._send(event.response())

    async def _send(self, event: Event) -> None:
        try:
            self._writer.write(self._protocol.send(event))
            await self._writer.drain()
        except OSError as error:
            raise CommandFailedError(connection_error(error, self._peer)) from None

    async def _next_event(self) -> Event | None:
        """Return what comes next; None at the end of the stream."""
        while True:
            event = next(self._events, None)
            if event is not None:
                return event
            if self._protocol.state is ConnectionState.CLOSED:
                return None
            try:
                async with asyncio.timeout(self.silence_s):
                    data = await self._reader.read(_READ_BYTES)
                if not data:
                    return None
                self._protocol.receive_data(data)
            except OSError as error:
                raise CommandFailedError(connection_error(error, self._peer)) from None
            except RemoteProtocolError as error:
                raise CommandFailedError(f"{self._peer} broke the protocol: {escape(str(error))}") from None
            self._events = self._protocol.events()


def _refusal(peer: Address, status: int, body: bytes) -> str:
    if not status:
        return f"{peer} closed the connection in the handshake"
    text = escape(body.decode("utf-8", "backslashreplace").strip()[:_MAX_SHOWN_CHARS])
    return f"{peer} refused the connection: HTTP {status}{f', {text}' if text else ''}"
