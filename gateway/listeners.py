"""The listening sockets of a gateway: opened from its configuration, or handed in, and closed at the end.

It knows addresses, Unix paths and what systemd hands in; nothing of who serves them.  What always
holds: either everything is open, or nothing is; files of Unix sockets that were made here are gone after
`close`; sockets that were handed in are never unlinked.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from .config import Address, Bound, Config, Endpoint, FromSystemd, InvalidConfigError, UnixPath
from .config.endpoints import tcp_addresses
from .config.rules import check_exposure
from .errors import ConfigError
from .systemd import Handed, handed_in, open_copy, why_none
from .unix_sockets import UnixFile, listen_unix

EDGE: Final = "server.listen"
API: Final = "server.api_listen"

_log = logging.getLogger("gateway.server")


@dataclass(frozen=True)
class Listener:
    """One socket and where it really listens.  `file` is that of a Unix socket that was made here.

    A `holder` does not listen: it holds a TCP port on which every worker listens with a socket of its own.
    """

    sock: socket.socket
    address: Bound
    file: UnixFile | None = None
    holder: bool = False
    only_ipv6: bool = False

    def unlink(self) -> None:
        """Remove the file, so that nobody new comes.  Idempotent; before the socket is closed."""
        if self.file is not None and self.sock.fileno() >= 0:
            self.file.remove()

    def close(self) -> None:
        """Unlink and close.  Idempotent."""
        self.unlink()
        self.sock.close()


class Listeners:
    """All listening sockets of one gateway: `edge` for clients, `api` for services.

    With `shared` the edge is for worker processes: see `Listener.holder`.  Raises ConfigError, which names
    the option; nothing is open then.
    """

    def __init__(self, config: Config, *, shared: bool = False) -> None:
        options = config.server
        claims = Claims(os.environ, os.getpid(), {EDGE: options.listen, API: options.api_listen})
        with ExitStack() as undo:
            self.edge = _open_all(EDGE, options.listen, config, claims, undo, shared=shared)
            self.api = _open_all(API, options.api_listen, config, claims, undo, shared=False)
            self.check(config)
            undo.pop_all()
        claims.warn_of_rest()

    @property
    def edge_addresses(self) -> tuple[Bound, ...]:
        """Where clients connect."""
        return tuple(listener.address for listener in self.edge)

    @property
    def api_addresses(self) -> tuple[Bound, ...]:
        """Where services connect."""
        return tuple(listener.address for listener in self.api)

    @property
    def edge_ports(self) -> tuple[int, ...]:
        """TCP ports of the edge."""
        return tuple(address.port for address in tcp_addresses(self.edge_addresses))

    @property
    def api_ports(self) -> tuple[int, ...]:
        """TCP ports for services."""
        return tuple(address.port for address in tcp_addresses(self.api_addresses))

    def resolve(self, config: Config) -> Config:
        """Return a configuration with the addresses that are really listened on."""
        in_use = replace(config.server, listen=self.edge_addresses, api_listen=self.api_addresses)
        return replace(config, server=in_use)

    def check(self, config: Config) -> None:
        """Raise InvalidConfigError when others could connect who must not: also to what was handed in."""
        problems = check_exposure(self.resolve(config), "from systemd")
        if problems:
            raise InvalidConfigError(problems)

    def unlink_edge(self) -> None:
        """Let no new client find a Unix socket."""
        for listener in self.edge:
            listener.unlink()

    def unlink_api(self) -> None:
        """Let no new service find a Unix socket."""
        for listener in self.api:
            listener.unlink()

    def close(self) -> None:
        """Close all.  Idempotent."""
        for listener in (*self.edge, *self.api):
            listener.close()


class Claims:
    """Who takes which of the sockets that were handed in.  `wanted` has each option's endpoints."""

    def __init__(
        self, environment: Mapping[str, str], pid: int, wanted: Mapping[str, tuple[Endpoint, ...]]
    ) -> None:
        self._environment = environment
        self._pid = pid
        self._named = {
            e.name
            for endpoints in wanted.values()
            for e in endpoints
            if isinstance(e, FromSystemd) and e.name
        }
        self._rest: list[Handed] | None = None

    def take(self, key: str, endpoint: FromSystemd) -> list[Handed]:
        """Return the sockets of an endpoint, at least one.  Raises ConfigError."""
        every = self._handed(key)
        if endpoint.name:
            taken = [handed for handed in every if handed.name == endpoint.name]
        else:
            taken = [handed for handed in every if handed.name not in self._named]
        if not taken:
            raise ConfigError(f"{key}: no sockets for {endpoint}: {self._why_none(every)}")
        self._rest = [handed for handed in self._rest or () if handed not in taken]
        return taken

    def warn_of_rest(self) -> None:
        """Say which sockets nobody takes: whoever connects there waits in vain."""
        for handed in self._handed_or_none() if self._rest is None else self._rest:
            _log.warning("a socket from systemd is not listened on", extra={"socket_name": handed.name})

    def _handed(self, key: str) -> list[Handed]:
        try:
            every = handed_in(self._environment, self._pid)
        except ValueError as problem:
            raise ConfigError(f"{key}: what systemd says of its sockets is malformed: {problem}") from None
        if self._rest is None:
            self._rest = every
        return every

    def _handed_or_none(self) -> list[Handed]:
        try:
            return handed_in(self._environment, self._pid)
        except ValueError:
            return []

    def _why_none(self, every: list[Handed]) -> str:
        if not every:
            return why_none(self._environment, self._pid)
        return f"those that were handed in are named {', '.join(sorted({handed.name for handed in every}))}"


