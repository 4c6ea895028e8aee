"""A Redis master with replicas, watched by Sentinels, as a shard.

It knows what Sentinels say, and leaves the rest to `Master`.

How it works: all Sentinels are asked at once where the master is, whenever a connection is to be made and
about once a second while there is one; the answer with the highest configuration epoch, the count of
failovers, is taken.  When it names another address than the one in use, the connections are dropped and made
anew.  What always holds: an address that a Sentinel gave is used only if the server there says that it is a
master.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from ...errors import BrokerUnavailableError
from .connection import Connection
from .dialing import Dialer, ask
from .master import Master
from .options import Address
from .polling import poll
from .shard import ShardListener
from .single import SingleShard

_logger = logging.getLogger(__name__)
_SETTLE_S: Final = 0.2


class Sighting(NamedTuple):
    """What a Sentinel says of the master; the greater one is the newer."""

    epoch: int
    address: Address


class SentinelGuide:
    """Asks the Sentinels.  `dialer` logs in to Sentinels, not to the master."""

    def __init__(self, dialer: Dialer, addresses: Sequence[Address], master_name: str) -> None:
        self._dialer = dialer
        self._addresses = addresses
        self._master_name = master_name
        self._connections: dict[Address, Connection] = {}
        self._epoch = 0

    async def locate(self) -> Address:
        """Return where the master is, as far as the Sentinels know.  Raises BrokerUnavailableError."""
        sightings = await poll((self._ask(address) for address in self._addresses), _SETTLE_S)
        newest = max(sightings)
        self._epoch = newest.epoch
        return newest.address

    async def lineage(self, connection: Connection) -> str | None:
        """Return the count of failovers, as the Sentinels last gave it."""
        return str(self._epoch)

    async def _connect(self, address: Address) -> Connection:
        connection = await self._dialer.connect(address, f"Sentinel {address}")
        standing = self._connections.get(address)
        if standing is not None and not standing.lost:
            connection.close()  # somebody else was faster
            return standing
        self._connections[address] = connection
        return connection

    def close(self) -> None:
        """Hang up.  Idempotent."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def _ask(self, address: Address) -> Sighting:
        connection = self._connections.get(address)
        if connection is None or connection.lost:
            connection = await self._connect(address)
        reply = await ask(connection, "SENTINEL", "MASTER", self._master_name)
        try:
            texts = [value.decode() for value in reply]
            fields = dict(zip(texts[::2], texts[1::2], strict=True))
            return Sighting(int(fields["config-epoch"]), Address(fields["ip"], int(fields["port"])))
        except (AttributeError, KeyError, TypeError, ValueError):
            connection.abort("it does not answer as a Sentinel does")
            raise BrokerUnavailableError(f"Sentinel {address} does not answer as a Sentinel does") from None


class SentinelShard(SingleShard):
    """A shard whose master the Sentinels name.  `start` before anything else."""

    def __init__(self, dialer: Dialer, random: Random, name: str, guide: SentinelGuide) -> None:
        super().__init__(dialer, random, name, guide)
        self._sentinels = guide
        self._watch: asyncio.Task[None] | None = None

    async def start(self, listener: ShardListener) -> None:
        """Connect, and from then on reconnect for ever.  Raises BrokerUnavailableError."""
        try:
            await super().start(listener)
        except BaseException:
            self._sentinels.close()
            raise
        self._watch = self._dialer.loop.create_task(self._watch_sentinels(self._master))

    async def stop(self) -> None:
        """Let what was sent be answered, for a moment, and disconnect.  Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await super().stop()
        self._sentinels.close()

    async def _watch_sentinels(self, master: Master) -> None:
        """Notice a failover also while the old master still answers."""
        while True:
            await asyncio.sleep(self._dialer.options.topology_s * self._random.uniform(0.75, 1.25))
            try:
                address = await self._sentinels.locate()
            except BrokerUnavailableError as problem:
                _logger.debug("redis: no Sentinel answers", extra={"reason": str(problem)})
                continue
            if master.connection is not None and address != master.address:
                master.connection.abort(f"the Sentinels name another master: {address}")
