"""What the suite needs around a broker, and the list of brokers that must pass it.

A new broker is added by one more entry in `HARNESSES`: an async context manager that gives
a started broker with a recording relay.  The tests of the suite assume neither that time can be set
(they wait `unit_s` at a time) nor that the relay was called before a method returned
(they `settle()` first).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

from gateway.broker.interface import (
    Broker,
    ChannelOptions,
    Control,
    PresenceChange,
    Relay,
)
from gateway.broker.log import ENTRY_BYTES
from gateway.broker.memory import MemoryBroker
from gateway.broker.redis._group import ENTRY_BYTES as REDIS_ENTRY_BYTES
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.remote import RemoteBroker
from gateway.broker.service import BrokerService
from gateway.errors import BrokerUnavailableError
from gateway.message.publication import Position, Publication
from tests.support.redis_broker import fresh_prefix, kept
from tests.support.redis_broker import make_broker as make_redis_broker

KEPT = ChannelOptions(history_size=100, presence=True)
NOT_KEPT = ChannelOptions(history_size=0, presence=True)
STATE = ChannelOptions(history_size=100, max_state_bytes=1000, state_ttl_s=1000.0)


def patch(text: str) -> Publication:
    """Return a publication whose data is the patch `text`."""
    return Publication(id=text, data=text.encode(), time_ms=1_764_000_000_000, patch=True)


def message(text: str = "x", *, offset: int = 0, binary: bool = False, exclude: str = "") -> Publication:
    """Return a publication whose id and data say `text`."""
    return Publication(
        id=text,
        data=text.encode(),
        time_ms=1_764_000_000_000,
        offset=offset,
        binary=binary,
        client="c1",
        user="alice",
        exclude=exclude,
    )


class RecordingRelay:
    """Writes down every call.  `fault` is raised by every method, after writing down."""

    def __init__(self) -> None:
        self.publications: list[tuple[str, str, Publication]] = []
        self.losses: list[tuple[str, Position]] = []
        self.changes: list[tuple[str, PresenceChange]] = []
        self.controls: list[Control] = []
        self.reached = 0
        self.fault: Exception | None = None
        self.on_publication: Callable[[str, Publication], None] = lambda channel, publication: None

    def on_publications(self, channel: str, epoch: str, publications: list[Publication]) -> None:
        self.publications += [(channel, epoch, publication) for publication in publications]
        self._maybe_fail()
        for publication in publications:
            self.on_publication(channel, publication)

    def on_position(self, channel: str, epoch: str, offset: int) -> None:
        self.losses.append((channel, Position(epoch, offset)))
        self._maybe_fail()

    def on_presence(self, channel: str, change: PresenceChange) -> None:
        self.changes.append((channel, change))
        self._maybe_fail()

    def on_control(self, control: Control) -> int:
        self.controls.append(control)
        self._maybe_fail()
        return self.reached

    def offsets(self, channel: str) -> list[int]:
        """Return the offsets that arrived on `channel`, in order of arrival."""
        return [publication.offset for name, _, publication in self.publications if name == channel]

    def ids(self, channel: str) -> list[str]:
        """Return the ids that arrived on `channel`, in order of arrival."""
        return [publication.id for name, _, publication in self.publications if name == channel]

    def _maybe_fail(self) -> None:
        if self.fault is not None:
            raise self.fault


class Harness(ABC):
    """A started broker, its relay, and power over time.

    `unit_s` is a span that the harness can wait for: tests state times in multiples of it.
    `entry_bytes` is the broker's stated constant per kept publication.
    """

    broker: Broker
    relay: RecordingRelay
    unit_s: float
    entry_bytes: int

    def stats(self) -> dict[str, int]:
        """Return the gauges of whoever keeps what the broker keeps."""
        return self.broker.stats()

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass for the broker."""

    @abstractmethod
    async def settle(self) -> None:
        """Wait until the relay was called for everything done so far."""

    @abstractmethod
    async def let_forget(self) -> None:
        """Let the broker forget every channel that it may forget when it is left alone for long."""

    @abstractmethod
    def unstarted(self) -> Broker:
        """Return another broker of the kind, not started."""

    async def publish_many(self, channel: str, number: int, options: ChannelOptions = KEPT) -> None:
        """Publish "m1", "m2" and so on."""
        for n in range(1, number + 1):
            await self.broker.publish(channel, message(f"m{n}"), options)


class MemoryHarness(Harness):
    """The memory broker in simulated time, for which a unit is ten seconds."""

    unit_s = 10.0
    entry_bytes = ENTRY_BYTES

    def __init__(self, *, idle_s: float = 30.0, max_keys: int = 1000) -> None:
        self.now_s = 5000.0
        self.relay = RecordingRelay()
        self.idle_s = idle_s
        self._ids = count(1)
        self._max_keys = max_keys
        self.memory = self.make_memory()
        self.broker: Broker = self.memory

    def unstarted(self) -> Broker:
        return self.make_memory()

    def make_memory(self) -> MemoryBroker:
        return MemoryBroker(
            clock=lambda: self.now_s,
            random_id=lambda: f"id{next(self._ids)}",
            idle_s=self.idle_s,
            max_keys=self._max_keys,
        )

    async def advance(self, seconds: float) -> None:
        self.now_s += seconds

    async def settle(self) -> None:
        await asyncio.sleep(0)

    async def let_forget(self) -> None:
        for _ in range(10):
            self.now_s += 1000.0
            while self.broker.sweep():
                pass


