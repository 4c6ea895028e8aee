"""An app service that is ill as it is told to be, line by line of its standard input (`bench.bystanders`).

    python -m bench.ill_service         prints its port

It is as cheap as can be: it answers each whole request, whatever it asks.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

ILLNESSES: Final = {
    "dead": "is gone: nobody listens",
    "hang": "answers nothing",
    "error": "answers 500",
    "redirect": "redirects",
    "reset": "resets the connection",
    "page": "answers with a page",
    "broken": "answers JSON that breaks off",
    "huge": "announces a terabyte",
    "flood": "answers without an end",
    "drip": "answers a byte at a time",
}
"""What there is, and how the page calls it."""


def _response(status: str, body: bytes, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


_JSON: Final = "Content-Type: application/json"
_HTML: Final = "Content-Type: text/html"
ANSWERS: Final = {
    "well": _response("200 OK", b"{}", _JSON),
    "error": _response("500 Internal Server Error", b"{}", _JSON),
    "redirect": _response("307 Temporary Redirect", b"", "Location: /elsewhere"),
    "page": _response("200 OK", b"<html>It works!</html>" * 100, _HTML),
    "broken": _response("200 OK", b'{"payload":{"a":[1,2', _JSON),
    "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n{",
    "flood": b"HTTP/1.1 200 OK\r\n\r\n",
    "drip": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
}
_FLOOD: Final = b" " * 65536


class Service:
    """What all connections share."""

    def __init__(self) -> None:
        self.state = "well"
        self.port = 0
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Be there."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def become(self, state: str) -> None:
        """Be ill in another way, or well."""
        self.state = state
        for connection in list(self.connections):
            if state == "dead" or connection.busy:
                connection.transport.abort()
        if state != "dead":
            await self.listen()
        elif self._server is not None:
            self._server.close()
            self._server = None


class Connection(asyncio.Protocol):
    """One connection of the gateway."""

    def __init__(self, service: Service) -> None:
        self.busy = False
        self.transport: Any = None
        self._service = service
        self._data = b""
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be known to the service."""
        self.transport = transport
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        self._service.connections.discard(self)

    def pause_writing(self) -> None:
        """Wait with the flood."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on with it."""
        self._writable = True
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole, as the service is now."""
        self._data += data
        while True:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if not found or len(rest) < length:
                return
            self._data = rest[length:]
            self._answer()

    def _answer(self) -> None:
        state = self._service.state
        if state == "reset":
            self.transport.abort()
        else:
            self.busy = state in {"hang", "flood", "drip", "huge"}
            self.transport.write(ANSWERS.get(state, b""))
            self._go_on()

    def _go_on(self) -> None:
        if not self.busy or self.transport.is_closing():
            return
        state = self._service.state
        if state == "flood":
            while self._writable and not self.transport.is_closing():
                self.transport.write(_FLOOD)
        elif state == "drip":
            self.transport.write(b" ")
            asyncio.get_running_loop().call_later(0.05, self._go_on)


async def main() -> None:
    """Serve until standard input ends."""
    service, loop = Service(), asyncio.get_running_loop()
    await service.listen()
    print(service.port, flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await service.become(line.decode().strip())


if __name__ == "__main__":
    asyncio.run(main())
