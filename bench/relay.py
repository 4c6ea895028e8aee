"""Carries bytes between a Unix socket and a TCP port, over TLS or not, for the load tool, which speaks none.

    python -m bench.relay SOCKET HOST PORT [CA-FILE]

It belongs to the load, so it runs on the load's core.  It knows nothing of what it carries.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

import uvloop


class End(asyncio.Protocol):
    """One end of a connection that is carried; what comes before the other end is there waits."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.other: End | None = None
        self._early: list[bytes] = []
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Carry it on."""
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def link(self, other: End) -> None:
        """Carry to each other from now on."""
        self.other, other.other = other, self
        for data in self._early:
            other.transport.write(data)
        if self._lost:
            other.transport.abort()

    def pause_writing(self) -> None:
        """Read no more than can be written."""
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other end too."""
        self._lost = True
        if self.other is not None:
            self.other.transport.abort()


async def relay(path: str, host: str, port: int, ca_file: str) -> None:
    """Carry until the process is ended; print a line once it listens."""
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    connecting: set[asyncio.Task[None]] = set()

    async def connect(near: End) -> None:
        try:
            _, far = await loop.create_connection(End, host, port, ssl=tls)
        except OSError:
            near.transport.abort()
            return
        near.link(far)

    class Near(End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            task = loop.create_task(connect(self))
            connecting.add(task)
            task.add_done_callback(connecting.discard)

    server = await loop.create_unix_server(Near, path, backlog=4096)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(relay(sys.argv[1], sys.argv[2], int(sys.argv[3]), (sys.argv[4:] or [""])[0]))
