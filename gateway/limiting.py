"""The limits of a process that holds clients, made from the configuration, and what it shares with others.

What a gateway of one process and a worker have in common.  How it works: what users spend is added up in
Redis where that is the broker, else by the supervisor of several workers; connections of users and addresses
are counted by the supervisor.  What always holds: where nothing is limited the node has no limits, and the
edge no admission.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Protocol

import msgspec

from .broker.redis.broker import RedisBroker
from .config import Config
from .connection._edge import Edge
from .connection.addresses import TrustedNetworks
from .connection.admission import Admission
from .errors import BrokerError
from .exceeded import Exceeded
from .limits import LimitOptions, Limits, Spent
from .meters import Allowance
from .node import Node
from .tally import Tally

ENTER: Final = "enter"
LEAVE: Final = "leave"
SPENT: Final = "spent"
OVER: Final = "over"
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


def make_admission(config: Config, exceeded: Exceeded) -> Admission | None:
    """Return what finds clients' addresses; None where those of their sockets are theirs, uncounted."""
    options = config.edge
    trusted, most = TrustedNetworks(options.trusted_proxies), config.limits.connections_per_address
    if not trusted and not most and not limit_options(config).address.limited:
        return None
    return Admission(
        trusted=trusted,
        header=options.forwarded_header,
        most=most,
        on_refused=lambda address: exceeded.count("connections_per_address", address),
    )


class Limiting:
    """The limits of one process's node and edge.  `tell` is set in a worker."""

    def __init__(self, config: Config, node: Node, edge: Edge, tell: Tell | None = None) -> None:
        self._node = node
        self._edge = edge
        self._tell = tell
        self.limits = Limits(limit_options(config), node.loop, node.exceeded)
        if isinstance(node.broker, RedisBroker):
            self._redis = node.broker
            self.limits.share = self._share_by_redis
        elif tell is not None:
            self.limits.share = self._share_by_supervisor
        if tell is not None:
            self.limits.places = self
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Take other limits: for messages at once, for connections for those that come from now on."""
        options = self.limits.options = limit_options(config)
        self._node.rates.burst_s = options.burst_s
        counts_for_all = self.limits.places is not None and bool(options.connections_per_address)
        self._node.limits = self.limits if options.limited or counts_for_all else None
        admission = self._edge.admission
        if admission is None:
            self._edge.admission = make_admission(config, self._node.exceeded)
        else:
            admission.most = options.connections_per_address

    def stop(self) -> None:
        """Share nothing any more.  Idempotent."""
        self.limits.close()

    # -- with Redis -----------------------------------------------------------------------------

    def _share_by_redis(self, spent: list[Spent]) -> None:
        self._node.spawn(self._settle(spent))

    async def _settle(self, spent: list[Spent]) -> None:
        rate = self.limits.options.user

        async def settle(what: Spent) -> None:
            with contextlib.suppress(BrokerError):  # each process counts for itself meanwhile
                level = await self._redis.spend(what.user, (what.messages, what.bytes), rate)
                self.limits.told([Spent(what.user, *level)])

        await asyncio.gather(*map(settle, spent))

    # -- with the supervisor ----------------------------------------------------------------------

    def _send(self, what: str, value: object) -> None:
        if self._tell is not None:
            self._tell(what, msgspec.msgpack.encode(value))

    def _share_by_supervisor(self, spent: list[Spent]) -> None:
        self._send(SPENT, spent)

    def enter(self, client: str, keys: Sequence[tuple[str, int]]) -> None:
        """Have a connection counted."""
        if keys:
            self._send(ENTER, (client, keys))

    def leave(self, client: str) -> None:
        """Have it counted no more."""
        options = self.limits.options
        if options.connections_per_user or options.connections_per_address:
            self._send(LEAVE, client)

    def hear(self, what: str, data: bytes) -> None:
        """Take what the supervisor tells."""
        if what == LEVELS:
            self.limits.told(msgspec.msgpack.decode(data, type=list[Spent]))
            return
        client, key = msgspec.msgpack.decode(data)
        session = self._node.sessions.get(client)
        if session is not None:
            self.limits.over(session, key)


class Told(Hashable, Protocol):
    """A worker, as far as it is told something."""

    async def ask(self, what: str, data: bytes) -> bytes:
        """Ask it; the answer is of no interest here.  Raises BrokerUnavailableError when it is lost."""


class WorkerTally:
    """The supervisor's end: what all workers have, and spend.  See `tally.Tally`."""

    def __init__(self, config: Config, node: Node) -> None:
        self._node = node
        self._tally = Tally(limit_options(config).user)

    def reload(self, config: Config) -> None:
        """Take other limits."""
        self._tally.user = limit_options(config).user

    def hear(self, worker: Told, what: str, data: bytes) -> None:
        """Take what a worker tells."""
        if what == ENTER:
            client, keys = msgspec.msgpack.decode(data, type=tuple[str, list[tuple[str, int]]])
            key = self._tally.enter(worker, client, keys)
            if key:
                self._answer(worker, OVER, (client, key))
        elif what == LEAVE:
            self._tally.leave(worker, msgspec.msgpack.decode(data))
        elif what == SPENT:
            spent = msgspec.msgpack.decode(data, type=list[Spent])
            self._answer(worker, LEVELS, self._tally.spend(spent, self._node.loop.time()))

    def forget(self, worker: Told) -> None:
        """Count nothing of a worker that is gone."""
        self._tally.forget(worker)

    def _answer(self, worker: Told, what: str, value: object) -> None:
        self._node.spawn(_told(worker, what, msgspec.msgpack.encode(value)))


async def _told(worker: Told, what: str, data: bytes) -> None:
    with contextlib.suppress(BrokerError):  # it is gone
        await worker.ask(what, data)