def _open_all(
    key: str,
    endpoints: tuple[Endpoint, ...],
    config: Config,
    claims: Claims,
    undo: ExitStack,
    *,
    shared: bool,
) -> list[Listener]:
    listeners: list[Listener] = []
    for endpoint in endpoints:
        if isinstance(endpoint, FromSystemd):
            opened = [_handed_listener(key, handed) for handed in claims.take(key, endpoint)]
        elif isinstance(endpoint, UnixPath):
            opened = [_unix_listener(key, endpoint, config)]
        else:
            only_ipv6 = needs_only_ipv6(endpoint, endpoints)
            opened = [_tcp_listener(key, endpoint, config.server.backlog, shared=shared, only_ipv6=only_ipv6)]
        for listener in opened:
            undo.callback(listener.close)
        listeners += opened
    return listeners


def needs_only_ipv6(address: Address, endpoints: tuple[Endpoint, ...]) -> bool:
    """Tell whether an IPv6 socket must leave IPv4 on its port to another one of the same list."""
    others = [other for other in tcp_addresses(endpoints) if ":" not in other.host]
    return ":" in address.host and any(address.port == other.port for other in others)


def _tcp_listener(key: str, address: Address, backlog: int, *, shared: bool, only_ipv6: bool) -> Listener:
    if not shared:
        sock = listen_tcp(key, address, backlog, only_ipv6=only_ipv6)
        return Listener(sock, bound(sock, address))
    if address.port:  # once without sharing: else another program's port would be shared with it
        listen_tcp(key, address, backlog, only_ipv6=only_ipv6).close()
    sock = listen_tcp(key, address, 0, shared=True, only_ipv6=only_ipv6)
    return Listener(sock, bound(sock, address), holder=True, only_ipv6=only_ipv6)


def _unix_listener(key: str, endpoint: UnixPath, config: Config) -> Listener:
    try:
        sock, file = listen_unix(endpoint.path, config.server.backlog, config.server.socket_mode)
    except OSError as problem:
        raise _cannot(key, endpoint, problem) from None
    return Listener(sock, endpoint, file)


def _handed_listener(key: str, handed: Handed) -> Listener:
    try:
        sock = open_copy(handed)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise ConfigError(f"{key}: cannot use the socket {handed.name} from systemd: {reason}") from None
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = name if isinstance(name, str) else "@" + name[1:].decode("utf-8", "backslashreplace")
        return Listener(sock, UnixPath(path))
    _set_tcp_options(sock)
    return Listener(sock, Address(name[0].partition("%")[0], name[1]))


def listen_tcp(
    key: str, address: Address, backlog: int, *, shared: bool = False, only_ipv6: bool = False
) -> socket.socket:
    """Return a listening socket.  Raises ConfigError naming the key when the address cannot be had.

    With `shared` other processes of the gateway listen on the address too, and with a backlog of 0 the
    socket only holds it.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _set_tcp_options(sock)
        if only_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address.host, address.port))
        # At once: two sockets may be bound to one port as long as neither listens.
        if backlog:
            sock.listen(backlog)
        sock.setblocking(False)
    except OSError as problem:
        sock.close()
        raise _cannot(key, address, problem) from None
    return sock


def _set_tcp_options(sock: socket.socket) -> None:
    """Set what accepted connections inherit."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _cannot(key: str, endpoint: Bound, problem: OSError) -> ConfigError:
    reason = problem.strerror or str(problem)
    if problem.errno and isinstance(endpoint, Address):
        reason = os.strerror(problem.errno)
    return ConfigError(f"{key}: cannot listen on {endpoint}: {reason}")


def bound(sock: socket.socket, address: Address) -> Address:
    """Return the address that a socket really has."""
    return Address(address.host, sock.getsockname()[1])
