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
from ..upstreams.target import Endpoint
from ..upstreams.upstream import Upstream
from .crossing import Client
from .dialing import Address


class Lease:
    """A chosen address, as a crossing uses it (see `crossing.Picked`).  `among` is where it was chosen."""

    __slots__ = ("_among", "_upstream", "address", "chosen")

    def __init__(self, chosen: Chosen, address: Address, upstream: Upstream, among: Choosing) -> None:
        self.chosen = chosen
        self.address = address
        self._upstream = upstream
        self._among = among

    def stays(self) -> bool:
        """Tell whether its connections may go on: it works, or there is no other."""
        if self._upstream is not self._among.upstream:
            return not self._among.upstream.works()
        return self._upstream.stays(self.chosen.target)

    def leaves(self) -> bool:
        """Tell whether its connections are to go as soon as there is another: it is drained, or not ours."""
        return self._upstream is not self._among.upstream or self.chosen.target.draining

    def connected(self) -> None:
        """It answered well."""
        self.chosen.connected()

    def failed(self) -> None:
        """It did not answer, or not well."""
        self.chosen.failed()

    def release(self) -> None:
        """The connection is over."""
        self.chosen.release()


class Choosing:
    """Picks addresses of one upstream; if its balance is a hash, clients with the same key stay together."""

    def __init__(self, upstream: Upstream, key_of: Callable[[Client], str]) -> None:
        self.upstream = upstream
        self._key_of = key_of
        self._tls: ssl.SSLContext | None = None
        self._addresses: dict[Endpoint, Address] = {}

    def change(self, upstream: Upstream, key_of: Callable[[Client], str]) -> None:
        """Pick addresses of another upstream, or of one that has other options, or by another key."""
        self.upstream = upstream
        self._key_of = key_of
        self._addresses = {}

    def pick(self, client: Client, tried: Sequence[object]) -> Lease | None:
        """Return where to send a client, none of those that were tried; None when there is nowhere."""
        before = [lease.chosen.target for lease in tried if isinstance(lease, Lease)]
        try:
            chosen = self.upstream.lease(self._key_of(client), before)
        except ServiceUnavailableError:
            return None
        address = self._addresses.get(chosen.endpoint)
        if address is None:
            address = self._address_of(chosen.endpoint)
        return Lease(chosen, address, self.upstream, self)

    def _address_of(self, endpoint: Endpoint) -> Address:
        """Return an address that was not used before; those that are not there any more are forgotten."""
        there = {target.endpoint for target in self.upstream.targets}
        self._addresses = {known: a for known, a in self._addresses.items() if known in there}
        where, timeout_s = endpoint.address, self.upstream.options.connect_timeout_s
        tls = self._context() if where.scheme == "https" else None
        address = self._addresses[endpoint] = Address(endpoint.ip, where.port, tls, where.host, timeout_s)
        return address

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def key_by(stays_with: str) -> Callable[[Client], str]:
    """Return what gives a client's key: by "address", "user", "session" (the login that its token names),
    "path", "header:NAME", "cookie:NAME" or "query:NAME".

    The key is empty where the client has no such header, cookie or parameter.  Where it is not known who a
    client is, its address stands for that.
    """
    kind, _, name = stays_with.partition(":")
    if kind == "user":
        return lambda client: client.user or client.address
    if kind == "session":
        return lambda client: client.login or client.user or client.address
    if kind == "path":
        return lambda client: client.request.path
    if kind == "header":
        header = name.lower().encode()
        return lambda client: client.request.fields.get(header, b"").decode("latin-1")
    if kind == "cookie":
        return lambda client: _cookie(client.request, name)
    if kind == "query":
        return lambda client: parse_qs(client.request.query).get(name, [""])[0]
    return lambda client: client.address


def _cookie(client: Request, name: str) -> str:
    try:
        found = SimpleCookie(client.fields.get(b"cookie", b"").decode("latin-1")).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value
