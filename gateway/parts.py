"""The parts of a gateway that hold clients, made from the configuration: node, edge, sessions.

What a gateway of one process and a worker process have in common.  It knows nothing of HTTP, the
supervisor or signals.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import SystemRandom
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qs

from . import closecodes
from ._publishing import wall_ms
from .broker import Broker, ChannelOptions
from .broker.memory import MemoryBroker
from .broker.redis.broker import BrokerOptions, RedisBroker
from .broker.redis.deployment import make_sharding
from .broker.redis.metrics import metrics
from .broker.redis.options import RedisOptions as ConnectionOptions
from .cluster_view import answer_for
from .config import Config, NamespaceOptions
from .config.broker_url import MEMORY
from .connection._census import Census
from .connection._connection import Connection as EdgeConnection
from .connection._edge import Edge, EdgeStats
from .connection._sockets import Listener
from .connection.addresses import TrustedNetworks
from .connection.handshake import Accepted, DeflateOptions, RouteOptions
from .connection.interface import Connection, Handler, HandlerFactory
from .connection.options import EdgeOptions
from .deflate import Deflater
from .descriptors import connections_that_fit
from .holding import BatchedHolder
from .hub.channel import RingOptions
from .hub.encoding import Encoding
from .identifiers import RandomIds
from .limiting import make_admission
from .message.codec import Codec
from .message.events import Reconnect
from .message.json import JsonCodec
from .message.msgpack import MsgpackCodec
from .message.names import is_channel_name, personal_channel
from .message.protobuf import ProtobufCodec
from .node import Node
from .options import Namespace, NodeOptions
from .passthrough.paths import PathTable
from .permissions import Rule, compile_rule
from .proxied import ProxiedListener
from .service_view import ServiceView
from .services import Services
from .serving import serve_socket
from .session import Session
from .tls import EdgeTls

if TYPE_CHECKING:
    from .grip.route import GripRoute
    from .passthrough.passage import Passage

_log = logging.getLogger("gateway.server")

DEMO_NAMESPACE: Final = "ringgate-demo"  # of the demo page's board: gateway/http/demo
_DEMO_STATE_BYTES: Final = 64 << 10


def make_node(
    config: Config, broker: Broker, loop: asyncio.AbstractEventLoop, *, has_clients: bool = True
) -> Node:
    """Return a node that is not started; one that `has_clients` asks who they are, if that is configured."""
    node = Node(
        broker=broker,
        options=node_options(config),
        loop=loop,
        wall_ms=wall_ms,
        random_id=RandomIds(),
    )
    if isinstance(broker, RedisBroker):
        BatchedHolder(node, broker)
    if has_clients and config.authenticates:
        from .auth_parts import make_door  # it brings cryptography, of which others need nothing

        make_door(config, node)
    return node


def change_node(config: Config, node: Node) -> None:
    """Have a running node use what a new configuration says."""
    node.options = node_options(config)
    if node.door is not None:
        from .auth_parts import change_door

        change_door(config, node.door)


def make_broker(config: Config, loop: asyncio.AbstractEventLoop) -> MemoryBroker | RedisBroker:
    """Return the broker that a configuration names, not started."""
    if config.server.broker == MEMORY:
        return make_memory_broker(loop)
    urls, options = config.server.broker.split(), config.redis
    connections = ConnectionOptions(
        connect_timeout_s=options.connect_timeout, command_timeout_s=options.command_timeout
    )
    return RedisBroker(
        make_shards=lambda: make_sharding(urls, connections, loop, SystemRandom()),
        options=BrokerOptions(
            prefix=options.prefix,
            lease_s=options.lease,
            check_interval_s=options.check_interval,
            idle_s=options.channel_idle,
        ),
        loop=loop,
        random_id=RandomIds(),
    )


def make_memory_broker(loop: asyncio.AbstractEventLoop) -> MemoryBroker:
    """Return the broker of a gateway that is on its own."""
    return MemoryBroker(clock=loop.time, random_id=lambda: secrets.token_hex(8))


def connect_view(view: ServiceView, broker: Broker) -> None:
    """Have a view show what the broker counts, and other nodes see what the view shows."""
    if isinstance(broker, RedisBroker):
        view.broker_samples = lambda: metrics(broker.samples())
        broker.on_question = answer_for(view)


def make_codecs() -> tuple[Codec, ...]:
    """Return every encoding that clients can choose by subprotocol; the first is for those that do not."""
    return JsonCodec(), MsgpackCodec(), ProtobufCodec()


def make_edge(
    config: Config,
    node: Node,
    services: Services,
    *,
    api_ports: tuple[int, ...],
    max_connections: int,
    census: Census | None = None,
) -> Edge:
    """Return the edge of a node, for at most so many connections.  `api_ports` are those for services.

    `census` counts those of all workers.
    """
    codecs = make_codecs()
    factories: dict[str, HandlerFactory | None] = {
        "/ws": session_factory(
            node,
            {"": codecs[0], **{c.subprotocol: c for c in codecs}},
            config.websocket.compression_threshold,
        )
    }
    if config.server.echo:
        factories["/echo"] = None
    routes, passages = _tables(config, services.passages(lambda: edge, node), api_ports)
    edge = Edge(
        loop=node.loop,
        protocol=EdgeConnection,
        routes=routes,
        factories=factories,
        passages=passages,
        options=edge_options(config, max_connections),
        stats=EdgeStats(),
        admission=make_admission(config, node.exceeded, census),
    )
    edge.on_limit = node.exceeded.count
    edge.census = census
    return edge


def change_edge(
    config: Config, edge: Edge, node: Node, services: Services, *, api_ports: tuple[int, ...]
) -> None:
    """Have an edge use what a new configuration says of paths and origins, for those who come from now on."""
    routes, passages = _tables(config, services.passages(lambda: edge, node), api_ports)
    edge.change(routes=routes, passages=passages)


def _tables(
    config: Config, passages: Mapping[str, Passage | GripRoute], api_ports: tuple[int, ...]
) -> tuple[Mapping[str, RouteOptions], Mapping[str, Passage | GripRoute]]:
    """Return what an edge has by path: how to shake hands, and who takes connections that are not ours."""
    subprotocols = tuple(codec.subprotocol for codec in make_codecs())
    routes = {"/ws": _route(config, api_ports, subprotocols=subprotocols)}
    if config.server.echo:
        routes["/echo"] = _route(config, api_ports)
    if not passages:
        return routes, {}
    return PathTable(routes | dict.fromkeys(passages, _route(config, api_ports))), PathTable(passages)


def _route(config: Config, api_ports: tuple[int, ...], *, subprotocols: tuple[str, ...] = ()) -> RouteOptions:
    options = config.websocket
    deflate = None
    if options.compression:
        deflate = DeflateOptions(
            window_bits=options.compression_window_bits, takeover=options.compression_takeover
        )
    # The demo page comes from the internal port of the same host.
    return RouteOptions(
        subprotocols=subprotocols, origins=options.origins, deflate=deflate, sibling_ports=api_ports
    )


class Closable(Protocol):
    """What lets clients in."""

    def close(self) -> None:
        """Let nobody in any more; who is in stays.  Idempotent."""


async def serve_edge(
    edge: Edge, socks: Iterable[socket.socket], config: Config, tls: EdgeTls | None
) -> list[Closable]:
    """Let clients in at listening sockets; with TLS where there is a certificate and the socket is TCP."""
    return [await _serve_socket(edge, sock, config, tls) for sock in socks]


async def _serve_socket(edge: Edge, sock: socket.socket, config: Config, tls: EdgeTls | None) -> Closable:
    if config.edge.proxy_protocol and edge.admission is not None:
        sock.listen(config.server.backlog)
        return ProxiedListener(
            edge,
            sock,
            admission=edge.admission,
            trusted=TrustedNetworks(config.edge.trusted_proxies),
            tls=None if tls is None or sock.family == socket.AF_UNIX else tls.context,
            tls_shutdown_s=config.websocket.close_timeout,
        )
    if tls is None or sock.family == socket.AF_UNIX:
        sock.listen(config.server.backlog)
        return Listener(edge, sock, loop=edge.loop)
    return await serve_socket(
        edge,
        sock,
        backlog=config.server.backlog,
        tls=tls.context,
        tls_handshake_s=config.websocket.handshake_timeout,
        tls_shutdown_s=config.websocket.close_timeout,
    )


async def drain(node: Node, edge: Edge, servers: Iterable[Closable], *, timeout_s: float) -> None:
    """Accept nobody any more; tell every client to come back and resume; end within `timeout_s`.

    Ringgate's own clients are told over which time to come back; those of other services are closed over it.
    """
    deadline = node.loop.time() + timeout_s
    node.draining = True
    for server in servers:
        server.close()
    after = node.options.drain_after_ms
    for session in list(node.sessions.values()):
        session.send(Reconnect(after=after, reason="drain"))
    edge.drain(closecodes.DRAIN, "the gateway is stopping", min(after[1] / 1000, timeout_s / 2))
    while edge.connections and node.loop.time() < deadline:  # noqa: ASYNC110 the edge has no event for it
        await asyncio.sleep(0.02)
    edge.stop()


def session_factory(node: Node, codecs: Mapping[str, Codec], threshold_bytes: int) -> HandlerFactory:
    """Return what makes the sessions of connections; `codecs` by subprotocol.

    Messages that are smaller than `threshold_bytes` are not compressed.
    """
    encodings: dict[tuple[str, Deflater | None], Encoding] = {}  # as few as there are compressors

    def make(connection: Connection, accepted: Accepted) -> Handler:
        kind = (accepted.subprotocol, connection.shared_deflater)
        encoding = encodings.get(kind)
        if encoding is None:
            encoding = encodings[kind] = Encoding(codecs[kind[0]], kind[1], threshold_bytes)
        if node.door is not None:
            return node.door.open(connection, accepted, encoding)
        # Development mode: a client says who it is, and is believed.
        query = accepted.request.query
        named = parse_qs(query).get("user", [""])[0] if query else ""
        user = named if is_channel_name(personal_channel(named)) else ""
        session = Session(node, connection, encoding, user=user)
        session.start()
        return session

    return make


def edge_options(config: Config, wanted: int) -> EdgeOptions:
    """Return the edge's options for `wanted` connections, or for as many as descriptors allow."""
    w = config.websocket
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


