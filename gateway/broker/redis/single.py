"""One Redis server as a shard; and what every shard with one master is.

It knows an address, and leaves the rest to `Master`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any

from ...errors import BrokerUnavailableError
from .connection import Connection
from .dialing import Dialer
from .master import Guide, Master, Surroundings, merged_stats
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
    """A shard that has one master, where its guide says.  `start` before anything else."""

    def __init__(self, dialer: Dialer, random: Random, name: str, guide: Guide) -> None:
        self._name = name
        self._dialer = dialer
        self._random = random
        self._guide = guide
        self._started: Master | None = None

    @property
    def name(self) -> str:
        """What logs and metrics call it."""
        return self._name

    @property
    def connected(self) -> bool:
        """Both connections to the master stand."""
        return self._started is not None and self._started.connected

    def servers(self) -> Mapping[str, bytes]:
        """Return the one server that there is."""
        return {self._name: b"0"}

    def incarnations(self) -> frozenset[bytes]:
        """Return the incarnation of the one server that there is."""
        return frozenset(() if self._started is None else (self._started.incarnation,))

    def reaches(self, key: bytes) -> bool:
        """Tell whether the server is connected to."""
        return self.connected

    async def start(self, listener: ShardListener) -> None:
        """Connect, and from then on reconnect for ever.  Raises BrokerUnavailableError."""
        surroundings = Surroundings(self._dialer, self._random, PLAIN, listener, self._want_again)
        master = Master(surroundings, self._guide, self._name)
        try:
            await master.connect()
        except BaseException:
            await master.stop()
            raise
        master.begin()
        self._started = master

    async def stop(self) -> None:
        """Let what was sent be answered, for a moment, and disconnect.  Idempotent."""
        if self._started is not None:
            await self._started.stop()

    def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], *, writes: bool
    ) -> Coroutine[Any, Any, Any]:
        """Run a script.  Raises BrokerUnavailableError or OutcomeUnknownError."""
        return self._master.run(script, keys, args, writes=writes)

    def begin(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | int],
        take: Callable[[Any], None],
        *,
        writes: bool,
    ) -> None:
        """Run a script; `take` gets what `run` would return or raise."""
        if self._started is None:
            take(BrokerUnavailableError(f"{self._name}: not started"))
        else:
            self._started.begin_run(script, keys, args, take, writes=writes)

    def before_sending(self, work: Callable[[], None]) -> None:
        """Call this at the end of this turn of the loop, before anything leaves."""
        self._dialer.turn.before_sending(work)

    def subscribe(self, channels: Sequence[bytes]) -> None:
        """Want the messages of these channels, until `unsubscribe`."""
        self._master.subscriber.want(channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Want them no more."""
        self._master.subscriber.forget(channels)

    def stats(self) -> Mapping[str, float]:
        """Return gauges and counters."""
        return merged_stats([] if self._started is None else [self._started])

    @property
    def _master(self) -> Master:
        if self._started is None:
            raise BrokerUnavailableError(f"{self._name}: not started")
        return self._started

    def _want_again(self, channel: bytes, reason: str) -> None:
        self._master.subscriber.want((channel,))
