"""A client's engine without sockets, in time that only the test moves; what it sends can be looked at.

w = ClientWorld()
w.come_online()
w.subscribe("news"); w.sent() == [{"type": "subscribe", ...}]
w.say({"type": "reply", "id": 1, ...})
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

import orjson

from gateway.client.codecs import codec_for
from gateway.client.connection import Collaborators
from gateway.client.credentials import TokenSource
from gateway.client.engine import Engine
from gateway.client.errors import RinggateError
from gateway.client.incoming import Reply
from gateway.client.options import Options
from gateway.client.outbox import Entry, Terms
from gateway.client.results import ChannelEvent, Message, Position, Status
from gateway.message.commands import Publish

Event = dict[str, Any]
WALL_AHEAD_S = 1_764_000_000.0


class FakeTimer:
    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeTimers:
    """A clock that only `advance` moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._numbers = count()
        self._timers: list[tuple[float, int, FakeTimer, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: object) -> FakeTimer:
        timer = FakeTimer()
        entry = (self.now + max(delay, 0.0), next(self._numbers), timer, lambda: callback(*args))
        heapq.heappush(self._timers, entry)
        return timer

    @property
    def waiting(self) -> int:
        """How many timers wait."""
        return sum(not timer.is_cancelled for _, _, timer, _ in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass; every timer is called at its time."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            due, _, timer, callback = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if not timer.is_cancelled:
                callback()
        self.now = until


class FakePort:
    """What the engine asked for: `log` has "ask", "open TOKEN", "drop CODE"; `out` the messages."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.out: list[bytes] = []

    def ask_token(self) -> None:
        self.log.append("ask")

    def open(self, token: str) -> None:
        self.log.append(f"open {token}".strip())

    def send(self, message: bytes) -> None:
        self.out.append(message)

    def drop(self, code: int) -> None:
        self.log.append(f"drop {code}")

    def did(self) -> list[str]:
        """What was asked for since the last look."""
        log, self.log = self.log, []
        return log


class Ear:
    """A listener of a channel that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[ChannelEvent] = []

    def tell(self, event: ChannelEvent) -> None:
        self.told.append(event)

    def heard(self) -> list[ChannelEvent]:
        """What it was told since the last look."""
        told, self.told = self.told, []
        return told

    def data(self) -> list[Any]:
        """The payloads of the messages that it was told since the last look."""
        return [event.data for event in self.heard() if isinstance(event, Message)]


class ClientWorld:
    """An engine, and everything around it.  `dice` is what the next random numbers are (0.5 at first)."""

    def __init__(self, *, token: TokenSource | None = None, **options: Any) -> None:
        self.timers = FakeTimers()
        self.port = FakePort()
        self.dice = 0.5
        self.statuses: list[Status] = []
        self.stray: list[ChannelEvent] = []
        self.answers: list[Reply | RinggateError] = []
        self.engine = Engine(
            self.port,
            Collaborators(self.timers, self.wall, lambda: self.dice),
            codec=codec_for("json"),
            token=token,
            options=Options(**options),
            on_status=self.statuses.append,
            stray=self.stray.append,
        )
        self.connection = self.engine.connection

    def wall(self) -> float:
        return self.timers.now + WALL_AHEAD_S

    @property
    def state(self) -> str:
        return self.connection.state

    def advance(self, seconds: float) -> None:
        self.timers.advance(seconds)

    def come_online(self, **hello: Any) -> None:
        """Connect, if that is not done, and be let in."""
        self.connection.connect()
        self.greet(**hello)
        self.port.did()

    def greet(self, **hello: Any) -> None:
        self.say({"type": "hello", "client": "c1", "session": "s1", "ping": 30.0} | hello)

    def say(self, *events: Event) -> None:
        """Let the gateway say something."""
        for event in events:
            self.connection.received(orjson.dumps(event))

    def lose(self, code: int = 1006, reason: str = "", wait_s: float = 0.0) -> None:
        self.connection.lost(code, reason, wait_s)

    def come_back(self, **hello: Any) -> None:
        """Lose the connection, wait as long as it takes, and be let in again."""
        if self.state == "online":
            self.lose()
        while self.state == "waiting":
            self.advance(1.0)
        self.greet(**hello)

    def sent(self) -> list[Event]:
        """What was sent since the last look."""
        out, self.port.out = self.port.out, []
        return [orjson.loads(message) for message in out]

    def listen(self, channel: str, since: Position | None = None) -> Ear:
        ear = Ear()
        self.engine.channels.add(channel, ear, since)
        return ear

    def grant(self, epoch: str = "e1", offset: int = 0, **more: Any) -> Event:
        """Answer the subscribe that was sent last, and nothing else was; return it."""
        (command,) = self.sent()
        assert command["type"] == "subscribe"
        reply = {"type": "reply", "id": command["id"], "channel": command["channel"]}
        self.say(reply | {"epoch": epoch, "offset": offset} | more)
        return command

    def publish(self, data: object, channel: str = "news", **terms: Any) -> Entry:
        """Publish; the answer will be in `answers`."""
        payload = self.engine.codec.pack(data)
        command = Publish(channel=channel, data=payload.data, key=f"k{data}")
        given = {"ttl_s": 240.0, "repeat": True, "persist": True} | terms
        return self.engine.ask(command, channel, Terms(**given), self.answers.append)

    def answered(self) -> list[Any]:
        """What commands were answered since the last look: offsets, and codes of errors."""
        answers = self.answers.copy()
        self.answers.clear()
        return [answer.offset if isinstance(answer, Reply) else answer.code for answer in answers]


def message(offset: int, data: object = None, channel: str = "news", **more: Any) -> Event:
    """Return a `message` event; its data is its offset where none is given."""
    event = {"type": "message", "channel": channel, "id": f"m{offset}", "time": 1}
    return event | {"offset": offset, "data": offset if data is None else data} | more
