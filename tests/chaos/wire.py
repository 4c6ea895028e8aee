"""A client's connection: WebSocket (RFC 6455) over a bare asyncio protocol, as little as the rig needs.

It is neither the gateway's own code, so that one bug cannot be in both, nor a library's, so that every
way in which a connection can end is seen: a reset in the middle of a handshake is an end like any other.
It knows bytes and frames, nothing of what they say.  What always holds: `opened` is called at most once,
and `closed` exactly once after `connection_made`, whatever happens; `opened`, if at all, before it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

ABRUPT: Final = 1006
_TEXT: Final = 0x1
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA
_LONGEST_HEAD: Final = 16384
_MASK: Final = b"\0\0\0\0"  # a mask that changes nothing is one


class Hearer(Protocol):
    """Who has a connection.  None of these may raise."""

    def opened(self, wire: Wire) -> None:
        """The gateway let it in."""

    def heard(self, wire: Wire, message: bytes) -> None:
        """A text message came."""

    def closed(self, wire: Wire, code: int) -> None:
        """It is over: with the code of the gateway's close frame, or 1006 without one."""


class Wire(asyncio.Protocol):
    """One connection to the path of a URL."""

    def __init__(self, hearer: Hearer, target: str, host: str) -> None:
        self._hearer = hearer
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmluZ2dhdGUgY2hhb3M9PQ==\r\n\r\n"
        ).encode()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._code = ABRUPT
        self._answered = False
        self.is_open = False
        self.ended = asyncio.Event()
        self.decided = asyncio.Event()  # the handshake was answered, or will not be

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._transport = None
        self.decided.set()
        self.ended.set()
        self._hearer.closed(self, self._code)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._answered and not self._take_head():
            return
        while self._transport is not None and self._take_frame():
            pass

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 and len(self._buffer) < _LONGEST_HEAD:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101 "):
            self.abort()
            return False
        del self._buffer[: end + 4]
        self._answered = self.is_open = True
        self.decided.set()
        self._hearer.opened(self)
        return True

    def _take_frame(self) -> bool:
        """Take one frame off the buffer; return whether there was a whole one.  Servers do not mask."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        begin, size = 2, buffer[1]
        if size == 126:
            begin, size = 4, int.from_bytes(buffer[2:4])
        elif size == 127:
            begin, size = 10, int.from_bytes(buffer[2:10])
        if len(buffer) < begin + size:
            return False
        opcode, payload = buffer[0], bytes(buffer[begin : begin + size])
        del buffer[: begin + size]
        if opcode == 0x80 | _TEXT:
            self._hearer.heard(self, payload)
        elif opcode == 0x80 | _CLOSE:
            self._code = int.from_bytes(payload[:2]) if payload else 1005
            self.close(self._code)
        elif opcode == 0x80 | _PING:
            self._write(_PONG, payload)
        else:
            raise AssertionError(f"the gateway sent a frame that begins with {opcode:#x}")
        return True

    def send(self, message: bytes) -> None:
        """Send a text message.  What is sent to a connection that is over is lost."""
        self._write(_TEXT, message)

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is None or not self.is_open:
            return
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2)
        self._transport.write(bytes([0x80 | opcode]) + length + _MASK + payload)

    def close(self, code: int) -> None:
        """Say goodbye, and end it.  Idempotent."""
        self._write(_CLOSE, code.to_bytes(2))
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it without a word.  Idempotent."""
        if self._transport is not None:
            self._transport.abort()


async def dial(hearer: Hearer, url: str, within_s: float, source: str = "") -> Wire:
    """Connect, and return an open connection.  Raises OSError, also when nothing comes in time.

    `source`, if any, is the address to connect from.
    """
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    wire = Wire(hearer, target, parts.netloc)
    assert parts.hostname
    assert parts.port
    try:
        async with asyncio.timeout(within_s):
            loop = asyncio.get_running_loop()
            local = (source, 0) if source else None
            await loop.create_connection(lambda: wire, parts.hostname, parts.port, local_addr=local)
            await wire.decided.wait()
    except TimeoutError:
        wire.abort()
        raise ConnectionError(f"no answer to a handshake within {within_s:g} s") from None
    except asyncio.CancelledError:
        wire.abort()
        raise
    return wire
