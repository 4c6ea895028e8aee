"""A node with clients that have no sockets: what they say goes in as frames, what they are told comes out.

async with world() as w:
    alice = w.connect("alice")
    alice.say({"type": "subscribe", "id": 1, "channel": "news"})
    assert alice.heard() == [...]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

import orjson

from gateway._encode import encode_frame
from gateway._frames import Decoder
from gateway._sink import ScriptedSink
from gateway.broker import ChannelOptions
from gateway.broker.memory import MemoryBroker
from gateway.connection.interface import Connection
from gateway.hub.channel import RingOptions
from gateway.hub.encoding import Encoding
from gateway.node import Node
from gateway.options import Namespace, NodeOptions
from gateway.session import Session
from tests.support.brokers import PipelinedBroker
from tests.support.codecs import CASES, Case
from tests.support.simulated import SimulatedTime, settle

Event = dict[str, Any]

KEPT = ChannelOptions(history_size=100)
PRESENT = ChannelOptions(history_size=100, presence=True)
NAMESPACES: Mapping[str, Namespace] = {
    "chat": Namespace(broker=PRESENT, join_leave=True),
    "quiet": Namespace(broker=PRESENT),
    "closed": Namespace(broker=PRESENT, may_subscribe=False, may_publish=False),
    "plain": Namespace(broker=ChannelOptions(history_size=0), ring=RingOptions(resumable=False)),
    "doc": Namespace(
        broker=ChannelOptions(
            history_size=3, history_ttl_s=10.0, idempotency_ttl_s=10.0, max_state_bytes=1000, state_ttl_s=20.0
        )
    ),
    "tiny": Namespace(broker=KEPT, ring=RingOptions(bound_bytes=1024, policy="skip")),
}


class FakeConnection(ScriptedSink):
    """A connection without a socket.  `closes` are the close frames; what was sent is in `received`."""

    def __init__(self) -> None:
        super().__init__()
        self.handler: Session | None = None
        self.closes: list[int] = []
        self.remote = "192.0.2.1:1234"
        self.address = "192.0.2.1"
        self.opened_at = 1000.0
        self.queued_bytes = 0
        self.held = False

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def send(self, opcode: int, payload: bytes) -> None:
        if not self.closed:
            self.received += encode_frame(opcode, payload)

    def send_many(self, opcode: int, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self.send(opcode, payload)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.closes.append(code)
            self._tell(code)

    def abort(self) -> None:
        self.lose()

    def lose(self) -> None:
        """The socket is gone."""
        self.closed = True
        self._tell(1006)

    def _tell(self, code: int) -> None:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_close(code, "")


class Client:
    """One client of the node; `hello` is what it was told first."""

    def __init__(self, node: Node, user: str = "", case: Case = CASES["json"]) -> None:
        self.case = case
        self.connection = FakeConnection()
        self.session = Session(node, cast(Connection, self.connection), Encoding(case.codec), user=user)
        self.connection.handler = self.session
        self._decoder = Decoder(client=True, max_message_bytes=1 << 24, max_fragments=1)
        self.session.start()
        self.hello = self.heard()[0]

    @property
    def id(self) -> str:
        return self.session.client

    def say(self, *commands: Event | list[Event]) -> None:
        """Send each command, or list of commands, in a frame of its own."""
        for command in commands:
            self.say_bytes(self.case.write(command), self.case.codec.opcode)

    def say_bytes(self, payload: bytes, opcode: int = 1) -> None:
        if self.connection.handler is not None:
            self.connection.handler.on_message(opcode, payload)

    def heard(self) -> list[Event]:
        """Return the events that came since it was asked last."""
        frames = self._decoder.receive(bytes(self.connection.received))
        self.connection.received.clear()
        assert all(frame.kind == self.case.codec.opcode for frame in frames)
        return [self.case.read(frame.payload) for frame in frames]

    async def ask(self, *commands: Event | list[Event]) -> list[Event]:
        """Send commands; return everything heard until the loop is quiet."""
        self.say(*commands)
        await settle()
        return self.heard()

    async def subscribe(self, channel: str, **more: Any) -> Event:
        """Subscribe to a channel; return the reply."""
        answers = await self.ask({"type": "subscribe", "id": 1, "channel": channel, **more})
        assert answers[0]["type"] == "reply", answers
        return answers[0]

    def lose(self) -> None:
        self.connection.lose()


class World:
    """A node, its broker and its clients, in simulated time."""

    def __init__(self, **options: Any) -> None:
        self.time = SimulatedTime()
        ids = (f"id-{number}" for number in count(1))
        self.broker = PipelinedBroker(
            MemoryBroker(clock=self.time.time, random_id=lambda: f"epoch-{next(ids)}")
        )
        self.options = NodeOptions(
            **{"namespaces": NAMESPACES, "default": Namespace(broker=KEPT), **options},
        )
        self.node = Node(
            broker=self.broker,
            options=self.options,
            loop=self.time.loop,
            wall_ms=lambda: 1_764_000_000_000,
            random_id=lambda: next(ids),
        )

    def connect(self, user: str = "", encoding: str = "json") -> Client:
        return Client(self.node, user, CASES[encoding])

    async def publish(self, channel: str, *data: object, **more: Any) -> int:
        """Publish each of `data` as JSON; return the last one's offset."""
        offset = 0
        for item in data:
            offset = (await self.node.publish(channel, orjson.dumps(item), **more)).offset
        return offset

    async def members(self, channel: str) -> list[str]:
        options = self.options.namespace(channel).broker
        return [member.client for member in await self.broker.memory.presence(channel, options)]

    async def sweep(self, seconds: float = 30.0) -> None:
        """Let time pass, and the node forget what it may forget."""
        for _ in range(int(seconds)):
            self.time.advance(1.0)
            await settle(2)

    async def check_nothing_is_left(self) -> None:
        """Nobody is connected: every trace of clients and channels goes."""
        await self.broker.flow()
        assert not self.node.sessions
        assert not self.node.users
        assert not [c.name for c in self.node.hub.channels() if c.cursors]
        assert self.broker.stats()["members"] == 0
        await self.sweep()
        await self.broker.flow()
        await self.sweep(2)
        assert len(self.node.hub) == 0
        assert self.broker.interested == set()
        assert not self.node._tasks
        assert not self.node._opening
        assert not self.node._closing
        assert not self.node._unwanted


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    """Return a running node; it is stopped in the end."""
    w = World(**options)
    await w.node.start()
    try:
        yield w
    finally:
        w.broker.slow = False
        await w.broker.flow()
        await w.node.stop()
