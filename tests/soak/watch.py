"""What a gateway holds, seen from outside: its gauges, and descriptors and memory of all its processes.

Knows /metrics and /proc; nothing of the gateway's inside, and nothing of what is done to it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import httpx

GAUGES: Final = {
    "connections": "ringgate_connections",
    "sessions": "ringgate_sessions",
    "channels": "ringgate_channels",
    "rings": "ringgate_rings",
    "tasks": "ringgate_tasks",
    "lagging": "ringgate_ring_lagging",
    "kept channels": "ringgate_broker_channels",
    "publications": "ringgate_broker_publications",
    "members": "ringgate_broker_members",
    "kept sessions": "ringgate_broker_sessions",
    "keys": "ringgate_broker_keys",
}
SLACK: Final = {"tasks": 2, "descriptors": 2, "publications": 60}
"""By how much it may differ for a moment: requests that are under way, and the beats that are kept."""

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """What was held at a time (seconds since the start): gauges and descriptors by name.

    `each` is the memory of each process in bytes, `series` how many time series /metrics has.
    """

    at_s: float
    held: dict[str, int]
    each: tuple[int, ...]
    series: int

    @property
    def memory(self) -> int:
        """Bytes of all processes."""
        return sum(self.each)

    def more_than(self, other: Sample) -> dict[str, tuple[int, int]]:
        """Return what this holds more of than the other: (now, then)."""
        return {
            name: (count, other.held[name])
            for name, count in self.held.items()
            if count > other.held[name] + SLACK.get(name, 0)
        }


class Heap(NamedTuple):
    """What a process has allocated: Python's blocks, and bytes of malloc."""

    blocks: int
    malloc: int


class Watch:
    """Takes samples of the gateway whose first process has the id `pid`, and tells of its heap in a file."""

    def __init__(self, pid: int, http: httpx.AsyncClient, heap_file: Path) -> None:
        self._pid = pid
        self._heap_file = heap_file
        self._http = http
        self._started_s = time.monotonic()

    async def sample(self) -> Sample:
        """Return what is held now.  Raises httpx.HTTPError."""
        found = _SAMPLE.findall((await self._http.get("/metrics")).text)
        totals: dict[str, float] = {}
        for name, value in found:
            totals[name] = totals.get(name, 0.0) + float(value)
        held = {short: int(totals.get(name, 0)) for short, name in GAUGES.items()}
        pids = self.pids()
        held["descriptors"] = sum(descriptors(pid) for pid in pids)
        held["processes"] = len(pids)
        each = tuple(memory_bytes(pid) for pid in pids)
        return Sample(time.monotonic() - self._started_s, held, each, len(found))

    async def heap(self) -> Heap:
        """Return what the first process has allocated.  Raises TimeoutError."""
        self._heap_file.unlink(missing_ok=True)
        os.kill(self._pid, signal.SIGUSR2)
        async with asyncio.timeout(30.0):
            while not self._heap_file.exists():
                await asyncio.sleep(0.1)
                await self._http.get("/health/live")  # so that its loop turns
        blocks, malloc = self._heap_file.read_text().split()
        return Heap(int(blocks), int(malloc))

    def pids(self) -> list[int]:
        """Return the process and its workers."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text()
        return [self._pid, *map(int, children.split())]


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_bytes(pid: int) -> int:
    """Return the anonymous memory of a process that is resident: heap and stacks, no files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
