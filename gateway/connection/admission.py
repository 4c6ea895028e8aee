"""Who is at the other end behind proxies, and how many connections an address may have.

One for the connections of an edge; there is none where nothing of this is configured.  It knows requests,
addresses and counts, and connections only as things that have a peer.  How it works: a connection is counted
under its client's address as soon as that is known: when it arrives, or, behind a proxy whose headers are
believed, when its handshake has been read.

What always holds: `leave` takes back what `arrive` and `judge` counted, so no address keeps a count without
a connection; who is refused is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from .addresses import Ip, TrustedNetworks, limit_key, parse_ip, shown
from .answers import Refusal, too_many, unavailable
from .counts import Counting, Counts
from .forwarded import ENTRIES, Node, client_of
from .request import Request

WELCOME: Final = 0
TURNED_AWAY: Final = 1  # it is told once it asks
FLOOD: Final = 2  # it is dropped
NO_HEADER: Final = "none"
_TOLD_AT_A_TIME: Final = 16  # of one address: connections that are told 429; beyond, they are dropped


class Peer(Protocol):
    """A connection: what is at the other end of its socket."""

    @property
    def peername(self) -> object:
        """Return the address as sockets have it, or a text for a Unix socket."""


class _Client:
    """What is known of one connection's client.  `key`: under which name it is counted, if it is."""

    __slots__ = ("key", "node", "told")

    def __init__(self, node: Node | None) -> None:
        self.node = node
        self.key = ""
        self.told = ""  # under which name it waits to be refused


class Admission:
    """Finds clients' addresses, and bounds their connections.

    `header` is a key of `ENTRIES`, or "none"; `most` connections of one address are let in, 0 being no bound.
    `counts` counts them where other processes do, too.  `on_refused` hears the address of everybody who is
    refused.
    """

    def __init__(
        self,
        *,
        trusted: TrustedNetworks,
        header: str,
        most: int,
        counts: Counting | None = None,
        on_refused: Callable[[str], None] = lambda address: None,
    ) -> None:
        self.most = most
        self._counts = Counts() if counts is None else counts
        self._trusted = trusted
        self._header = header.encode()
        self._entries = ENTRIES.get(header)
        self._on_refused = on_refused
        self._clients: dict[Peer, _Client] = {}
        self._refused = Counts()  # by address: connections that wait to be told

    # -- what the edge tells --------------------------------------------------------------

    def expect(self, connection: Peer, ip: Ip, port: int) -> None:
        """Know a connection's client from a PROXY header, before it arrives."""
        self._clients[connection] = _Client((ip, port))

    def arrive(self, connection: Peer) -> int:
        """Take a new connection in; return WELCOME, or what becomes of it."""
        client = self._clients.get(connection)
        if client is None:
            client = self._clients[connection] = _Client(_node_of(connection.peername))
        if self._is_told_by(client.node):
            return WELCOME
        if self._count(client):
            return WELCOME
        key = limit_key(client.node[0]) if client.node else ""
        self._on_refused(key)
        if self._refused.add(key) > _TOLD_AT_A_TIME:
            self._refused.take(key)
            return FLOOD
        client.told = key
        return TURNED_AWAY

    def refusal(self, connection: Peer) -> Refusal:
        """Return what to tell a connection that was turned away."""
        client = self._clients.get(connection)
        return too_many() if client is not None and client.told else unavailable()

    def judge(self, connection: Peer, request: Request) -> Refusal | None:
        """Return why a connection whose handshake is good may not come in, or None."""
        client = self._clients.get(connection)
        if client is None or not self._is_told_by(client.node) or self._entries is None:
            return None
        values = request.values(self._header)
        client.node = client_of(values, client.node, self._trusted, self._entries)
        if self._count(client):
            return None
        self._on_refused(limit_key(client.node[0]) if client.node else "")
        return too_many()

    def move(self, connection: Peer, to: Peer) -> None:
        """Know the client of a connection as that of another thing, which has its socket from now on."""
        client = self._clients.pop(connection, None)
        if client is not None:
            self._clients[to] = client

    def leave(self, connection: Peer) -> None:
        """Forget a connection.  Idempotent."""
        client = self._clients.pop(connection, None)
        if client is not None:
            if client.key:
                self._counts.take(_name(client.key))
            self._refused.take(client.told)

    # -- what others ask --------------------------------------------------------------------

    def remote(self, connection: Peer) -> str:
        """Return the client's address for logs, with its port where that is known; "" without an address."""
        client = self._clients.get(connection)
        return shown(*client.node) if client is not None and client.node is not None else ""

    def key(self, connection: Peer) -> str:
        """Return under which name limits count the client; "" without an address."""
        client = self._clients.get(connection)
        return limit_key(client.node[0]) if client is not None and client.node is not None else ""

    def __len__(self) -> int:
        """Return how much is held of addresses."""
        return len(self._counts) + len(self._refused)

    def _is_told_by(self, node: Node | None) -> bool:
        """Tell whether a peer is a proxy whose header says who the client is."""
        return self._entries is not None and (None if node is None else node[0]) in self._trusted

    def _count(self, client: _Client) -> bool:
        """Count a connection under its client's address; false where there are too many."""
        if not self.most or client.node is None:
            return True
        key = limit_key(client.node[0])
        if self._counts.add(_name(key)) > self.most:
            self._counts.take(_name(key))
            return False
        client.key = key
        return True


def _name(key: str) -> str:
    """Return under which name an address is counted: never that of a user."""
    return f"a:{key}"


def _node_of(name: Any) -> Node | None:
    """Return address and port of what a socket says of its peer; None for a Unix socket."""
    if not isinstance(name, tuple):
        return None
    ip = parse_ip(name[0].partition("%")[0])
    return None if ip is None else (ip, int(name[1]))
