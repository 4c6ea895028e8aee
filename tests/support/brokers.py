"""A broker that is slow, or fails, when a test says so: a memory broker behind a pipeline.

As with a broker across a network, a command that was sent is executed though nobody waits for its
answer any more, and all are executed in the order in which they were sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.broker import ChannelOptions, Control, HistoryPage, Publisher, PublishResult, Relay, State
from gateway.broker.interface import tell
from gateway.broker.memory import MemoryBroker
from gateway.eager import drive
from gateway.message.publication import Member, Position, Publication
from tests.support.simulated import settle

T = TypeVar("T")


class _Sent:
    """One command on its way; `waits` is resolved with its result once it is answered."""

    def __init__(self, method: str, call: Coroutine[Any, Any, Any]) -> None:
        self.method = method
        self.call = call
        self.waits: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.problem: Exception | None = None


class PipelinedBroker:
    """`slow`: commands wait in `sent` for execute() and then in `executed` for reply().

    `held` are methods that wait though others overtake them.

    `faults` holds by name of a method what it raises instead of doing anything; `late_faults` what it
    raises after it was done.  `interested` are the channels of the one node.
    """

    proving = None

    def __init__(self, memory: MemoryBroker) -> None:
        self.memory = memory
        self.slow = False
        self.held: set[str] = set()
        self.faults: dict[str, Exception] = {}
        self.late_faults: dict[str, Exception] = {}
        self.calls: list[str] = []
        self.interested: set[str] = set()
        self.sent: deque[_Sent] = deque()
        self.executed: deque[_Sent] = deque()

    async def _send(self, method: str, call: Coroutine[Any, Any, T]) -> T:
        self.calls.append(method)
        if method in self.faults:
            call.close()
            raise self.faults[method]
        sent = _Sent(method, call)
        self.sent.append(sent)
        if not self.slow and method not in self.held:
            self.sent.remove(sent)
            await self._execute(sent)
            self.reply()
        result: T = await asyncio.shield(sent.waits)
        return result

    async def execute(self) -> None:
        """Have everything done that was sent."""
        while self.sent:
            await self._execute(self.sent.popleft())

    async def _execute(self, sent: _Sent) -> None:
        try:
            sent.result = await sent.call
        except Exception as problem:  # noqa: BLE001 it is the caller's
            sent.problem = problem
        sent.problem = self.late_faults.get(sent.method, sent.problem)
        self.executed.append(sent)

    def reply(self) -> None:
        """Answer everything that was done."""
        while self.executed:
            sent = self.executed.popleft()
            if sent.problem is not None:
                sent.waits.set_exception(sent.problem)
                sent.waits.exception()
            else:
                sent.waits.set_result(sent.result)

    async def flow(self) -> None:
        """Do and answer everything, also what follows from the answers."""
        await settle()
        while self.sent or self.executed:
            await self.execute()
            self.reply()
            await settle()

    @property
    def methods_sent(self) -> list[str]:
        return [sent.method for sent in self.sent]

    # -- the interface -------------------------------------------------------------------------

    async def start(self, relay: Relay) -> None:
        await self.memory.start(relay)

    async def stop(self) -> None:
        for sent in self.sent:
            sent.call.close()
        await self.memory.stop()

    async def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, *, key: str = ""
    ) -> PublishResult:
        return await self._send("publish", self.memory.publish(channel, publication, options, key=key))

    async def update(
        self,
        channel: str,
        publication: Publication,
        options: ChannelOptions,
        *,
        base: Position,
        key: str = "",
    ) -> PublishResult:
        call = self.memory.update(channel, publication, options, base=base, key=key)
        return await self._send("update", call)

    async def state(self, channel: str, options: ChannelOptions) -> State:
        return await self._send("state", self.memory.state(channel, options))

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        drive(
            tell(self.publish(channel, publication, options, key=key), publisher), asyncio.get_running_loop()
        )

    async def subscribe(self, channel: str, options: ChannelOptions) -> Position:
        return await self._send("subscribe", self._subscribe(channel, options))

    async def _subscribe(self, channel: str, options: ChannelOptions) -> Position:
        self.interested.add(channel)
        return await self.memory.subscribe(channel, options)

    async def unsubscribe(self, channel: str) -> None:
        await self._send("unsubscribe", self._unsubscribe(channel))

    async def _unsubscribe(self, channel: str) -> None:
        self.interested.discard(channel)
        await self.memory.unsubscribe(channel)

    async def history(
        self, channel: str, options: ChannelOptions, *, since: Position, limit: int
    ) -> HistoryPage:
        return await self._send("history", self.memory.history(channel, options, since=since, limit=limit))

    async def history_before(
        self, channel: str, options: ChannelOptions, *, before: int, limit: int
    ) -> HistoryPage:
        call = self.memory.history_before(channel, options, before=before, limit=limit)
        return await self._send("history_before", call)

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        await self._send("join", self.memory.join(channel, member, options))

    async def leave(self, channel: str, client: str, options: ChannelOptions) -> None:
        await self._send("leave", self.memory.leave(channel, client, options))

    async def presence(self, channel: str, options: ChannelOptions) -> list[Member]:
        return await self._send("presence", self.memory.presence(channel, options))

    async def control(self, control: Control) -> int:
        return await self._send("control", self.memory.control(control))

    async def save_session(self, session: str, record: bytes, ttl_s: float, *, client: str = "") -> None:
        await self._send("save_session", self.memory.save_session(session, record, ttl_s))

    async def take_session(self, session: str) -> bytes | None:
        return await self._send("take_session", self.memory.take_session(session))

    async def probe(self) -> float:
        return await self._send("probe", self.memory.probe())

    def stats(self) -> dict[str, int]:
        return self.memory.stats()

    def sweep(self) -> bool:
        return self.memory.sweep()
