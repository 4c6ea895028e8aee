"""A TCP proxy that can be a bad network: between clients and gateways, or gateways and Redis.

It moves bytes and knows nothing of what they mean.  "up" is from who connects to the server behind,
"down" is the other way.  What is stalled is kept, and arrives when it is healed, as after a partition
that TCP survives.  What always holds: after `close` no connection is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterable
from typing import Final, Literal

Direction = Literal["up", "down"]
BOTH: Final[tuple[Direction, Direction]] = ("up", "down")
CHUNK: Final = 65536
_RESET: Final = struct.pack("ii", 1, 0)


class FaultProxy:
    """Listens on a free loopback port, and passes everything on to `target` (HOST, PORT).

    `delay_s` holds back each piece; `slice_bytes` cuts pieces so small (0: not at all); `refusing` resets who
    connects; `babble`, if any, is the answer to whatever comes, of which nothing is passed on; `accepted`
    counts connections.
    """

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        self.target = target
        self.port = 0
        self.delay_s = 0.0
        self.slice_bytes = 0
        self.refusing = False
        self.babble = b""
        self.accepted = 0
        self._dice = random.Random(seed)  # noqa: S311
        self._gates = {direction: asyncio.Event() for direction in BOTH}
        self._torn: dict[Direction, int] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        for gate in self._gates.values():
            gate.set()

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything.  Idempotent."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        await asyncio.sleep(0.05)  # in which sockets are closed

    # -- what can be wrong ----------------------------------------------------------------

    def stall(self, directions: Iterable[Direction] = BOTH) -> None:
        """Let nothing pass in these directions until `heal`; connections stay open."""
        for direction in directions:
            self._gates[direction].clear()

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for writer in list(self._writers):
            _reset(writer)

    def tear(self, direction: Direction, connections: int) -> None:
        """Pass on half of the next piece of so many connections, and reset them: in mid-frame."""
        self._torn[direction] = connections

    def heal(self) -> None:
        """Be a good network again.  Connections that were reset stay so."""
        self.delay_s, self.slice_bytes, self.refusing, self.babble = 0.0, 0, False, b""
        self._torn.clear()
        for gate in self._gates.values():
            gate.set()

    # -- moving bytes -----------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = {writer}
        try:
            if self.refusing:
                return
            for gate in self._gates.values():
                await gate.wait()
            other_reader, other = await asyncio.open_connection(*self.target)
            mine.add(other)
            self._writers |= mine
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, other, writer, "up"))
                group.create_task(self._pump(other_reader, writer, other, "down"))
        except OSError:
            pass
        finally:
            self._writers -= mine
            for each in mine:
                if len(mine) == 1:
                    _reset(each)  # it was refused, here or behind
                each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        origin: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        gate = self._gates[direction]
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: uvloop's for what is closed
            while data := await reader.read(CHUNK):
                await gate.wait()
                if self.babble:
                    if direction == "up":
                        origin.write(self.babble)
                    continue
                if self.delay_s:
                    await asyncio.sleep(self.delay_s * self._dice.uniform(0.5, 1.5))
                if self._torn.get(direction, 0) > 0 and len(data) > 1:
                    self._torn[direction] -= 1
                    writer.write(data[: len(data) // 2])
                    await asyncio.sleep(0.01)
                    _reset(writer)
                    _reset(origin)
                    return
                for piece in self._pieces(data):
                    writer.write(piece)
                    if self.slice_bytes:
                        await asyncio.sleep(0)
                    await writer.drain()
            await gate.wait()
            if not writer.is_closing():
                writer.write_eof()
            return
        await gate.wait()
        _reset(writer)

    def _pieces(self, data: bytes) -> Iterable[bytes]:
        size = self.slice_bytes
        return (data[i : i + size] for i in range(0, len(data), size)) if size else (data,)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a machine does that knows nothing of it: with RST."""
    with contextlib.suppress(OSError):
        sock = writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
