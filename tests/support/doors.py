"""A node with a door, in simulated time: clients that show tokens, in the handshake or later.

async with guarded() as g:
    ada = g.come(token=make())
    assert ada.heard()[0]["type"] == "hello"
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import orjson

from gateway._frames import Decoder
from gateway.asking import Admission, Caller, ConnectQuestion
from gateway.auth.jwks import JwksOptions, KeySet
from gateway.auth.keys import VerifyKey
from gateway.auth.revocations import Revocations
from gateway.auth.tokens import TokenVerifier, VerifierOptions
from gateway.connection.accepted import Accepted
from gateway.connection.interface import Connection
from gateway.door import Door, DoorOptions
from gateway.hub.encoding import Encoding
from gateway.message.json import JsonCodec
from gateway.options import Namespace
from gateway.permissions import ANYONE, compile_rule
from tests.support.sessions import KEPT, PRESENT, Event, FakeConnection, World
from tests.support.simulated import settle
from tests.support.tokens import NOW, verify_key


def permitting(subscribe: str = "", publish: str = "", **see: str) -> Namespace:
    """Return a namespace of these words, separated by spaces, where every client showed a token."""

    def rule(words: str, kind: str, action: str) -> Any:
        return compile_rule(words.split(), kind, action, all_authenticated=True)

    subscribing, publishing = rule(subscribe, "subscribe", "subscribe"), rule(publish, "publish", "publish")
    return Namespace(
        broker=PRESENT,
        join_leave=True,
        may_subscribe=subscribing.always,
        may_publish=publishing.always,
        subscribe=subscribing,
        publish=publishing,
        see_presence=rule(see.get("see_presence", "subscribers"), "see", "presence"),
        see_history=rule(see.get("see_history", "subscribers"), "see", "history"),
    )


class Guest:
    """A client that came to the door."""

    def __init__(self, door: Door, request: object) -> None:
        self.connection = FakeConnection()
        accepted = cast(Accepted, SimpleNamespace(request=request))
        handler = door.open(cast(Connection, self.connection), accepted, Encoding(JsonCodec()))
        if not self.connection.closed:
            cast(Any, self.connection).handler = handler
        self._decoder = Decoder(client=True, max_message_bytes=1 << 24, max_fragments=1)

    def say(self, *commands: Event | list[Event]) -> None:
        for command in commands:
            if self.connection.handler is not None:
                self.connection.handler.on_message(1, orjson.dumps(command))

    def heard(self) -> list[Event]:
        frames = self._decoder.receive(bytes(self.connection.received))
        self.connection.received.clear()
        return [orjson.loads(frame.payload) for frame in frames]

    async def ask(self, *commands: Event | list[Event]) -> list[Event]:
        self.say(*commands)
        await settle()
        return self.heard()

    async def kinds(self) -> list[str]:
        """Return the types of the events that came."""
        await settle()
        return [event["type"] for event in self.heard()]

    @property
    def closes(self) -> list[int]:
        return self.connection.closes


class Service:
    """An app service; `answer` is its verdict, or what it raises; it waits for `may_answer`."""

    forwards = frozenset({"cookie"})

    def __init__(self) -> None:
        self.answer: Any = Admission(user="ada")
        self.asked: list[tuple[Any, ...]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def _say(self, *asked: Any) -> Any:
        self.asked.append(asked)
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def connect(self, caller: Caller, question: ConnectQuestion) -> Any:
        return await self._say("connect", caller, question)

    async def subscribe(self, caller: Caller, channel: str) -> Any:
        return await self._say("subscribe", caller, channel)

    async def publish(self, caller: Caller, channel: str, data: bytes, *, binary: bool) -> Any:
        return await self._say("publish", caller, channel, data, binary)

    async def call(self, caller: Caller, method: str, data: bytes, *, binary: bool, timeout_s: float) -> Any:
        return await self._say("call", caller, method, data)

    async def message(self, caller: Caller, data: bytes, *, binary: bool) -> Any:
        return await self._say("message", caller, data)


class Guarded(World):
    """A world whose node has a door."""

    def __init__(
        self,
        namespaces: Mapping[str, Namespace],
        keys: list[VerifyKey],
        read: Callable[..., bytes] | None,
        jwks: Mapping[str, Any],
        **options: Any,
    ) -> None:
        open_ = Namespace(broker=KEPT, subscribe=ANYONE, publish=ANYONE)
        super().__init__(namespaces=namespaces, default=open_, revocation_ttl_s=3600.0)
        self.wall_s = float(NOW)
        self.node.wall_ms = lambda: int(self.wall_s * 1000)
        revocations = Revocations()

        async def in_thread(function: Callable[..., bytes], *args: Any) -> bytes:
            await settle(1)
            return function(*args)

        sets = []
        if read is not None:
            fetching = JwksOptions(algorithms=frozenset({"RS256", "ES256"}), **jwks)
            sets = [
                KeySet(
                    "https://issuer.example", fetching, clock=self.time.time, read=read, in_thread=in_thread
                )
            ]
        verifier = TokenVerifier(
            keys, sets, VerifierOptions(), revocations=revocations, now_s=lambda: self.wall_s
        )
        self.door = Door(self.node, verifier, DoorOptions(**options), revocations)
        self.service = Service()
        self.node.app_service = self.service if options.get("asks") else None

    def come(self, token: str = "", *, query: str = "", **headers: str) -> Guest:
        """Connect, with a token in the header, or a query and headers as they are."""
        fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        if token:
            fields[b"authorization"] = f"Bearer {token}".encode()
        request = SimpleNamespace(fields=fields, repeated=frozenset(), query=query, path="/ws")
        return Guest(self.door, request)

    async def pass_time(self, seconds: float) -> None:
        """Let wall clock and loop go on, a second at a time."""
        for _ in range(int(seconds)):
            self.wall_s += 1
            self.time.advance(1)
            await settle(2)


@asynccontextmanager
async def guarded(
    namespaces: Mapping[str, Namespace] | None = None,
    *,
    keys: list[VerifyKey] | None = None,
    read: Callable[..., bytes] | None = None,
    jwks: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Guarded]:
    """Return a running node with a door; `read` gives the document of its key set."""
    g = Guarded(namespaces or {}, [verify_key()] if keys is None else keys, read, jwks or {}, **options)
    await g.node.start()
    try:
        yield g
    finally:
        g.broker.slow = False
        await g.broker.flow()
        await g.node.stop()


def in_query(token: str) -> str:
    return f"a=b&token={quote(token)}"
