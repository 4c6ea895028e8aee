"""Which of an upstream's addresses a client is passed to.

It joins a passage to the groups of `gateway.upstreams`; it knows neither sockets nor frames.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from ..connection.request import Request
from ..errors import ServiceUnavailableError
from ..upstreams.lease import Lease as Chosen
from ..upstreams.upstream import Upstream
from .dialing import Address


class Lease:
    """A chosen address, as a passage uses it (see `passage.Lease`)."""

    def __init__(self, chosen: Chosen, address: Address) -> None:
        self.chosen = chosen
        self.address = address
        self.connected = chosen.connected
        self.failed = chosen.failed
        self.release = chosen.release


class Choosing:
    """Picks addresses of one upstream; if its balance is a hash, clients with the same key stay together."""

    def __init__(self, upstream: Upstream, key_of: Callable[[Request, str], str]) -> None:
        self._upstream = upstream
        self._key_of = key_of
        self._tls: ssl.SSLContext | None = None

    def pick(self, client: Request, address: str, tried: Sequence[object]) -> Lease | None:
        """Return where to send a client, none of those that were tried; None when there is nowhere."""
        before = [lease.chosen.target for lease in tried if isinstance(lease, Lease)]
        try:
            chosen = self._upstream.lease(self._key_of(client, address), before)
        except ServiceUnavailableError:
            return None
        where = chosen.endpoint.address
        tls = self._context() if where.scheme == "https" else None
        return Lease(
            chosen,
            Address(
                chosen.endpoint.ip, where.port, tls, where.host, self._upstream.options.connect_timeout_s
            ),
        )

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def key_by(stays_with: str) -> Callable[[Request, str], str]:
    """Return what gives a client's key: by "address", "header:NAME", "cookie:NAME" or "query:NAME".

    The key is empty where the client has no such thing.
    """
    kind, _, name = stays_with.partition(":")
    if kind == "header":
        header = name.lower().encode()
        return lambda client, address: client.fields.get(header, b"").decode("latin-1")
    if kind == "cookie":
        return lambda client, address: _cookie(client, name)
    if kind == "query":
        return lambda client, address: parse_qs(client.query).get(name, [""])[0]
    return lambda client, address: address


def _cookie(client: Request, name: str) -> str:
    try:
        found = SimpleCookie(client.fields.get(b"cookie", b"").decode("latin-1")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value
