"""A client of the soak: a WebSocket of `websockets`, with or without compression.

What always holds: nothing is waited for longer than PATIENCE_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import Any, Final, Self

import websockets
from websockets.asyncio.client import ClientConnection

PATIENCE_S: Final = 60.0
SMALL_BYTES: Final = 4096

Event = dict[str, Any]


class Client:
    """One connection, with the events that came while it waited for an answer."""

    def __init__(self, connection: ClientConnection, hello: Event) -> None:
        self.connection = connection
        self.session = str(hello["session"])
        self.unread: list[Event] = []
        self._asked = 0

    @classmethod
    async def connect(
        cls, url: str, *, user: str = "", compressed: bool = False, sluggish: bool = False
    ) -> Self:
        """Connect, and take the hello; with `sluggish`, neither end's buffers take much that is not read."""
        # It reads whether or not anybody asks for events, unless it is sluggish.
        options: dict[str, Any] = {"compression": "deflate" if compressed else None, "max_queue": None}
        if sluggish:
            host, _, port = url.removeprefix("ws://").partition("/")[0].rpartition(":")
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)  # as on a real way, not on loopback
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
            options |= {"sock": sock, "max_queue": 1}
        connection = await websockets.connect(
            f"{url}?user={user}" if user else url,
            proxy=None,
            max_size=None,
            ping_interval=None,
            open_timeout=PATIENCE_S,
            close_timeout=2,
            **options,
        )
        return cls(connection, json.loads(await connection.recv()))

    async def tell(self, commands: object) -> None:
        """Send one command, or a list of them."""
        await self.connection.send(json.dumps(commands))

    async def ask(self, kind: str, **fields: object) -> Event:
        """Send a command and return its answer.  Raises TimeoutError, ConnectionClosed."""
        self._asked += 1
        await self.tell({"type": kind, "id": self._asked, **fields})
        async with asyncio.timeout(PATIENCE_S):
            while (event := await self.event()).get("id") != self._asked:
                self.unread.append(event)
        return event

    async def event(self) -> Event:
        """Wait for the next event."""
        return dict(json.loads(await self.connection.recv()))

    async def hear(self, seconds: float) -> list[Event]:
        """Return what came before, and what comes within a time."""
        give_up_s = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(max(0.0, give_up_s - time.monotonic())):
                    self.unread.append(await self.event())
        events, self.unread = self.unread, []
        return events

    async def leave(self) -> None:
        """Say goodbye."""
        await self.connection.close()

    def cut(self) -> None:
        """Be gone, without a word."""
        self.connection.transport.abort()
