"""Fuzz JSON commands with atheris: `python fuzz/commands.py -max_total_time=60 [corpus folder]`.

An input is up to eight messages, divided by zero bytes; in half of them fuzzed values stand where
the fields of a command are.  Each message goes through the codec alone, then through one session with a
connection that is not there, over the memory broker, in simulated time.

A finding is: an exception, an error logged, the code `internal`, an id that is answered twice, not at all or
out of order, an answer that is not JSON for every client, a wait where the memory broker has nothing to wait
for, or something of the session that is left when its connection is gone.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import atheris

with atheris.instrument_imports(include=["gateway.message", "gateway.commands", "gateway.session"]):
    import orjson

    from gateway._sink import ScriptedSink
    from gateway.broker import ChannelOptions
    from gateway.broker.memory import MemoryBroker
    from gateway.connection.interface import Handler
    from gateway.errors import ERROR_CODES
    from gateway.hub.encoding import Encoding
    from gateway.message.commands import Command
    from gateway.message.json import JsonCodec
    from gateway.node import Node
    from gateway.options import Namespace, NodeOptions
    from gateway.session import Session

MOST_COMMANDS = 20
MOST_MESSAGES = 8
TYPES = (
    b"connect",
    b"subscribe",
    b"unsubscribe",
    b"publish",
    b"update",
    b"presence",
    b"history",
    b"ping",
    b"call",
)
CHANNELS = (b'"c"', b'"d"', b'"@u"', b'"@other"', b'"shut:x"', b'"doc:x"', b'"\\u0000"', b'"\\ud800"', b'""')
NUMBERS = (
    *(b"1", b"2", b"0", b"-1", b"0.5", b"1e400", b"9007199254740991", b"9007199254740992"),
    *(b"18446744073709551615", b"18446744073709551616", b"9" * 30),
)
SINCE = (b'{"epoch":"i4","offset":%s}', b'{"epoch":"x","offset":%s}', b'{"c":{"epoch":"i4","offset":%s}}')
OTHER = (b"null", b"true", b'""', b"{}", b"[]", b'"QQ=="', b"[" * 70 + b"]" * 70, b'"' + b"k" * 201 + b'"')
FIELDS = {
    **dict.fromkeys((b"id", b"limit", b"before", b"base"), NUMBERS),
    b"channel": CHANNELS,
    b"since": tuple(form % number for form in SINCE for number in NUMBERS),
    **dict.fromkeys((b"data", b"data64", b"patch", b"epoch", b"key", b"token"), OTHER),
    b"session": (b'"i2"', b'"s"', *OTHER),
}
OPTIONS = NodeOptions(
    namespaces={
        "shut": Namespace(may_subscribe=False, may_publish=False),
        "doc": Namespace(broker=ChannelOptions(history_size=10, max_state_bytes=64, state_ttl_s=60.0)),
    },
    default=Namespace(broker=ChannelOptions(history_size=10, presence=True), join_leave=True),
    max_channels=4,
    max_commands_per_frame=MOST_COMMANDS,
    max_publish_bytes=256,
)
CODEC = JsonCodec()
FUTURES = asyncio.new_event_loop()


class FindingError(Exception):
    """A session did what it must never do."""


def expect(holds: bool, what: str) -> None:
    """Raise FindingError unless it holds."""
    if not holds:
        raise FindingError(what)


class LogIsEmpty(logging.Handler):
    """Turns every warning and error that is logged into a finding."""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it: raising here would be swallowed where the error was."""
        ERRORS.append(
            f"{record.getMessage()}: {record.exc_info[1]!r}" if record.exc_info else record.getMessage()
        )


ERRORS: list[str] = []


