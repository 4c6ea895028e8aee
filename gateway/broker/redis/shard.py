"""What the Redis broker asks of a Redis deployment, and what it is told by it.

A shard is one deployment: a server, a Sentinel set, or a Cluster.  Whoever implements `Shard` knows of
connections and servers, and nothing of channels' histories, presence or sessions; whoever uses it knows
nothing of connections.  All methods belong to one event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Script(NamedTuple):
    """A Lua script.  Its first two arguments are the shard's: `INCARNATION` and the command that publishes.

    The first changes whenever the server behind a connection may have lost an acknowledged tail of its
    data; where it says that it loses none, the run of the server follows after a space.  The second is
    `PUBLISH`, or `SPUBLISH` on a Cluster.
    """

    name: str
    source: str


class ShardListener(Protocol):
    """What a shard calls.  None of these may raise, block or await."""

    def on_messages(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Take (channel, payload) pairs, in order: everything that one read brought."""

    def on_subscribed(self, channels: Sequence[bytes]) -> None:
        """Hear that subscriptions are confirmed: for the first time, or anew after a break.

        Whatever is published from now on arrives; of what was published before, anything may be missing.
        """

    def on_interrupted(self, channels: Sequence[bytes]) -> None:
        """Hear that these subscriptions are broken; `on_subscribed` follows once they are mended."""


class Shard(Protocol):
    """One Redis deployment."""

    @property
    def name(self) -> str:
        """What logs and metrics call it; no credentials."""

    @property
    def connected(self) -> bool:
        """Both commands and messages get through, as far as is known."""

    def servers(self) -> Mapping[str, bytes]:
        """Return all servers that keep something, by name, each with a text whose slot is one of its own."""

    def incarnations(self) -> frozenset[bytes]:
        """Return what scripts were last told of each server: whoever may have lost something is another."""

    def reaches(self, key: bytes) -> bool:
        """Tell whether the server of a key is connected to, as far as is known."""

    async def start(self, listener: ShardListener) -> None:
        """Connect, and from then on reconnect for ever.

        Raises BrokerUnavailableError when the first attempt fails, with what to do about it.
        """

    async def stop(self) -> None:
        """Let what was sent be answered, for a moment, and disconnect.  Idempotent."""

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], *, writes: bool
    ) -> Any:
        """Run a script on the server of `keys[0]`; return its reply: int, bytes, list or None.

        Raises BrokerUnavailableError when nothing happened, or nothing was to; OutcomeUnknownError when
        it `writes` and may have happened.
        """

    def begin(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | int],
        take: Callable[[Any], None],
        *,
        writes: bool,
    ) -> None:
        """Do what `run` does, without a coroutine: `take` gets the reply, or what `run` would have raised.

        Perhaps before this returns.  `take` must not raise.
        """

    def before_sending(self, work: Callable[[], None]) -> None:
        """Call this at the end of this turn of the loop, before what was begun in it leaves."""

    def subscribe(self, channels: Sequence[bytes]) -> None:
        """Want the messages of these channels, until `unsubscribe`."""

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Want them no more.  Idempotent; messages may still arrive for a moment."""

    def stats(self) -> Mapping[str, float]:
        """Return gauges and counters: `connected`, `reconnects`, `in_flight`, `queued_bytes`, and more."""


async def tell_reply(running: Awaitable[Any], take: Callable[[Any], None]) -> None:
    """Wait for a `Shard.run`; give its reply, or what it raises, to `take`."""
    try:
        reply = await running
    except Exception as problem:  # noqa: BLE001 - it is what came of it
        reply = problem
    take(reply)