@asynccontextmanager
async def memory_harness() -> AsyncIterator[Harness]:
    harness = MemoryHarness()
    await harness.broker.start(harness.relay)
    yield harness
    await harness.broker.stop()


class AcrossWorkers(RemoteBroker):
    """The broker of one worker, but for everything that is not interest: this goes through another's.

    So the suite holds across workers too: what one of them does is what the other hears of.
    """

    other: RemoteBroker

    def through(self, other: RemoteBroker) -> None:
        """Use `other` from now on."""
        self.other = other
        for name in (
            "publish",
            "update",
            "state",
            "history",
            "history_before",
            "join",
            "leave",
            "presence",
            "control",
        ):
            setattr(self, name, getattr(other, name))
        self.save_session = other.save_session  # type: ignore[method-assign]

    async def start(self, relay: Relay) -> None:
        await super().start(relay)
        await self.other.start(RecordingRelay())

    async def stop(self) -> None:
        await super().stop()
        await self.other.stop()


class RemoteHarness(MemoryHarness):
    """A worker's broker, over a Unix socket, in front of a memory broker in simulated time.

    `other` is the broker of a second worker, with a relay of its own.
    """

    def __init__(self, kind: type[RemoteBroker] = RemoteBroker) -> None:
        super().__init__()
        self.service = BrokerService(self.memory, loop=asyncio.get_running_loop())
        self.first = self.remote(kind)
        self.broker = self.first
        self.other = self.remote()
        self.other_relay = RecordingRelay()

    def remote(self, kind: type[RemoteBroker] = RemoteBroker) -> RemoteBroker:
        return kind(loop=asyncio.get_running_loop(), connect=self._connect)

    def unstarted(self) -> Broker:
        return self.remote()

    async def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        await self.service.attach(ours)
        return theirs

    def stats(self) -> dict[str, int]:
        return self.service.stats()

    async def settle(self) -> None:
        for broker in (self.other, self.first):
            with contextlib.suppress(BrokerUnavailableError):
                await broker.probe()

    async def let_forget(self) -> None:
        for _ in range(10):
            self.now_s += 1000.0
            while self.service.sweep():
                pass


@asynccontextmanager
async def remote_harness(kind: type[RemoteBroker] = RemoteBroker) -> AsyncIterator[RemoteHarness]:
    harness = RemoteHarness(kind)
    await harness.service.start(RecordingRelay())
    if isinstance(harness.first, AcrossWorkers):
        harness.first.through(harness.other)
    else:
        await harness.other.start(harness.other_relay)
    await harness.first.start(harness.relay)
    yield harness
    await harness.first.stop()
    await harness.other.stop()
    await harness.service.stop()


class AcrossNodes(RedisBroker):
    """The broker of one node, but for everything that is not interest: this goes through another node's."""

    other: RedisBroker

    def through(self, other: RedisBroker) -> None:
        """Use `other` from now on."""
        self.other = other
        for name in (
            "publish",
            "update",
            "state",
            "history",
            "history_before",
            "join",
            "leave",
            "presence",
            "control",
        ):
            setattr(self, name, getattr(other, name))
        self.save_session = other.save_session  # type: ignore[method-assign]

    async def start(self, relay: Relay) -> None:
        await super().start(relay)
        await self.other.start(RecordingRelay())

    async def stop(self) -> None:
        await super().stop()
        await self.other.stop()


class RedisHarness(Harness):
    """A Redis broker on a real server, whose clock nobody sets: a unit is short."""

    unit_s = 0.2
    entry_bytes = REDIS_ENTRY_BYTES

    def __init__(self, *, across: bool) -> None:
        self.relay = RecordingRelay()
        self.prefix = fresh_prefix()
        self.options = BrokerOptions(prefix=self.prefix, idle_s=0.3, check_interval_s=0.1)
        self.first = self.make(AcrossNodes if across else RedisBroker)
        self.broker = self.first
        if isinstance(self.first, AcrossNodes):
            self.first.through(self.make())

    def make(self, kind: type[RedisBroker] = RedisBroker) -> RedisBroker:
        return make_redis_broker(self.options, kind=kind)

    def unstarted(self) -> Broker:
        return self.make()

    def stats(self) -> dict[str, int]:
        return kept(self.prefix)

    async def advance(self, seconds: float) -> None:
        """Wait, and sweep all the while as a node does: it keeps channels with interest from being
        forgotten.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            self.first.sweep()
            if isinstance(self.first, AcrossNodes):
                self.first.other.sweep()
            await asyncio.sleep(min(left, 0.05))

    async def settle(self) -> None:
        with contextlib.suppress(BrokerUnavailableError):
            await self.first.probe()

    async def let_forget(self) -> None:
        await self.advance(0.6)


@asynccontextmanager
async def redis_harness(*, across: bool) -> AsyncIterator[Harness]:
    harness = RedisHarness(across=across)
    await harness.first.start(harness.relay)
    yield harness
    await harness.first.stop()


HARNESSES: dict[str, Callable[[], AbstractAsyncContextManager[Harness]]] = {
    "memory": memory_harness,
    "worker": remote_harness,
    "across_workers": lambda: remote_harness(AcrossWorkers),
    "redis": lambda: redis_harness(across=False),
    "redis_across_nodes": lambda: redis_harness(across=True),
}
