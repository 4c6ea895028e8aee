"""A worker process: an edge and a node on what all workers listen on; its broker is the supervisor's,
or Redis.

Started by the supervisor as `python -m gateway.worker FD`, with its settings as JSON on standard input; FD is
its end of the socket to the supervisor.  It knows nothing of HTTP.  What always holds: when the supervisor is
gone it ends, within a second; it obeys no signal but SIGTERM, upon which it lets its clients go and ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from . import logs
from .broker import Broker, wire
from .broker.redis.broker import RedisBroker
from .broker.remote import RemoteBroker
from .collector import leave_out_what_is_there
from .config import Address, Config
from .config.broker_url import MEMORY
from .config.load import from_mapping
from .connection._census import Census
from .connection._edge import Edge
from .draining import Drain, Drained
from .errors import CommandError, GatewayError
from .holding import SessionHolder
from .limiting import Limiting
from .listeners import EDGE, listen_tcp
from .listing import read_question
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
from .publish_times import Sample
from .service_view import ServiceView
from .services import Services
from .tls import EdgeTls, edge_tls

_ORPHAN_DRAIN_S: Final = 0.5

_log = logging.getLogger("gateway.worker")


class TcpPort(msgspec.Struct, frozen=True, array_like=True):
    """A port on which every worker listens with a socket of its own."""

    host: str
    port: int
    only_ipv6: bool


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a worker at its start.

    `config` is TOML, without secrets; `sockets` are descriptors of listening sockets that it inherits,
    `census` is that of the memory in which the connections of `processes` are counted.
    """

    number: int
    config: str
    ports: list[TcpPort]
    sockets: list[int]
    api_ports: list[int]
    max_connections: int
    census: int
    processes: int
    log_format: str
    broker: str = MEMORY


