"""The one place that builds everything: configuration in, a running gateway out.

`Gateway` is the whole thing inside somebody's asyncio program; `run` is `ringgate serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import orjson
import uvloop

from .banner import render_banner
from .broker.redis.broker import RedisBroker
from .cluster_view import ClusterView
from .collector import leave_out_what_is_there
from .config import Address, Bound, Config
from .config.endpoints import tcp_addresses
from .config.load import from_mapping
from .connection._edge import Edge
from .errors import ConfigError, UsageError
from .internal_port import VERSION, InternalPort
from .limiting import Limiting
from .listeners import Listeners
from .message.json import check_json
from .message.publication import Position
from .node import Node
from .parts import (
    Closable,
    change_edge,
    change_node,
    connect_view,
    drain,
    make_broker,
    make_edge,
    make_node,
    serve_edge,
)
from .reload import Reload, log_reload, plan_reload
from .running import Running, show_config
from .service_view import ServiceView
from .services import Services
from .tls import EdgeTls, edge_tls

_log = logging.getLogger("gateway.server")


class Gateway:
    """A whole gateway in the running event loop.

    `config` is a `Config`, or a mapping of the form of the configuration file, such as
    `{"server": {"listen": "127.0.0.1:0"}}`.  Raises ConfigError when it is wrong.  It is an asynchronous
    context manager.  uvloop is the loop it is made for; asyncio's own works too.
    """

    def __init__(self, config: Config | Mapping[str, Any] | None = None) -> None:
        self.config = config if isinstance(config, Config) else from_mapping(config or {})
        self.running = Running(self.config)
        self._started = False
        self._edge: Edge | None = None
        self._node: Node | None = None
        self._http: InternalPort | None = None
        self._services: Services | None = None
        self._listeners: Listeners | None = None
        self._servers: list[Closable] = []
        self._tls: EdgeTls | None = None
        self._limiting: Limiting | None = None

    async def __aenter__(self) -> Gateway:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def listeners(self) -> Listeners:
        """Every socket that it listens on, also after `stop`.  Raises UsageError before `start`."""
        if self._listeners is None:
            raise UsageError("the gateway was not started")
        return self._listeners

    @property
    def edge_address(self) -> Address:
        """Host and port of clients, the first of several.  Raises UsageError where there is none."""
        return _first_tcp(self.listeners.edge_addresses)

    @property
    def api_address(self) -> Address:
        """Host and port of services, the first of several.  Raises UsageError where there is none."""
        return _first_tcp(self.listeners.api_addresses)

    @property
    def ws_url(self) -> str:
        """Where clients connect, such as `ws://127.0.0.1:8000/ws`; `wss:` with TLS.  Raises UsageError."""
        return f"{'wss' if self.config.server.tls_cert else 'ws'}://{self.edge_address}/ws"

    @property
    def api_url(self) -> str:
        """Where services connect, such as `http://127.0.0.1:8001`.  Raises UsageError."""
        return f"http://{self.api_address}"

    async def start(self) -> None:
        """Listen everywhere.  Raises ConfigError when an address cannot be had, BrokerUnavailableError."""
        if self._started:
            raise UsageError("the gateway was started before")
        if self.config.server.workers != 1:
            raise ConfigError("server.workers: more than one process is for `ringgate serve` only")
        loop = asyncio.get_running_loop()
        options = self.config.server
        self._started = True
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(setattr, self, "_started", False)
            self._listeners = listeners = Listeners(self.config)
            undo.callback(listeners.close)
            broker = make_broker(self.config, loop)
            node = make_node(self.config, broker, loop)
            await node.start()
            undo.push_async_callback(node.stop)
            services = Services(self.config, loop)
            services.serve(node, broker)
            await services.start()
            undo.push_async_callback(services.stop)
            self._tls = edge_tls(self.config)
            edge = make_edge(
                self.config,
                node,
                services,
                api_ports=listeners.api_ports,
                max_connections=options.max_connections,
            )
            undo.callback(edge.stop)
            self._limiting = limiting = Limiting(self.config, node, edge)
            undo.callback(limiting.stop)
            if isinstance(broker, RedisBroker):
                view: ServiceView = ClusterView(node, edge.stats, broker)
            else:
                view = ServiceView(node, edge.stats)
            connect_view(view, broker)
            services.show(view)
            show_config(view, self.running)
            http = InternalPort(self.config, view, listeners)
            await http.start()
            undo.push_async_callback(http.stop)
            socks = [listener.sock for listener in listeners.edge]
            self._servers = await serve_edge(edge, socks, self.config, self._tls)
            undo.pop_all()
        self._node, self._edge, self._http, self._services = node, edge, http, services
        log_listening(listeners)

    async def stop(self) -> None:
        """Send every client a close frame that tells it to resume; end within `server.shutdown_timeout`."""
        if self._node is None or self._edge is None or self._http is None or self._services is None:
            return
        node, edge, http, services = self._node, self._edge, self._http, self._services
        self._node = None
        self._started = False
        self.listeners.unlink_edge()
        await drain(node, edge, self._servers, timeout_s=self.config.server.shutdown_timeout)
        if self._limiting is not None:
            self._limiting.stop()
        await http.stop()
        await services.settle()
        await node.stop()
        await services.stop()
        _log.info("stopped")

    def reload(self, config: Config, then: Callable[[], None] | None = None) -> None:
        """Take from another configuration what can change while the gateway runs; log what cannot.

        Calls `then` once it holds.  Raises InvalidConfigError when that does not go together with what cannot
        change.
        """
        if self._node is None or self._http is None:
            raise UsageError("the gateway is not running")
        reload = plan_reload(self.config, config)
        self.listeners.check(reload.config)
        self.config = reload.config
        change_node(reload.config, self._node)
        self._http.reload(reload.config)
        if self._tls is not None:
            self._tls.reload()
        if self._limiting is not None:
            self._limiting.reload(reload.config)
        self._node.spawn(self._reload_services(self._node, reload, then))

    async def _reload_services(self, node: Node, reload: Reload, then: Callable[[], None] | None) -> None:
        edge, services = self._edge, self._services
        if edge is None or services is None:
            return

        def change() -> None:
            change_edge(reload.config, edge, node, services, api_ports=self.listeners.api_ports)

        await services.reload(reload.config, node, change)
        self.running.took(reload.config, reload.refused)
        log_reload(reload)
        if then is not None:
            then()

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


def _first_tcp(addresses: tuple[Bound, ...]) -> Address:
    for address in tcp_addresses(addresses):
        return address
    raise UsageError("the gateway listens on no TCP port: its Unix sockets are in `listeners`")


def log_listening(listeners: Listeners) -> None:
    """Log every address."""
    edge, api = (", ".join(map(str, of)) for of in (listeners.edge_addresses, listeners.api_addresses))
    _log.info("listening", extra={"edge": edge, "api": api})


class Servable(Protocol):
    """A gateway that `run` runs: of one process, or of several."""

    running: Running

    @property
    def listeners(self) -> Listeners:
        """Every socket that it listens on."""

    async def start(self) -> None:
        """Listen.  Raises GatewayError."""

    async def stop(self) -> None:
        """Let every client go, and end."""

    def reload(self, config: Config, then: Callable[[], None] | None = None) -> None:
        """Take what can change, and call `then` once it holds.  Raises InvalidConfigError."""


def usable_cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(config: Config, read_again: Callable[[], Config] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    On SIGHUP `read_again` gives the configuration anew; what it raises as ConfigError is logged.
    """
    workers = config.server.workers or usable_cores()
    config = replace(config, server=replace(config.server, workers=workers))
    if workers == 1:
        return uvloop.run(_serve(Gateway(config), config, read_again))
    from .supervisor import Supervisor

    return uvloop.run(_serve(Supervisor(config), config, read_again))


async def _serve(gateway: Servable, config: Config, read_again: Callable[[], Config] | None) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await gateway.start()
    if read_again is not None:
        loop.add_signal_handler(signal.SIGHUP, _reload, gateway, read_again)
    sys.stdout.write(render_banner(gateway.listeners.resolve(config), version=VERSION))
    sys.stdout.flush()
    leave_out_what_is_there()
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)  # a second signal ends the process at once
    await gateway.stop()
    return 0


def _reload(gateway: Servable, read_again: Callable[[], Config]) -> None:
    try:
        config = read_again()
        wanted = config.server.workers or usable_cores()
        level = logging.getLevelNamesMapping()[config.server.log_level.upper()]
        root = logging.getLogger()
        gateway.reload(
            replace(config, server=replace(config.server, workers=wanted)), partial(root.setLevel, level)
        )
        root.setLevel(min(root.level, level))  # what is said of the reload is heard if either level lets it
    except ConfigError as problem:
        gateway.running.failed()
        _log.error("the configuration was not reloaded: %s", problem)
    except Exception:  # noqa: BLE001 the gateway goes on as it is
        gateway.running.failed()
        _log.exception("the configuration was not reloaded")
