"""The limits of a process that holds clients, made from the configuration, and what it shares with others.

What a gateway of one process and a worker have in common.  How it works: what users spend is added up in
Redis where that is the broker, else by the supervisor of several workers, as what addresses spend always is;
connections are counted in memory that the workers share (`census`).  What always holds: where nothing is
limited the node has no limits, and the edge no admission.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from typing import Final, Protocol

import msgspec

from .broker.redis.broker import RedisBroker
from .config import Config
from .connection._census import Census
from .connection._edge import Edge
from .connection.addresses import TrustedNetworks
from .connection.admission import Admission
from .errors import BrokerError
from .exceeded import Exceeded
from .limits import USER, LimitOptions, Limits, Spent
from .meters import Allowance
from .node import Node
from .tally import Tally

SPENT: Final = "spent"
LEVELS: Final = "levels"

Tell = Callable[[str, bytes], None]
"""Tells the supervisor something."""


def limit_options(config: Config) -> LimitOptions:
    """Return the limits of sessions."""
    limits = config.limits
    return LimitOptions(
        connection=Allowance(limits.connection_messages, limits.connection_bytes),
        user=Allowance(limits.user_messages, limits.user_bytes),
        address=Allowance(limits.address_messages, limits.address_bytes),
        burst_s=limits.burst,
        connections_per_user=limits.connections_per_user,
        connections_per_address=limits.connections_per_address,
    )


def make_admission(config: Config, exceeded: Exceeded, census: Census | None = None) -> Admission | None:
    """Return what finds clients' addresses; None where those of their sockets are theirs, uncounted."""
    options = config.edge
    trusted, most = TrustedNetworks(options.trusted_proxies), config.limits.connections_per_address
    if not trusted and not most and not limit_options(config).address.limited:
        return None
    return Admission(
        trusted=trusted,
        header=options.forwarded_header,
        most=most,
        counts=census,
        on_refused=lambda address: exceeded.count("connections_per_address", address),
    )


class Limiting:
    """The limits of one process's node and edge.  `tell` is set in a worker."""

    def __init__(self, config: Config, node: Node, edge: Edge, tell: Tell | None = None) -> None:
        self._node = node
        self._edge = edge
        self._tell = tell
        self._redis = node.broker if isinstance(node.broker, RedisBroker) else None
        self.limits = Limits(limit_options(config), node.loop, node.exceeded, edge.census)
        if tell is not None or self._redis is not None:
            self.limits.share = self._share
        if tell is None:  # this process knows all of an address
            self.limits.shared = frozenset({USER})
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Take other limits: for messages at once, for connections for those that come from now on."""
        options = self.limits.options = limit_options(config)
        self._node.rates.burst_s = options.burst_s
        self._node.limits = self.limits if options.limited else None
        admission = self._edge.admission
        if admission is None:
            self._edge.admission = make_admission(config, self._node.exceeded, self._edge.census)
        else:
            admission.most = options.connections_per_address

    def stop(self) -> None:
        """Share nothing any more.  Idempotent."""
        self.limits.close()

    def _share(self, spent: list[Spent]) -> None:
        """Have what was spent added up: by Redis what users of all gateways spent, else by the supervisor."""
        if self._redis is not None:
            users = [what for what in spent if what.who.startswith(USER)]
            self._node.spawn(self._settle(self._redis, users))
            spent = [what for what in spent if not what.who.startswith(USER)]
        if spent and self._tell is not None:
            self._tell(SPENT, msgspec.msgpack.encode(spent))

    async def _settle(self, redis: RedisBroker, spent: list[Spent]) -> None:
        rate = self.limits.options.user

        async def settle(what: Spent) -> None:
            with contextlib.suppress(BrokerError):  # each process counts for itself meanwhile
                level = await redis.spend(what.who.removeprefix(USER), (what.messages, what.bytes), rate)
                self.limits.told([Spent(what.who, *level)])

        await asyncio.gather(*map(settle, spent))

    def hear(self, data: bytes) -> None:
        """Take the levels that the supervisor tells."""
        self.limits.told(msgspec.msgpack.decode(data, type=list[Spent]))


class Told(Hashable, Protocol):
    """A worker, as far as it is told something."""

    async def ask(self, what: str, data: bytes) -> bytes:
        """Ask it; the answer is of no interest here.  Raises BrokerUnavailableError when it is lost."""


class WorkerTally:
    """The supervisor's end: what users and addresses spend in all workers.  See `tally.Tally`."""

    def __init__(self, config: Config, node: Node) -> None:
        self._node = node
        self._tally = Tally(limit_options(config))

    def reload(self, config: Config) -> None:
        """Take other limits."""
        self._tally.options = limit_options(config)

    def hear(self, worker: Told, what: str, data: bytes) -> None:
        """Take what a worker tells."""
        if what == SPENT:
            spent = msgspec.msgpack.decode(data, type=list[Spent])
            levels = self._tally.spend(spent, self._node.loop.time())
            self._node.spawn(_told(worker, msgspec.msgpack.encode(levels)))


async def _told(worker: Told, levels: bytes) -> None:
    with contextlib.suppress(BrokerError):  # it is gone
        await worker.ask(LEVELS, levels)