def node_options(config: Config) -> NodeOptions:
    """Return the node's options."""
    namespaces = {name: _namespace(options, config) for name, options in config.namespaces.items()}
    namespaces.setdefault(DEMO_NAMESPACE, _namespace(_demo_board(config.namespaces["default"]), config))
    return NodeOptions(
        namespaces=namespaces,
        default=namespaces["default"],
        ping_interval_s=config.websocket.ping_interval,
        resume_ttl_s=config.session.resume_ttl,
        max_channels=config.session.max_channels,
        max_commands_per_frame=config.session.max_commands_per_frame,
        max_publish_bytes=config.session.max_publish_bytes,
        max_keys=config.session.max_keys,
        revocation_ttl_s=config.auth.revocation_ttl if config.authenticates else 0.0,
    )


def _demo_board(default: NamespaceOptions) -> NamespaceOptions:
    """Return the options of the demo page's board: those of every channel, but it has a state."""
    return replace(
        default,
        state=True,
        max_state_bytes=_DEMO_STATE_BYTES,
        ring_bytes=max(default.ring_bytes, 2 * _DEMO_STATE_BYTES),
        slow="disconnect",
    )


def _rule(words: tuple[str, ...], kind: str, action: str, config: Config) -> Rule:
    """Return the rule of a permission; nothing stated means anyone, but nobody with authentication."""
    authenticates = config.authenticates
    stated = words or (("nobody",) if authenticates else ("anyone",))
    all_authenticated = authenticates and not config.auth.anonymous
    return compile_rule(stated, kind, action, all_authenticated=all_authenticated)


def _namespace(options: NamespaceOptions, config: Config) -> Namespace:
    subscribe = _rule(options.subscribe, "subscribe", "subscribe", config)
    publish = _rule(options.publish, "publish", "publish", config)
    return Namespace(
        broker=ChannelOptions(
            history_size=options.history_size,
            history_bytes=options.history_bytes,
            history_ttl_s=options.history_ttl,
            idempotency_ttl_s=options.idempotency_ttl,
            presence=options.presence,
            max_state_bytes=options.max_state_bytes if options.state else 0,
            state_ttl_s=options.state_ttl if options.state else 0.0,
            presence_by_user=options.join_leave == "user",
        ),
        ring=RingOptions(
            policy=options.slow,
            bound_bytes=options.ring_bytes,
            idle_s=options.ring_idle,
            resumable=options.history_size > 0 or options.state,
            keep_s=options.history_ttl,
        ),
        join_leave=bool(options.join_leave),
        may_subscribe=subscribe.always,
        may_publish=publish.always,
        subscribe=subscribe,
        publish=publish,
        see_presence=_rule(options.see_presence, "see", "presence", config),
        see_history=_rule(options.see_history, "see", "history", config),
        publish_rate=float(options.publish_rate),
    )
