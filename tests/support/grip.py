"""A GRIP service for tests that answers as it is told to, and an edge with a node in front of it.

All of it is in one process.  The service is one of `app_service`, on a real port; so are edge and upstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import websockets
from aiohttp import web

from gateway.asking import Caller
from gateway.bare import BareClient
from gateway.broker.memory import MemoryBroker
from gateway.connection._connection import Connection
from gateway.connection._edge import Edge, EdgeStats
from gateway.connection._sockets import Listener
from gateway.connection.handshake import DeflateOptions, RouteOptions
from gateway.connection.options import EdgeOptions
from gateway.grip.client import ClientOptions
from gateway.grip.counts import GripCounts
from gateway.grip.events import CONTENT_TYPE, Event, Kind, parse, serialise
from gateway.grip.route import GripRoute, Places
from gateway.grip.route import RouteOptions as GripOptions
from gateway.hub.encoding import make_bare_encoding
from gateway.node import Node
from gateway.options import Namespace, NodeOptions
from gateway.passthrough.choosing import key_by
from gateway.passthrough.paths import PathTable
from gateway.upstreams.http import HttpTransport
from gateway.upstreams.names import system_resolver
from gateway.upstreams.options import BreakerOptions, UpstreamOptions, parse_address
from gateway.upstreams.upstream import Upstream
from tests.support.app_service import AppService, Heard

OPEN = Event(Kind.OPEN)
GRIP = {"Sec-WebSocket-Extensions": "grip"}
Says = Callable[[list[Event]], Iterable[Event]]


def text(content: str) -> Event:
    return Event(Kind.TEXT, content.encode())


def control(message: str) -> Event:
    return text("c:" + message)


def reply(*events: Event, body: bytes | None = None, status: int = 200, **headers: Any) -> web.StreamResponse:
    """An answer with events, or with a body as it is."""
    named = {"Content-Type": CONTENT_TYPE, **{n.replace("_", "-"): v for n, v in headers.items()}}
    return web.Response(body=serialise(events) if body is None else body, status=status, headers=named)


class GripService(AppService):
    """Lets everybody in, and answers what `says` returns for the events of a later request.

    `opens` is what the answer to OPEN has behind its OPEN, `headers` its headers.
    """

    def __init__(self, says: Says = lambda events: (), *, port: int = 0) -> None:
        super().__init__(self._answer, port=port)
        self.says = says
        self.opens: tuple[Event, ...] = ()
        self.headers: dict[str, Any] = {}
        self.events: list[list[Event]] = []
        """The events of each request."""

    async def _answer(self, heard: Heard) -> web.StreamResponse:
        events = self.take(heard)
        if events[:1] == [OPEN]:
            return reply(OPEN, *self.opens, **self.headers)
        return reply(*self.says(events))

    def take(self, heard: Heard) -> list[Event]:
        """Write down and return the events of a request."""
        self.events.append(parse(heard.body))
        return self.events[-1]

    @property
    def told(self) -> list[Event]:
        """All events, in order."""
        return [event for events in self.events for event in events]


def echo(events: list[Event]) -> list[Event]:
    """Return the messages that came."""
    return [event for event in events if event.kind in {Kind.TEXT, Kind.BINARY}]


class Rig:
    """An edge whose path /chat/* is that of a GRIP service."""

    def __init__(self, address: str, edge: dict[str, Any], upstream: dict[str, Any], **client: Any) -> None:
        loop = asyncio.get_running_loop()
        ids = iter(f"id-{number}" for number in range(10**9))
        self.node = Node(
            broker=MemoryBroker(clock=loop.time, random_id=lambda: next(ids)),
            options=NodeOptions(namespaces={}, default=Namespace()),
            loop=loop,
            wall_ms=lambda: 0,
            random_id=lambda: next(ids),
        )
        options = {"breaker": BreakerOptions(failures=1000), "timeout_s": 5.0, **upstream}
        self.upstream = Upstream(
            "app",
            UpstreamOptions(addresses=(parse_address(address),), **options),
            loop=loop,
            transport=HttpTransport,
            resolve=system_resolver(loop),
        )
        self.counts = GripCounts("chat", loop.time)
        signature = client.pop("signature", lambda: "")
        headers = frozenset(client.pop("response_headers", ()))
        self.route = GripRoute(
            Places(
                backend=self.upstream,
                key_of=key_by("address"),
                hearing=self._hear,
                signature=signature,
                random_id=lambda: next(ids),
                guard=client.pop("guard", None),
                limiter=client.pop("limiter", None),
            ),
            GripOptions(ClientOptions(**{"prefix": "grip:", "patience_s": 5.0, **client}), headers),
            self.counts,
        )
        deflate = DeflateOptions() if edge.pop("compression", False) else None
        self.stats = EdgeStats()
        self.edge = Edge(
            protocol=Connection,
            loop=loop,
            routes=PathTable({"/chat/*": RouteOptions(deflate=deflate)}),
            factories={},
            passages=PathTable({"/chat/*": self.route}),
            options=EdgeOptions(**edge),
            stats=self.stats,
        )
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.sock.getsockname()[1]
        self.listener = Listener(self.edge, self.sock, loop=loop)

    def _hear(self, connection: Connection, client: str, user: str) -> BareClient:
        encoding = make_bare_encoding(connection.shared_deflater, 0)
        return BareClient(self.node, connection, encoding, Caller(client=client, session="", user=user))

    def connect(self, path: str = "/chat/room", **options: Any) -> Any:
        options = {"ping_interval": None, "compression": None, "proxy": None, "close_timeout": 2} | options
        return websockets.connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    async def gone(self) -> None:
        """Wait until nobody is connected any more, and nothing of them is left."""
        async with asyncio.timeout(20):
            while self.edge.connections or self.route._tasks:  # noqa: ASYNC110 there is no event for it
                await asyncio.sleep(0.01)
        assert self.stats.accepted == self.stats.closed
        assert (self.counts.open, self.counts.subscriptions) == (0, 0)
        assert not [channel.name for channel in self.node.hub.channels() if channel.cursors]
        assert not self.node.bare._by_channel


@asynccontextmanager
async def rig(
    service: AppService | str,
    *,
    edge: dict[str, Any] | None = None,
    upstream: dict[str, Any] | None = None,
    **client: Any,
) -> AsyncIterator[Rig]:
    """A listening edge in front of a service; in the end nothing of it may be left."""
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(service, AppService):
            await stack.enter_async_context(service)
        address = service.url if isinstance(service, AppService) else service
        made = Rig(address, edge or {}, upstream or {}, **client)
        await made.node.start()
        await made.upstream.start()
        try:
            yield made
        finally:
            made.listener.close()
            if made.edge.connections:
                made.edge.stop()
            await made.gone()
            if not made.edge.stopped:
                made.edge.stop()
            await made.upstream.stop()
            await made.node.stop()
