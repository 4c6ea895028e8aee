"""A bare Protocol on uvloop that upgrades and keeps silent: what an idle connection costs at the least."""

from __future__ import annotations

import asyncio
import base64
import hashlib

from bench.rivals.rival import python_rival

RIVAL = python_rival("uvloop Protocol", __file__, "uvloop", scenarios=("idle",))
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"\r\nSec-WebSocket-Key: "


class Bare(asyncio.Protocol):
    """One connection: its transport, and nothing else."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, as every protocol does."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the request; it comes whole on loopback."""
        key = data.partition(_KEY)[2].partition(b"\r\n")[0]
        if key:
            accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
            self.transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )


async def serve() -> None:
    """Listen, print the port, and serve for ever."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