class StillLoop:
    """An event loop that turns when it is told to, in a time that stands still.  Tasks are findings."""

    def __init__(self) -> None:
        self._ready: deque[Callable[[], object]] = deque()

    def time(self) -> float:
        """Return the time."""
        return 1000.0

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        """Have it called in the next turn."""
        self._ready.append(lambda: callback(*args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Never call it."""
        return asyncio.TimerHandle(0.0, callback, args, FUTURES)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of another loop, since nobody waits for it."""
        return FUTURES.create_future()

    def create_task(self, work: Any) -> None:
        """Nothing waits with the memory broker."""
        work.close()
        raise FindingError("a command waited")

    def turn(self) -> None:
        """Call all that is due."""
        while self._ready:
            self._ready.popleft()()


class NoConnection(ScriptedSink):
    """A connection that keeps what it is told to send."""

    remote = ""
    address = ""
    opened_at = 0.0
    queued_bytes = 0
    shared_deflater = None
    handler: Handler | None = None

    def __init__(self) -> None:
        super().__init__(None)
        self.sent: list[bytes] = []
        self.code = 0

    def send(self, opcode: int, payload: bytes) -> None:
        """Keep a message."""
        expect(opcode == CODEC.opcode, "the wrong kind of message")
        if not self.closed:
            self.sent.append(payload)

    def send_many(self, opcode: int, payloads: Sequence[bytes]) -> None:
        """Keep several messages."""
        for payload in payloads:
            self.send(opcode, payload)

    def close(self, code: int, reason: str) -> None:
        """Be closed; as the edge does, tell the session once."""
        if not self.closed:
            self.closed = True
            self.code = code
            expect(len(reason.encode()) <= 123, "a long reason")

    def hold(self) -> None:
        """Commands come one message at a time."""

    def release(self) -> None:
        """Nothing was held."""

    def abort(self) -> None:
        """Nobody drops a connection for a command."""
        raise FindingError("dropped")


class World:
    """A node with one session in it."""

    def __init__(self) -> None:
        self.loop = StillLoop()
        numbers = iter(range(1 << 60))

        def random_id() -> str:
            return f"i{next(numbers)}"

        self.broker = MemoryBroker(clock=self.loop.time, random_id=random_id)
        self.node = Node(
            broker=self.broker,
            options=OPTIONS,
            loop=cast(asyncio.AbstractEventLoop, self.loop),
            wall_ms=lambda: 1,
            random_id=random_id,
        )
        self.node.spawn(self.node.start())
        self.connection = NoConnection()
        self.session = Session(self.node, self.connection, Encoding(CODEC), user="u")
        self.session.start()

    def take(self, payload: bytes) -> None:
        """Give the session a message, and check what it answered."""
        commands = list(CODEC.decode(payload, most=MOST_COMMANDS))
        expect(len(commands) <= MOST_COMMANDS, "too many commands")
        expect(all(0 <= command.id < 1 << 53 for command in commands), "an id that a client cannot read")
        del self.connection.sent[:]
        self.session.on_message(CODEC.opcode, payload)
        self.loop.turn()
        check_answers(commands, self.connection)
        expect(len(self.session.channels) <= OPTIONS.max_channels, "too many channels")

    def end(self) -> None:
        """The connection is gone: see that nothing is left."""
        self.connection.closed = True
        self.session.on_close(self.connection.code or 1006, "")
        self.loop.turn()
        left = [channel.name for channel in self.node.hub.channels() if channel.cursors]
        expect(not left and not self.connection.cursors, f"still subscribed: {left}")
        expect(self.broker.stats()["members"] == 0, "still present")
        expect(not self.node.sessions and not self.node.users, "still known")


def check_answers(commands: Sequence[Command], connection: NoConnection) -> None:
    """Raise FindingError unless each id was answered once, in order, with what every client can read."""
    answered = []
    for payload in connection.sent:
        event = orjson.loads(payload)
        if event["type"] in {"reply", "error"}:
            answered.append(event.get("id", 0))
        if event["type"] == "error":
            expect(event["code"] in ERROR_CODES and event["code"] != "internal", f"{event}")
    wanted = [command.id for command in commands if command.id]
    got = [number for number in answered if number]
    expect(got == wanted[: len(got)], "answers out of order")
    expect(connection.closed or got == wanted, "a command without an answer")


def build(provider: atheris.FuzzedDataProvider) -> list[bytes]:
    """Return the messages of an input."""
    if provider.ConsumeBool():
        return list(provider.ConsumeBytes(1 << 16).split(b"\0")[:MOST_MESSAGES])
    return [build_message(provider) for _ in range(provider.ConsumeIntInRange(1, MOST_MESSAGES))]


def build_message(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return a command, or a list of a few, with some fields fuzzed."""
    commands = [build_command(provider) for _ in range(provider.ConsumeIntInRange(1, 3))]
    return commands[0] if len(commands) == 1 else b"[" + b",".join(commands) + b"]"


def build_command(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return one command; of eight values six belong to their field, one to any, and one is fuzzed bytes."""
    fields = [b'"type":"' + pick(provider, TYPES) + b'"', b'"channel":"c"']
    for _ in range(provider.ConsumeIntInRange(0, 4)):
        name = pick(provider, tuple(FIELDS))
        chance = provider.ConsumeIntInRange(0, 7)
        value = pick(provider, FIELDS[name] if chance < 6 else OTHER + NUMBERS)
        fields.append(b'"' + name + b'":' + (value if chance < 7 else bytes(provider.ConsumeBytes(12))))
    return b"{" + b",".join(fields) + b"}"


def pick(provider: atheris.FuzzedDataProvider, values: Sequence[bytes]) -> bytes:
    """Return one of the values."""
    number: int = provider.ConsumeIntInRange(0, len(values) - 1)
    return values[number]


def run(data: bytes) -> None:
    """Check one input of the fuzzer."""
    ERRORS.clear()
    world = World()
    for message in build(atheris.FuzzedDataProvider(data)):
        if world.connection.closed:
            break
        world.take(message)
    world.end()
    expect(not ERRORS, "; ".join(ERRORS))


def main() -> None:
    """Fuzz until a finding or until the time given on the command line is over."""
    logging.basicConfig(level=logging.WARNING, handlers=[LogIsEmpty()], force=True)
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
