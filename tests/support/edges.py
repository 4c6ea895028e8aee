"""An edge on a real port of the loopback, in simulated time, and raw sockets that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from gateway._frames import PING, PONG, TEXT, Decoder, Event
from gateway.connection._connection import Connection as EdgeConnection
from gateway.connection._edge import Edge, EdgeStats
from gateway.connection._sockets import Listener
from gateway.connection.handshake import Accepted, RouteOptions
from gateway.connection.interface import Connection
from gateway.connection.options import EdgeOptions
from tests.support.frames import frame
from tests.support.simulated import SimulatedTime, settle

GIVE_UP_S = 30.0


def request(path: str = "/ws", *extra: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *extra,
    )
    return "\r\n".join([*lines, "", ""]).encode()


def text(payload: bytes | str) -> bytes:
    return frame(TEXT, payload.encode() if isinstance(payload, str) else payload)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait, in real time, for what other ends of sockets bring about."""
    async with asyncio.timeout(GIVE_UP_S):
        while not condition():  # noqa: ASYNC110 other ends of sockets set no event
            await asyncio.sleep(0.001)


class Handler:
    """Writes down what it is told; `on` is called with every message and may do anything."""

    def __init__(self, connection: Connection, on: Callable[[Handler, bytes], None]) -> None:
        self.connection = connection
        self.on = on
        self.messages: list[bytes] = []
        self.closes: list[int] = []
        self.writable = 0

    def on_message(self, opcode: int, payload: bytes) -> None:
        self.messages.append(payload)
        self.on(self, payload)

    def on_writable(self) -> None:
        self.writable += 1

    def on_close(self, code: int, reason: str) -> None:
        self.closes.append(code)


class Peer:
    """A raw client.  `buffer` are bytes that were read and not yet looked at."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.decoder = Decoder(client=True, max_message_bytes=1 << 26, max_fragments=10)
        self.events: list[Event] = []
        self.bytes_read = 0

    async def send(self, *data: bytes) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(data))

    async def read(self) -> bytes:
        """Return some bytes; empty at the end of the connection, also when it was reset."""
        async with asyncio.timeout(GIVE_UP_S):
            try:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
            except ConnectionError:
                data = b""
        self.bytes_read += len(data)
        return data

    async def upgrade(self, path: str = "/ws", *extra: str, then: bytes = b"") -> bytes:
        """Shake hands; return the head of the answer."""
        await self.send(request(path, *extra) + then)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await self.read()
            assert piece, f"the connection ended after {data!r}"
            data += piece
        head, rest = data.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head
        self.events += self.decoder.receive(rest)
        return head

    async def receive(self, number: int) -> list[Event]:
        """Return the next events."""
        while len(self.events) < number:
            data = await self.read()
            assert data, f"the connection ended after {self.events}"
            self.events += self.decoder.receive(data)
        taken, self.events = self.events[:number], self.events[number:]
        return taken

    async def receive_to_end(self) -> list[Event]:
        """Return all events until the connection ends."""
        while data := await self.read():
            self.events += self.decoder.receive(data)
        taken, self.events = self.events, []
        return taken

    async def receive_until(self, kind: int) -> list[Event]:
        """Return the events up to the first of a kind."""
        events: list[Event] = []
        while not events or events[-1].kind != kind:
            events += await self.receive(1)
        return events

    async def payloads(self, number: int) -> list[bytes]:
        return [event.payload for event in await self.receive(number)]

    async def everything(self) -> bytes:
        """Return all bytes until the connection ends."""
        data = b""
        while piece := await self.read():
            data += piece
        return data

    async def answer_pings(self) -> int:
        """Answer the pings that have come; return their number."""
        await settle()
        with contextlib.suppress(BlockingIOError):
            self.events += self.decoder.receive(self.sock.recv(1 << 16))
        pings = [event for event in self.events if event.kind == PING]
        self.events = [event for event in self.events if event.kind != PING]
        if pings:
            await self.send(*[frame(PONG, ping.payload) for ping in pings])
        return len(pings)

    def reset(self) -> None:
        """End the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Rig:
    """An edge; `handlers` are those of its connections at `/ws`, which say `greeting` at once."""

    def __init__(self, on: Callable[[Handler, bytes], None], options: dict[str, Any]) -> None:
        self.time = SimulatedTime()
        self.on = on
        self.handlers: list[Handler] = []
        self.greeting: bytes | None = b""
        self.stats = EdgeStats()
        self.edge = Edge(
            protocol=EdgeConnection,
            loop=self.time.loop,
            routes={"/ws": RouteOptions(), "/echo": RouteOptions()},
            factories={"/ws": self.make, "/echo": None},
            options=EdgeOptions(**options),
            stats=self.stats,
        )
        self.port = 0
        self.peers: list[Peer] = []
        self.server: Listener | None = None

    def make(self, connection: Connection, accepted: Accepted) -> Handler:
        handler = Handler(connection, self.on)
        if self.greeting != b"":
            connection.send(TEXT, cast(bytes, self.greeting))
        self.handlers.append(handler)
        return handler

    async def dial(self, *, receive_buffer: int = 0) -> Peer:
        """Return a connection whose handshake has not begun."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        accepted = self.stats.accepted
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        await eventually(lambda: self.stats.accepted > accepted)
        self.peers.append(Peer(sock))
        return self.peers[-1]

    async def open(self, path: str = "/ws", *, receive_buffer: int = 0) -> Peer:
        """Return a connection whose handshake is done."""
        peer = await self.dial(receive_buffer=receive_buffer)
        await peer.upgrade(path)
        return peer

    async def deliver(self, peer: Peer, *data: bytes) -> None:
        """Send bytes, and wait until the edge has read them."""
        read = self.stats.bytes_in + sum(map(len, data))
        await peer.send(*data)
        await eventually(lambda: self.stats.bytes_in >= read)

    async def gone(self) -> None:
        """Wait until the edge knows no connection any more."""
        await eventually(lambda: not self.edge.connections)
        assert len(self.edge.wheel) == 0
        assert self.stats.accepted == self.stats.closed

    async def pass_time(self, seconds: float, *, step: float = 0.25) -> None:
        """Let time pass for the edge, and sockets be looked at in between."""
        for _ in range(round(seconds / step)):
            self.time.advance(step)
            await asyncio.sleep(0)


@asynccontextmanager
async def edge(
    on: Callable[[Handler, bytes], None] = lambda handler, payload: None, **options: Any
) -> AsyncIterator[Rig]:
    """Return a listening edge; in the end nothing of it may be left."""
    rig = Rig(on, options)
    sock = socket.create_server(("127.0.0.1", 0), backlog=100)
    rig.port = sock.getsockname()[1]
    rig.server = Listener(rig.edge, sock, loop=asyncio.get_running_loop())
    try:
        yield rig
    finally:
        rig.server.close()
        rig.edge.stop()
        for peer in rig.peers:
            peer.close()
        await rig.gone()
        assert rig.time.timers == 0