class Worker:
    """The parts of one worker, and what the supervisor may ask of it."""

    def __init__(
        self, settings: WorkerSettings, link: socket.socket, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._config = self._read(settings.config)
        self._sock = link
        self._ending = asyncio.Event()
        self._orphaned = False
        self._link = RemoteBroker(
            loop=loop, connect=self._connect, on_question=self._answer, on_lost=self._orphan
        )
        self._redis: RedisBroker | None = None
        broker: Broker = self._link
        if settings.broker != MEMORY:
            broker = made = make_broker(self._config, loop)
            self._redis = made if isinstance(made, RedisBroker) else None
        self._node = make_node(self._config, broker, loop)
        self._services = Services(self._config, loop)
        to_supervisor = self._link.tell if self._redis is None else None
        self._services.serve(self._node, broker, to_supervisor=to_supervisor)
        self._view: ServiceView | None = None
        self._edge: Edge | None = None
        self._tls: EdgeTls | None = None
        self._limiting: Limiting | None = None
        self._questions: dict[str, Callable[[bytes], object]] = {
            "ping": lambda data: None,
            "node": lambda data: self._view and self._view.node_here(),
            "metrics": lambda data: [*self._samples()],
            "upstreams": lambda data: self._view and self._view.describe_upstreams(),
            "drain": self._drain,
            "levels": self._hear_levels,
            "healthy": lambda data: self._redis is None or self._redis.healthy,
        }

    def end(self) -> None:
        """Let all clients go, and end."""
        self._ending.set()

    async def run(self) -> int:
        """Serve until the end; return the exit status."""
        if self._redis is None:
            SessionHolder(self._node, self._hold, self._release)
        else:
            await self._link.start(self._node)  # for questions alone
        try:
            await self._node.start()
            await self._services.start()
            servers, edge = await self._listen()
        except GatewayError as problem:
            self._link.tell(wire.Notice("failed", str(problem).encode()))
            await self._stop()
            return 1
        leave_out_what_is_there()
        self._link.tell(wire.Notice("listening", b""))
        await self._ending.wait()
        timeout_s = _ORPHAN_DRAIN_S if self._orphaned else self._config.server.shutdown_timeout
        await drain(self._node, edge, servers, timeout_s=timeout_s)
        await self._stop()
        return 1 if self._orphaned else 0

    async def _stop(self) -> None:
        await self._services.settle()
        if self._limiting is not None:
            self._limiting.stop()
        await self._node.stop()
        await self._services.stop()
        await self._link.stop()

    def _read(self, text: str) -> Config:
        """Return a configuration that came from the supervisor, and the broker, which came beside it."""
        config = read_config(text)
        return replace(config, server=replace(config.server, broker=self._settings.broker))

    async def _connect(self) -> socket.socket:
        return self._sock

    async def _listen(self) -> tuple[list[Closable], Edge]:
        s = self._settings
        backlog = self._config.server.backlog
        socks = [
            listen_tcp(EDGE, Address(p.host, p.port), backlog, shared=True, only_ipv6=p.only_ipv6)
            for p in s.ports
        ]
        socks += [_inherited(descriptor) for descriptor in s.sockets]
        ports = tuple(s.api_ports)
        edge = make_edge(
            self._config,
            self._node,
            self._services,
            api_ports=ports,
            max_connections=s.max_connections,
            census=self._census(),
        )
        self._edge = edge
        self._limiting = Limiting(self._config, self._node, edge, self._notify)
        self._view = ServiceView(self._node, edge.stats)
        connect_view(self._view, self._node.broker)
        self._services.show(self._view)
        self._tls = edge_tls(self._config)
        return await serve_edge(edge, socks, self._config, self._tls), edge

    def _census(self) -> Census:
        s = self._settings
        census = Census(s.census, processes=s.processes, me=s.number, most=s.max_connections)
        os.close(s.census)
        return census

    def _orphan(self) -> None:
        _log.error("the supervisor is gone, or this worker was given up: it ends")
        self._orphaned = True
        self._ending.set()

    # -- what the supervisor asks, and is told ------------------------------------------------

    def _answer(self, what: str, data: bytes) -> bytes | Awaitable[bytes]:
        if what == "reload":
            return self._reload(data)
        if what not in self._questions:  # a page of a list
            what, asked = read_question(what)
            lists: dict[str, Callable[[ServiceView], object]] = {
                "channels": lambda view: view.channels_here(asked),
                "connections": lambda view: view.connections_here(asked),
            }
            return msgspec.msgpack.encode(self._view and lists[what](self._view))
        return msgspec.msgpack.encode(self._questions[what](data))

    async def _reload(self, data: bytes) -> bytes:
        self._config = self._read(data.decode())
        change_node(self._config, self._node)
        logging.getLogger().setLevel(self._config.server.log_level.upper())
        if self._tls is not None:
            self._tls.reload()
        if self._limiting is not None:
            self._limiting.reload(self._config)
        await self._services.reload(self._config, self._node, self._change_edge)
        return b""

    def _drain(self, data: bytes) -> Drained | None:
        try:
            return self._services.drain(msgspec.msgpack.decode(data, type=Drain))
        except CommandError:  # it is about to be told of another configuration, or was
            return None

    def _change_edge(self) -> None:
        if self._edge is not None:
            ports = tuple(self._settings.api_ports)
            change_edge(self._config, self._edge, self._node, self._services, api_ports=ports)

    def _samples(self) -> list[Sample]:
        samples = [*self._view.samples()] if self._view is not None else []
        used = resource.getrusage(resource.RUSAGE_SELF)
        labels = {"worker": str(self._settings.number)}
        cpu_s, resident = used.ru_utime + used.ru_stime, resident_bytes()
        samples += [
            ("ringgate_worker_cpu_seconds", "counter", "processor time of worker processes", labels, cpu_s),
            ("ringgate_worker_resident_bytes", "gauge", "memory of worker processes", labels, resident),
        ]
        return samples

    def _hear_levels(self, data: bytes) -> None:
        if self._limiting is not None:
            self._limiting.hear(data)

    def _notify(self, what: str, data: bytes) -> None:
        self._link.tell(wire.Notice(what, data))

    def _hold(self, client: str, session: str, record: bytes, ttl_s: float) -> None:
        self._link.tell(wire.HoldSession(client, session, record, ttl_s))

    def _release(self, client: str) -> None:
        self._link.tell(wire.ReleaseSession(client))


def _inherited(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def read_config(text: str) -> Config:
    """Return a configuration that came from the supervisor."""
    return from_mapping(tomllib.loads(text))


def resident_bytes() -> int:
    """Return this process's memory, or 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


async def _work(settings: WorkerSettings, link: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    worker = Worker(settings, link, loop)
    loop.add_signal_handler(signal.SIGTERM, worker.end)
    return await worker.run()


def main() -> int:
    """Be a worker; return the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):  # from a terminal they reach the whole group
        signal.signal(number, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerSettings)
    logs.configure(read_config(settings.config).server.log_level, settings.log_format)
    return uvloop.run(_work(settings, socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    sys.exit(main())
