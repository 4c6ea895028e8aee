"""A rig of an edge whose clients are passed through to WebSocket services that a test writes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection

from gateway.connection._connection import Connection
from gateway.connection._edge import Edge, EdgeStats
from gateway.connection._sockets import Listener
from gateway.connection.handshake import RouteOptions
from gateway.connection.options import EdgeOptions
from gateway.passthrough.crossing import Client
from gateway.passthrough.dialing import Address
from gateway.passthrough.passage import Passage, PassageOptions
from gateway.passthrough.passing import Limiter
from gateway.passthrough.paths import PathTable
from gateway.serving import serve_socket
from tests.support.tls import Authority

Service = Callable[[ServerConnection], Awaitable[None]]


class Lease:
    """What happened to one address that was picked."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.said: list[str] = []

    def stays(self) -> bool:
        return True

    def leaves(self) -> bool:
        return False

    def connected(self) -> None:
        self.said.append("connected")

    def failed(self) -> None:
        self.said.append("failed")

    def release(self) -> None:
        self.said.append("release")


class Upstreams:
    """Picks addresses in turn."""

    def __init__(self, addresses: list[Address]) -> None:
        self.addresses = addresses
        self.leases: list[Lease] = []
        self.clients: list[str] = []

    def pick(self, client: Client, tried: Sequence[object]) -> Lease | None:
        if not self.addresses:
            return None
        self.clients.append(client.address)
        self.leases.append(Lease(self.addresses[len(self.leases) % len(self.addresses)]))
        return self.leases[-1]


class Rig:
    """An edge with pass-through at /ws and below /app/."""

    def __init__(
        self,
        upstreams: Upstreams,
        options: dict[str, Any],
        connect_timeout_s: float,
        scheme: str,
        limiter: Limiter | None,
    ) -> None:
        self.scheme = scheme
        self.upstreams = upstreams
        self.passage = Passage(
            lambda: self.edge, upstreams, PassageOptions(connect_timeout_s), name="test", limiter=limiter
        )
        self.stats = EdgeStats()
        self.edge = Edge(
            protocol=Connection,
            loop=asyncio.get_running_loop(),
            routes=PathTable({"/ws": RouteOptions(), "/app/*": RouteOptions()}),
            factories={},
            passages=PathTable({"/ws": self.passage, "/app/*": self.passage}),
            options=EdgeOptions(**options),
            stats=self.stats,
        )
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.sock.getsockname()[1]
        self.listener: Any = None

    async def listen(self, authority: Authority | None) -> None:
        """Let clients in; with TLS where there is an authority."""
        if authority is None:
            self.listener = Listener(self.edge, self.sock, loop=self.edge.loop)
            return
        self.listener = await serve_socket(
            self.edge,
            self.sock,
            backlog=10,
            tls=server_context(authority),
            tls_handshake_s=5,
            tls_shutdown_s=1,
        )

    def url(self, path: str = "/ws") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def connect(self, path: str = "/ws", **options: Any) -> Any:
        options = {"ping_interval": None, "compression": None, "proxy": None, "close_timeout": 2} | options
        return websockets.connect(self.url(path), **options)

    async def gone(self) -> None:
        """Wait until nobody is connected any more, and every address that was picked was given back."""
        async with asyncio.timeout(10):
            while self.edge.connections or any(  # noqa: ASYNC110 the edge has no event for it
                "release" not in lease.said for lease in self.upstreams.leases
            ):
                await asyncio.sleep(0.01)
        assert self.stats.accepted == self.stats.closed
        assert self.passage.counts.open == 0
        assert [lease.said.count("release") for lease in self.upstreams.leases] == [1] * len(
            self.upstreams.leases
        )


@asynccontextmanager
async def rig(
    *services: Service,
    addresses: list[Address] | None = None,
    serve: dict[str, Any] | None = None,
    connect_timeout_s: float = 5.0,
    authority: Authority | None = None,
    limiter: Limiter | None = None,
    **options: Any,
) -> AsyncIterator[Rig]:
    """A listening edge in front of services; in the end nothing of it may be left."""
    serve = {"ping_interval": None, "compression": None} | (serve or {})
    async with contextlib.AsyncExitStack() as stack:
        where = list(addresses or [])
        for service in services:
            server = await stack.enter_async_context(websockets.serve(service, "127.0.0.1", 0, **serve))
            where.append(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
        scheme = "ws" if authority is None else "wss"
        made = Rig(Upstreams(where), options, connect_timeout_s, scheme, limiter)
        await made.listen(authority)
        try:
            yield made
        finally:
            made.listener.close()
            await asyncio.sleep(0)
            if made.edge.connections:
                made.edge.stop()
            await made.gone()
            if not made.edge.stopped:
                made.edge.stop()


async def echo(connection: ServerConnection) -> None:
    """Return every message."""
    async for message in connection:
        await connection.send(message)


def server_context(authority: Authority) -> ssl.SSLContext:
    """A server's context with a certificate of an authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)
    return context
