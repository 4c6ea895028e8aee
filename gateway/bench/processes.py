"""CPU time and memory of processes, read from /proc.

The CPU time of a process is utime + stime of all its threads, those that ended included.  Its memory is
PSS (pages shared with others are divided among them) where the system tells it, else VmRSS.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from .target import BenchError

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What was used between two moments; `own_waited_s`: we wanted a processor and got none.

    `server_cpu_each_s`: the part of each of the server's processes, in the order of their ids.
    """

    wall_s: float
    server_cpu_s: float
    own_cpu_s: float
    own_waited_s: float
    server_cpu_each_s: tuple[float, ...] = ()

    def plus(self, other: Usage) -> Usage:
        """Return what was used in both spans of time, by the same processes."""
        each = zip(self.server_cpu_each_s, other.server_cpu_each_s, strict=True)
        return Usage(
            self.wall_s + other.wall_s,
            self.server_cpu_s + other.server_cpu_s,
            self.own_cpu_s + other.own_cpu_s,
            self.own_waited_s + other.own_waited_s,
            tuple(ours + theirs for ours, theirs in each),
        )

    @property
    def own_share(self) -> float:
        """Part of the time, 0 to 1, in which the load tool had or wanted a processor."""
        return min(1.0, (self.own_cpu_s + self.own_waited_s) / self.wall_s) if self.wall_s else 0.0

    @property
    def server_share(self) -> float:
        """Processors that the server used; more than 1 when it has several threads or processes."""
        return self.server_cpu_s / self.wall_s if self.wall_s else 0.0


class Meter:
    """Measures this process and the server's, from its creation or the last `restart` on.

    Raises BenchError when a process is not there or cannot be read.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self._began_s = time.monotonic()
        self._server_cpu_each_s = self._cpu_each_s()
        self._own_cpu_s = time.process_time()
        self._waited_s = _waited_s()

    def read(self) -> Usage:
        """Return what was used since the beginning."""
        each_s = tuple(
            now - then for now, then in zip(self._cpu_each_s(), self._server_cpu_each_s, strict=True)
        )
        own_cpu_s = time.process_time() - self._own_cpu_s
        own_waited_s = _waited_s() - self._waited_s
        return Usage(time.monotonic() - self._began_s, sum(each_s), own_cpu_s, own_waited_s, each_s)

    def memory_bytes(self) -> int:
        """Return the memory of the server's processes."""
        return sum(memory_bytes(pid) for pid in self._pids)

    def _cpu_each_s(self) -> tuple[float, ...]:
        return tuple(cpu_s(pid) for pid in self._pids)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process.  Raises BenchError."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_bytes(pid: int) -> int:
    """Return the memory of a process.  Raises BenchError."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            text = _read(pid, name)
        except BenchError:
            if name == "status":
                raise
            continue
        for line in text.splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    raise BenchError(f"process {pid} does not tell its memory")


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text()
    except OSError as error:
        raise BenchError(f"process {pid} cannot be measured: {error.strerror}") from None


def _waited_s() -> float:
    """Time this process was ready to run and did not; 0 where the system does not tell."""
    try:
        return int((_PROC / "self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
