"""One Redis server as a shard.

It knows an address, and leaves the rest to `Master`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from random import Random
from typing import Any

from .connection import Connection
from .dialing import Dialer
from .master import Master, Surroundings, merged_stats
from .options import Address
from .pubsub import PLAIN
from .shard import Script, ShardListener


class Fixed:
    """A guide that knows one address; who is promoted there, and when, it does not know."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def locate(self) -> Address:
        """Return the address."""
        return self._address

    async def lineage(self, connection: Connection) -> str | None:
        """Return None."""
        return None


class SingleShard:
    """A shard that is one server.  `start` before anything else."""

    def __init__(self, dialer: Dialer, random: Random, address: Address) -> None:
        self._name = str(address)
        self._dialer = dialer
        self._random = random
        self._address = address
        self._master: Master | None = None

    @property
    def name(self) -> str:
        """Its address."""
        return self._name

    @property
    def connected(self) -> bool:
        """Both connections stand."""
        return self._master is not None and self._master.connected

    async def start(self, listener: ShardListener) -> None:
        """Connect, and from then on reconnect for ever.  Raises BrokerUnavailableError."""
        surroundings = Surroundings(self._dialer, self._random, PLAIN, listener, self._want_again)
        master = Master(surroundings, Fixed(self._address), self._name)
        try:
            await master.connect()
        except BaseException:
            await master.stop()
            raise
        master.begin()
        self._master = master

    async def stop(self) -> None:
        """Let what was sent be answered, for a moment, and disconnect.  Idempotent."""
        if self._master is not None:
            await self._master.stop()

    def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], *, writes: bool
    ) -> Coroutine[Any, Any, Any]:
        """Run a script.  Raises BrokerUnavailableError or OutcomeUnknownError."""
        return self._started.run(script, keys, args, writes=writes)

    def subscribe(self, channels: Sequence[bytes]) -> None:
        """Want the messages of these channels, until `unsubscribe`."""
        self._started.subscriber.want(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Want them no more."""
        self._started.subscriber.forget(channels)

    def stats(self) -> Mapping[str, float]:
        """Return gauges and counters."""
        return merged_stats([] if self._master is None else [self._master])

    @property
    def _started(self) -> Master:
        assert self._master is not None, "start it first"
        return self._master

    def _want_again(self, channel: bytes, reason: str) -> None:
        self._started.subscriber.want([channel])
