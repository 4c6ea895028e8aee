"""A crowd: thousands of clients in some processes, all of which can be gone, or silent, in the same moment.

One process cannot drive them besides the rest of a run, and only a killed process loses all of its
connections at once.  What always holds: `gone` has ended every process, and what their clients had been
told until then is in the logs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

import msgspec

from tests.support.process import ROOT

from .records import AnyRecord, Left, Logs, Lost

PROCESSES: Final = 4
THERE_S: Final = 120.0
_END: Final = 1006
_decode: Final = msgspec.json.Decoder(dict[str, list[AnyRecord]]).decode


class Crowd:
    """`count` clients, numbered from `first`, of one of the URLs and one of the channels each."""

    def __init__(self, folder: Path, urls: list[str], channels: list[str], *, first: int, count: int) -> None:
        self.first = first
        self.count = count
        self._folder = folder
        self._urls = urls
        self._channels = channels
        self._processes: list[tuple[Process, Path]] = []

    async def there(self) -> None:
        """Start them, and wait until all are subscribed.  Raises AssertionError when they are not in time."""
        share, numbers = -(-self.count // PROCESSES), range(self.first, self.first + self.count)
        for number in range(PROCESSES):
            mine = numbers[number * share : (number + 1) * share]
            if mine:
                await self._start(number, mine)
        async with asyncio.timeout(THERE_S):
            await asyncio.gather(*(self._says(process, b"there\n") for process, _ in self._processes))

    async def _start(self, number: int, mine: range) -> None:
        url, source = self._urls[number % len(self._urls)], f"127.0.0.{2 + number}"
        path = self._folder / f"crowd-{mine[0]}.json"
        command = [sys.executable, "-m", "tests.chaos.crowd_process", url, source, str(path)]
        process = await asyncio.create_subprocess_exec(
            *command, str(mine[0]), str(len(mine)), *self._channels, cwd=ROOT, stdin=PIPE, stdout=PIPE
        )
        self._processes.append((process, path))

    async def _says(self, process: Process, line: bytes) -> None:
        assert process.stdout
        heard = await process.stdout.readline()
        assert heard == line, f"a process of the crowd said {heard!r}"

    async def _tells(self, process: Process) -> None:
        assert process.stdin
        process.stdin.write(b"\n")
        await process.stdin.drain()
        await self._says(process, b"told\n")

    async def gone(self, logs: Logs) -> None:
        """Let them write down what they heard, and kill all of them.  Idempotent."""
        await asyncio.gather(*(self._tells(process) for process, _ in self._processes))
        at = time.monotonic()
        await self.end()
        self._collect(logs, at)

    async def silent(self, logs: Logs) -> None:
        """Let them write down what they heard, and stop all of them; `end` them later."""
        await asyncio.gather(*(self._tells(process) for process, _ in self._processes))
        at = time.monotonic()
        for process, _ in self._processes:
            process.send_signal(signal.SIGSTOP)
        self._collect(logs, at)

    def _collect(self, logs: Logs, at: float) -> None:
        for _, path in self._processes:
            for name, records in _decode(path.read_bytes()).items():
                logs.clients[name] = [*records, Lost(at=at, code=_END), Left(at=at)]
            path.unlink()

    async def end(self) -> None:
        """Kill what is left of them.  Idempotent."""
        for process, _ in self._processes:
            if process.returncode is None:
                process.kill()
        for process, _ in self._processes:
            await process.communicate()
