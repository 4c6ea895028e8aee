"""A Redis that does what it is told: for replies that no real server gives on demand.

It listens in the loop of the test.  Every command is answered by `answer`, which a test may replace; what it
returns is sent as it is, None is silence.  Without that it is a master that agrees to everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis

INFO = (
    b"redis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:%s\r\nrole:master\r\n"
    b"master_replid2:0000000000000000000000000000000000000000\r\nloading:0\r\naof_enabled:0\r\n"
)
Command = tuple[bytes, ...]


def bulk(data: bytes) -> bytes:
    """Encode a bulk string."""
    return b"$%d\r\n%s\r\n" % (len(data), data)


def array(*parts: bytes) -> bytes:
    """Encode an array of what is encoded already."""
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


def confirmation(kind: bytes, channel: bytes) -> bytes:
    """Encode a push of a pub/sub connection that has a count at its end."""
    return array(bulk(kind), bulk(channel), b":1\r\n")


class FakeRedis:
    """The server.  `commands` are all that came, `reads` those of each read."""

    def __init__(self) -> None:
        self.run_id = b"1" * 40
        self.commands: list[Command] = []
        self.reads: list[list[Command]] = []
        self.answer: Callable[[Command], bytes | None] = self.agree
        self.writers: list[asyncio.StreamWriter] = []
        self.raw = b""
        """If there is any, it is the answer to whatever comes, be it RESP or not."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def agree(self, command: Command) -> bytes | None:
        """Answer as a master does that has no opinion."""
        name = command[0].upper()
        if name == b"INFO":
            return bulk(INFO % self.run_id)
        if name == b"PING":
            return b"+PONG\r\n"
        if name in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
            return b"".join(confirmation(name.lower(), channel) for channel in command[1:])
        if name in (b"EVALSHA", b"EVAL"):
            return bulk(command[-1])
        return b"+OK\r\n"

    def named(self, name: bytes) -> list[Command]:
        """The commands of this name."""
        return [command for command in self.commands if command[0].upper() == name]

    def push(self, data: bytes) -> None:
        """Send something to everybody."""
        for writer in self.writers:
            writer.write(data)

    def cut(self) -> None:
        """Hang up on everybody."""
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        parser = hiredis.Reader(notEnoughData=...)
        try:
            while data := await reader.read(1 << 20):
                if self.raw:
                    writer.write(self.raw)
                    continue
                parser.feed(data)
                batch: list[Command] = []
                while (command := parser.gets()) is not ...:
                    batch.append(tuple(command))
                self.commands += batch
                self.reads.append(batch)
                self._reply(writer, batch)
        except ConnectionError:
            pass
        finally:
            self.writers.remove(writer)
            writer.transport.abort()

    def _reply(self, writer: asyncio.StreamWriter, batch: list[Any]) -> None:
        for command in batch:
            reply = self.answer(command)
            if reply is not None and not writer.is_closing():
                writer.write(reply)


@asynccontextmanager
async def fake_redis() -> AsyncIterator[FakeRedis]:
    """Run one."""
    fake = FakeRedis()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        fake.cut()
        await server.wait_closed()
        while fake.writers:  # noqa: ASYNC110
            await asyncio.sleep(0)
