"""The one place that builds everything: configuration in, a running gateway out.

`Gateway` is the whole thing inside somebody's asyncio program; `run` is `ringgate serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
import uvloop

from . import closecodes
from .banner import render_banner
from .broker import Broker, ChannelOptions
from .broker.memory import MemoryBroker
from .config import Address, Config, NamespaceOptions
from .config.load import from_mapping
from .connection._edge import Edge, EdgeStats
from .connection.handshake import Accepted, DeflateOptions, RouteOptions
from .connection.interface import Connection, Handler, HandlerFactory
from .connection.options import EdgeOptions
from .descriptors import connections_that_fit
from .errors import ConfigError, UsageError
from .http.app import build_app
from .http.gateway_view import HttpOptions
from .http.metrics import Metrics
from .http.server import HttpServer
from .hub.channel import RingOptions
from .hub.encoding import Encoding
from .identifiers import RandomIds
from .message.codec import Codec
from .message.events import Reconnect
from .message.json import JsonCodec, check_json
from .message.names import is_channel_name, personal_channel
from .message.publication import Position
from .node import Node
from .options import Namespace, NodeOptions
from .service_view import ServiceView
from .session import Session

VERSION: Final = version("ringgate")
_log = logging.getLogger("gateway.server")


class Gateway:
    """A whole gateway in the running event loop.

    `config` is a `Config`, or a mapping of the form of the configuration file, such as
    `{"server": {"listen": "127.0.0.1:0"}}`.  Raises ConfigError when it is wrong.  It is an asynchronous
    context manager.  uvloop is the loop it is made for; asyncio's own works too.
    """

    def __init__(self, config: Config | Mapping[str, Any] | None = None) -> None:
        self.config = config if isinstance(config, Config) else from_mapping(config or {})
        self._edge: Edge | None = None
        self._node: Node | None = None
        self._http: HttpServer | None = None
        self._starting = False
        self._server: asyncio.Server | None = None
        self._edge_address = self._api_address = Address("", 0)

    async def __aenter__(self) -> Gateway:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def ws_url(self) -> str:
        """Where clients connect, such as `ws://127.0.0.1:8000/ws`."""
        return f"ws://{self._edge_address}/ws"

    @property
    def api_url(self) -> str:
        """Where services connect, such as `http://127.0.0.1:8001`."""
        return f"http://{self._api_address}"

    async def start(self) -> None:
        """Listen on both ports.  Raises ConfigError when a port cannot be had, BrokerUnavailableError."""
        if self._node is not None or self._starting:
            raise UsageError("the gateway was started before")
        self._starting = True
        try:
            await self._start(asyncio.get_running_loop())
        finally:
            self._starting = False

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        options = self.config.server
        async with contextlib.AsyncExitStack() as undo:
            edge_socket = undo.enter_context(_listen("server.listen", options.listen, options.backlog))
            api_socket = undo.enter_context(_listen("server.api_listen", options.api_listen, options.backlog))
            self._edge_address = _bound(edge_socket, options.listen)
            self._api_address = _bound(api_socket, options.api_listen)
            node = self._make_node(loop)
            await node.start()
            undo.push_async_callback(node.stop)
            edge = self._make_edge(loop, node)
            undo.callback(edge.stop)
            view = ServiceView(node, edge.stats)
            http = _make_http(self.config, view, node, api_socket, self._edge_address.port)
            await http.start()
            undo.push_async_callback(http.stop)
            self._server = await loop.create_server(edge, sock=edge_socket, backlog=options.backlog)
            undo.pop_all()
        self._node, self._edge, self._http = node, edge, http
        _log.info("listening", extra={"edge": str(self._edge_address), "api": str(self._api_address)})

    async def stop(self) -> None:
        """Send every client a close frame that tells it to resume; end within `server.shutdown_timeout`."""
        if self._node is None or self._edge is None or self._http is None or self._server is None:
            return
        node, edge, http, server = self._node, self._edge, self._http, self._server
        self._node = None
        deadline = node.loop.time() + self.config.server.shutdown_timeout
        node.draining = True
        server.close()
        after = node.options.drain_after_ms
        for session in list(node.sessions.values()):
            session.send(Reconnect(after=after, reason="drain"))
        edge.drain(closecodes.DRAIN, "the gateway is stopping")
        while edge.connections and node.loop.time() < deadline:  # noqa: ASYNC110 the edge has no event for it
            await asyncio.sleep(0.02)
        edge.stop()
        await http.stop()
        await node.stop()
        _log.info("stopped")

    async def publish(self, channel: str, data: object, *, key: str = "", exclude: str = "") -> Position:
        """Publish JSON-serialisable data, or bytes, to a channel; return where it stands.

        Raises CommandError when the channel's name or the payload is not acceptable, and
        BrokerError.
        """
        if self._node is None:
            raise UsageError("the gateway is not running")
        if isinstance(data, bytes):
            result = await self._node.publish(channel, data, binary=True, key=key, exclude=exclude)
        else:
            text = check_json(orjson.dumps(data))
            result = await self._node.publish(channel, text, key=key, exclude=exclude)
        return Position(result.epoch, result.offset)

    def _make_node(self, loop: asyncio.AbstractEventLoop) -> Node:
        return Node(
            broker=_make_broker(loop),
            options=_node_options(self.config),
            loop=loop,
            wall_ms=lambda: time.time_ns() // 1_000_000,
            random_id=RandomIds(),
        )

    def _make_edge(self, loop: asyncio.AbstractEventLoop, node: Node) -> Edge:
        codec = JsonCodec()
        factories: dict[str, HandlerFactory | None] = {
            "/ws": _session_factory(
                node, {"": codec, codec.subprotocol: codec}, self.config.websocket.compression_threshold
            )
        }
        routes = {"/ws": self._route(subprotocols=(codec.subprotocol,))}
        if self.config.server.echo:
            factories["/echo"] = None
            routes["/echo"] = self._route()
        return Edge(
            loop=loop,
            routes=routes,
            factories=factories,
            options=_edge_options(self.config),
            stats=EdgeStats(),
        )

    def _route(self, *, subprotocols: tuple[str, ...] = ()) -> RouteOptions:
        options = self.config.websocket
        deflate = None
        if options.compression:
            deflate = DeflateOptions(
                window_bits=options.compression_window_bits, takeover=options.compression_takeover
            )
        # The demo page comes from the internal port of the same host.
        return RouteOptions(
            subprotocols=subprotocols,
            origins=options.origins,
            deflate=deflate,
            sibling_ports=(self._api_address.port,),
        )


def _make_broker(loop: asyncio.AbstractEventLoop) -> Broker:
    return MemoryBroker(clock=loop.time, random_id=lambda: secrets.token_hex(8))


def _session_factory(node: Node, codecs: Mapping[str, Codec], threshold_bytes: int) -> HandlerFactory:
    def make(connection: Connection, accepted: Accepted) -> Handler:
        # Development mode: a client says who it is, and is believed.
        query = accepted.request.query
        named = parse_qs(query).get("user", [""])[0] if query else ""
        user = named if is_channel_name(personal_channel(named)) else ""
        encoding = Encoding(codecs[accepted.subprotocol], connection.shared_deflater, threshold_bytes)
        session = Session(node, connection, encoding, user=user)
        session.start()
        return session

    return make


def _make_http(
    config: Config, view: ServiceView, node: Node, sock: socket.socket, ws_port: int
) -> HttpServer:
    options = HttpOptions(
        version=VERSION,
        keys=tuple(key.reveal() for key in config.api.keys),
        listen_host=config.server.api_listen.host,
        max_body_bytes=config.api.max_body_bytes,
        ws_port=ws_port,
    )
    metrics = Metrics(view, options)
    node.observe_publish = metrics.observe_publish
    return HttpServer(build_app(view, options, metrics), sock)


def _edge_options(config: Config) -> EdgeOptions:
    w = config.websocket
    wanted = config.server.max_connections
    fitting = connections_that_fit(wanted)
    if fitting < wanted:
        _log.warning("max_connections is %d: the descriptor limit (ulimit -n) allows no more", fitting)
    return EdgeOptions(
        max_connections=fitting,
        max_message_bytes=w.max_message_bytes,
        max_fragments=w.max_fragments,
        handshake_timeout=w.handshake_timeout,
        message_timeout=w.message_timeout,
        ping_interval=w.ping_interval,
        idle_timeout=w.idle_timeout,
        max_missed_pings=w.max_missed_pings,
        close_timeout=w.close_timeout,
        compression_level=w.compression_level,
        compression_threshold=w.compression_threshold,
        compression_memory=w.compression_memory,
    )


def _node_options(config: Config) -> NodeOptions:
    namespaces = {name: _namespace(options) for name, options in config.namespaces.items()}
    return NodeOptions(
        namespaces=namespaces,
        default=namespaces["default"],
        ping_interval_s=config.websocket.ping_interval,
        resume_ttl_s=config.session.resume_ttl,
        max_channels=config.session.max_channels,
        max_commands_per_frame=config.session.max_commands_per_frame,
        max_publish_bytes=config.session.max_publish_bytes,
    )


def _namespace(options: NamespaceOptions) -> Namespace:
    return Namespace(
        broker=ChannelOptions(
            history_size=options.history_size,
            history_bytes=options.history_bytes,
            history_ttl_s=options.history_ttl,
            idempotency_ttl_s=options.idempotency_ttl,
            presence=options.presence,
        ),
        ring=RingOptions(
            policy=options.slow,
            bound_bytes=options.ring_bytes,
            idle_s=options.ring_idle,
            resumable=options.history_size > 0,
        ),
        join_leave=options.join_leave,
        may_subscribe=options.subscribe == "anyone",
        may_publish=options.publish == "anyone",
    )


def _listen(key: str, address: Address, backlog: int) -> socket.socket:
    """Return a listening socket.  Raises ConfigError naming the key when the address cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((address.host, address.port))
        # At once: two sockets may be bound to one port as long as neither listens.
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as problem:
        sock.close()
        reason = os.strerror(problem.errno) if problem.errno else str(problem)
        raise ConfigError(f"{key}: cannot listen on {address}: {reason}") from None
    return sock


def _bound(sock: socket.socket, address: Address) -> Address:
    return Address(address.host, sock.getsockname()[1])


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    return uvloop.run(_serve(config))


async def _serve(config: Config) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gateway = Gateway(config)
    await gateway.start()
    edge, api = gateway._edge_address, gateway._api_address
    sys.stdout.write(render_banner(config, version=VERSION, edge=edge, api=api))
    sys.stdout.flush()
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)  # a second signal ends the process at once
    await gateway.stop()
    return 0
