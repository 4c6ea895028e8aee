"""A client that comes back: it subscribes, hears, writes everything down, and resumes when it is cut.

It follows docs/protocol.md ("A client, step by step") and knows nothing of what is right; the log is for the
judge.  It is made for some hundreds in one process: callbacks of a connection (wire.py), one small task
each.  What always holds: every event of a channel is logged in the order in which it came, and `Connected`
and `Lost` enclose what came over one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from .records import (
    AnyRecord,
    Connected,
    Delivered,
    Gap,
    Left,
    Lost,
    Subscribed,
    Subscribing,
    Unsubscribed,
    Unsubscribing,
)
from .wire import Wire, dial

CONNECT_S: Final = 5.0
ANSWER_S: Final = 5.0
BACK_OFF_S: Final = (0.02, 0.6)


class _Subscription(msgspec.Struct, omit_defaults=True):
    channel: str
    epoch: str
    offset: int
    recovered: bool | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    id: Any = None
    channel: str = ""
    epoch: str = ""
    offset: int = 0
    version: int = 0
    recovered: bool | None = None
    data: Any = ""
    from_: Any = msgspec.field(default=None, name="from")
    to: int = 0
    reason: str = ""
    code: str = ""
    session: str = ""
    client: str = ""
    ping: float = 30.0
    subscriptions: list[_Subscription] | None = None


_decode: Final = msgspec.json.Decoder(_Event).decode
_encode: Final = msgspec.json.Encoder().encode


class ChaosClient:
    """One user agent.  `choose` says to which URL it connects next; `wanted` are its channels.

    `by_session`: it takes up its old session where it can, else channel by channel.
    """

    def __init__(
        self,
        name: str,
        choose: Callable[[], str],
        wanted: set[str],
        *,
        user: str = "",
        by_session: bool = False,
    ) -> None:
        self.name = name
        self.user = user
        self.log: list[AnyRecord] = []
        self.wanted = wanted
        self.positions: dict[str, tuple[str, int]] = {}
        self.subscribed: set[str] = set()
        self.transport: Wire | None = None
        self.heard_at = 0.0
        self.refused: list[str] = []
        self._choose = choose
        self._by_session = by_session
        self._session = ""
        self._next_session = ""
        self._ping_s = 30.0
        self._asked = 0
        self._asked_for: set[str] = set()
        self._pending: dict[int, tuple[str, str, float]] = {}
        self._leaving = False
        self._task: asyncio.Task[None] | None = None
        self._dice = random.Random(name)  # noqa: S311

    # -- for the rig ----------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Connected, and subscribed to exactly what it wants."""
        return self.transport is not None and self.subscribed == self.wanted and not self._pending

    def content(self, since: float) -> bool:
        """Tell whether it had what it is there for since a time."""
        return True

    def start(self) -> None:
        """Connect, and stay connected until `leave`."""
        self._task = asyncio.create_task(self._work())

    async def leave(self) -> None:
        """Go for good, with a close frame if there is a connection.  Idempotent."""
        if self._task is None:
            return
        self.log.append(Left(at=time.monotonic()))
        self._leaving = True
        task, self._task = self._task, None
        task.cancel()
        await asyncio.wait({task}, timeout=ANSWER_S)
        if not task.done():
            raise AssertionError(f"client {self.name} does not end: {task.get_stack()}")
        if not task.cancelled() and (problem := task.exception()):
            raise problem
        if (wire := self.transport) is not None:
            wire.close(1000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await wire.ended.wait()
            wire.abort()  # who does not answer is not waited for

    def cut(self) -> None:
        """Lose the connection without a word; it is made anew."""
        if self.transport is not None:
            self.transport.abort()

    def want(self, channel: str, *, wanted: bool) -> None:
        """Subscribe or unsubscribe, now or when it is connected next."""
        (self.wanted.add if wanted else self.wanted.discard)(channel)
        if self.transport is None:
            self._forget_unwanted()
        self._align()

    def _forget_unwanted(self) -> None:
        """Without a connection, what is not wanted any more is over, whatever was asked before."""
        for channel in (self.positions.keys() | self._asked_for) - self.wanted:
            self._unsubscribed(channel)

    # -- the connection ---------------------------------------------------------------------

    async def _work(self) -> None:
        back_off_s = BACK_OFF_S[0]
        while not self._leaving:
            try:
                wire = await dial(self, self._choose(), CONNECT_S)
            except OSError:
                pass
            else:
                back_off_s = BACK_OFF_S[0]
                await self._watch(wire)
                wire.abort()
                await wire.ended.wait()  # so that two of its connections never speak at once
            await asyncio.sleep(self._dice.uniform(back_off_s / 2, back_off_s))
            back_off_s = min(back_off_s * 2, BACK_OFF_S[1])

    async def _watch(self, wire: Wire) -> None:
        """Ping, and return when it is over, or nothing comes, or no answer."""
        while True:
            try:
                async with asyncio.timeout(min(self._ping_s, 1.0)):
                    await wire.ended.wait()
                return
            except TimeoutError:
                pass
            now = time.monotonic()
            oldest = min((asked for _, _, asked in self._pending.values()), default=now)
            if now - self.heard_at > 2 * self._ping_s or now - oldest > ANSWER_S:
                return
            self._send({"type": "ping"})
            self._align()

    def opened(self, wire: Wire) -> None:
        """Hear from a connection that the gateway let it in."""
        self.transport, self.heard_at = wire, time.monotonic()

    def heard(self, wire: Wire, message: bytes) -> None:
        """Hear a message.  What comes after it left is not for the log."""
        if wire is self.transport:
            self.heard_at = time.monotonic()
            self.take(_decode(message))

    def closed(self, wire: Wire, code: int) -> None:
        """Hear from a connection that it is over; one that was never open is not worth a record."""
        if wire is not self.transport:
            return
        self.transport = None
        self.log.append(Lost(at=time.monotonic(), code=code))
        self.subscribed.clear()
        self._pending.clear()
        self._forget_unwanted()

    # -- commands ---------------------------------------------------------------------------

    def _send(self, command: dict[str, Any]) -> None:
        if self.transport is not None:
            self.transport.send(_encode(command))

    def _ask(self, kind: str, about: str, **fields: Any) -> None:
        self._asked += 1
        self._pending[self._asked] = (kind, about, time.monotonic())
        self._send({"type": kind, "id": self._asked, **fields})

    def _align(self) -> None:
        """Ask for what is wanted and not subscribed, and the reverse, unless that was asked already."""
        if self.transport is None or any(kind == "connect" for kind, _, _ in self._pending.values()):
            return
        busy = {channel for _, channel, _ in self._pending.values()}
        for channel in sorted(self.wanted - self.subscribed - busy):
            since = self._since(channel)
            self._ask("subscribe", channel, channel=channel, **({"since": since} if since else {}))
        for channel in sorted(self.subscribed - self.wanted - busy):
            self.log.append(Unsubscribing(at=time.monotonic(), channel=channel))
            self._ask("unsubscribe", channel, channel=channel)

    def _since(self, channel: str) -> dict[str, Any] | None:
        epoch, offset = self.positions.get(channel, ("", -1))
        self._asked_for.add(channel)
        self.log.append(Subscribing(at=time.monotonic(), channel=channel, epoch=epoch, offset=offset))
        return {"epoch": epoch, "offset": offset} if offset >= 0 else None

    # -- events -----------------------------------------------------------------------------

    def take(self, event: _Event) -> None:
        """Take an event of the gateway."""
        if event.type == "message":
            self._take_message(event)
        elif event.type == "gap":
            self._take_gap(event)
        elif event.type == "hello":
            self._take_hello(event)
        elif event.type in {"reply", "error"} and event.id in self._pending:
            kind, channel, _ = self._pending.pop(event.id)
            self._take_answer(kind, channel, event)
        elif event.type == "unsubscribed":
            self._unsubscribed(event.channel)

    def _take_message(self, event: _Event) -> None:
        channel, text = event.channel, event.data.partition("|")[0]
        epoch = self.positions[channel][0] if channel in self.positions else ""
        self.log.append(
            Delivered(
                at=self.heard_at, channel=channel, epoch=epoch, offset=event.offset, message=text, id=event.id
            )
        )
        if channel in self.positions:
            self.positions[channel] = (epoch, event.offset)

    def _take_gap(self, event: _Event) -> None:
        first = event.from_ if isinstance(event.from_, int) else 0
        gap = Gap(
            at=self.heard_at,
            channel=event.channel,
            first=first,
            last=event.to,
            epoch=event.epoch,
            reason=event.reason,
        )
        self.log.append(gap)
        if event.channel in self.positions:
            epoch, offset = self.positions[event.channel]
            self.positions[event.channel] = (
                (event.epoch, event.to) if event.epoch else (epoch, event.to or offset)
            )

    def _take_hello(self, event: _Event) -> None:
        self.log.append(Connected(at=self.heard_at, client=event.client, user=self.user))
        self._ping_s = event.ping
        old, self._next_session = self._session, event.session
        if old and self._by_session and self.positions:
            since = {channel: self._since(channel) for channel in sorted(self.wanted & self.positions.keys())}
            self._ask("connect", "", session=old, since=since)
            return
        self._session = event.session
        self._align()

    def _take_answer(self, kind: str, channel: str, event: _Event) -> None:
        if event.type == "error":
            if kind == "connect":
                self._session = self._next_session
            elif event.code != "not_subscribed":
                self.refused.append(event.code)
            return  # the next look asks anew
        if kind == "connect":
            self._session = event.session
            for told in event.subscriptions or ():
                self._stand(told.channel, told.epoch, told.offset, told.recovered)
            self._align()
        elif kind == "subscribe":
            self._stand(channel, event.epoch, event.offset, event.recovered)
        else:
            self._unsubscribed(channel)

    def _stand(self, channel: str, epoch: str, offset: int, recovered: bool | None) -> None:
        reply = Subscribed(at=self.heard_at, channel=channel, epoch=epoch, offset=offset, recovered=recovered)
        self.log.append(reply)
        self.subscribed.add(channel)
        if not recovered:
            self.positions[channel] = (epoch, offset)

    def _unsubscribed(self, channel: str) -> None:
        self.log.append(Unsubscribed(at=time.monotonic(), channel=channel))
        self.subscribed.discard(channel)
        self.positions.pop(channel, None)
        self._asked_for.discard(channel)
