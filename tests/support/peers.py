"""Clients (of `websockets`) of a gateway that runs in the same loop as the test.

A `Peer` hides nothing: what it is told can be looked at event by event.  What always holds: `hang_up`
leaves no connection open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol, Self

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from gateway import Gateway
from tests.support.codecs import CASES, Case

Event = dict[str, Any]
ANY_PORT: dict[str, object] = {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"}


class Reachable(Protocol):
    """A gateway in this loop, or in a process of its own."""

    @property
    def ws_url(self) -> str:
        """Where clients connect."""


class Peer:
    """A client (of `websockets`) with what it was told and has not looked at yet.

    `open_peers` are those of the running test; at its end they are gone.
    """

    open_peers: ClassVar[list[Peer]] = []

    def __init__(self, connection: ClientConnection, case: Case) -> None:
        self.connection = connection
        self.case = case
        self.hello: Event = {}
        self._unread: deque[Event] = deque()
        self._asked = 0

    @classmethod
    async def connect(
        cls, gateway: Reachable, user: str = "", *, encoding: str = "json", **options: Any
    ) -> Self:
        """Connect, and take the hello.  `encoding` is the key of one of the codecs' cases."""
        case = CASES[encoding]
        if encoding != "json":
            options["subprotocols"] = [case.codec.subprotocol]
        url = f"{gateway.ws_url}?user={user}" if user else gateway.ws_url
        peer = cls(await websockets.connect(url, proxy=None, compression=None, **options), case)
        cls.open_peers.append(peer)
        peer.hello = await peer.event()
        return peer

    async def event(self) -> Event:
        """The next event."""
        if self._unread:
            return self._unread.popleft()
        return await self._receive()

    async def ask(self, kind: str, **fields: object) -> Event:
        """Send a command and return its answer."""
        self._asked += 1
        await self.connection.send(self._message({"type": kind, "id": self._asked, **fields}))
        while (event := await self._receive()).get("id") != self._asked:
            self._unread.append(event)
        return event

    def _message(self, command: Event) -> str | bytes:
        written = self.case.write(command)
        return written.decode() if self.case.codec.opcode == 1 else written

    async def _receive(self) -> Event:
        message = await self.connection.recv()
        assert isinstance(message, str) == (self.case.codec.opcode == 1)
        return dict(self.case.read(message.encode() if isinstance(message, str) else message))

    async def messages(self, count: int) -> list[int]:
        """The offsets of the next events, which have to be that many messages."""
        events = [await self.event() for _ in range(count)]
        assert [event["type"] for event in events] == ["message"] * count
        return [event["offset"] for event in events]

    async def expect_nothing(self) -> None:
        """Ask for a pong, and see that nothing comes before it."""
        answer = await self.ask("ping")
        assert answer == {"type": "reply", "id": self._asked}
        assert not self._unread

    def cut(self) -> None:
        """Be gone, without a word."""
        self.connection.transport.abort()


async def hang_up() -> None:
    """Cut every peer that is left."""
    for peer in Peer.open_peers:
        peer.cut()
        await peer.connection.wait_closed()
    Peer.open_peers.clear()


async def publish(gateway: Gateway, channel: str, count: int, size: int = 1) -> dict[str, Any]:
    """Publish that many messages; return the position of the last one."""
    for _ in range(count):
        position = await gateway.publish(channel, "x" * size)
        await asyncio.sleep(0)
    return {"epoch": position.epoch, "offset": position.offset}


def since(epoch: str, offset: int) -> dict[str, object]:
    return {"epoch": epoch, "offset": offset}


async def metric(gateway: Gateway, name: str) -> float:
    """The sum of a metric over its labels."""
    async with httpx.AsyncClient() as http:
        lines = (await http.get(f"{gateway.api_url}/metrics")).text.splitlines()
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0].split(" ")[0] == name]
    assert found, f"there is no {name}"
    return sum(found)


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 25.0) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
