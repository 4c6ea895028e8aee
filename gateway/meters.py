"""Meters: what was spent of an allowance of messages and bytes in a second (token buckets).

Pure arithmetic; time is handed in.  A meter's level rises by what is spent and sinks at the allowance's rate;
more may be spent while it stays within what the rate gives in `burst_s`.  What always holds: an empty meter
lets something through whatever its size, which is then paid off, so no allowance is so small that nothing
ever passes; over any time t at most rate x (burst_s + t) passes, and one spending more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple


class Allowance(NamedTuple):
    """How much may be spent in a second; 0 is no limit."""

    messages: float = 0.0
    bytes: float = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self.messages or self.bytes)


class Meter:
    """What was spent by one connection, user or address.  Every method is for one and the same allowance."""

    __slots__ = ("at", "bytes", "messages")

    def __init__(self, now: float) -> None:
        self.messages = 0.0
        self.bytes = 0.0
        self.at = now

    def sink(self, rate: Allowance, now: float) -> None:
        """Let the level sink to what it is now."""
        passed, self.at = now - self.at, now
        if passed > 0:
            self.messages = max(0.0, self.messages - rate.messages * passed)
            self.bytes = max(0.0, self.bytes - rate.bytes * passed)

    def refuses(self, rate: Allowance, burst_s: float, messages: int, size_bytes: int) -> str:
        """Return "messages" or "bytes" if these were too many, else "".  Spends nothing."""
        if rate.messages and self.messages > 0 and self.messages + messages > rate.messages * burst_s:
            return "messages"
        if rate.bytes and self.bytes > 0 and self.bytes + size_bytes > rate.bytes * burst_s:
            return "bytes"
        return ""

    def spend(self, rate: Allowance, messages: float, size_bytes: float) -> None:
        """Add what passed."""
        if rate.messages:
            self.messages += messages
        if rate.bytes:
            self.bytes += size_bytes

    @property
    def empty(self) -> bool:
        """Whether it can be forgotten: a new one would be the same."""
        return self.messages <= 0 and self.bytes <= 0


class Meters:
    """Meters by name: of users, addresses or channels.  One that is empty is forgotten by `sweep`."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}

    def __len__(self) -> int:
        return len(self._meters)

    def __getitem__(self, name: str) -> Meter:
        """Return a meter that there is."""
        return self._meters[name]

    def get(self, name: str, rate: Allowance, now: float) -> Meter:
        """Return the meter of a name, as it stands now; a new one if there is none."""
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = Meter(now)
        else:
            meter.sink(rate, now)
        return meter

    def sweep(self, rate: Allowance, now: float, most: int) -> None:
        """Look at the `most` names that were looked at longest ago; forget those that are empty."""
        for name in list(islice(self._meters, most)):
            meter = self._meters.pop(name)
            meter.sink(rate, now)
            if not meter.empty:
                self._meters[name] = meter

    def __iter__(self) -> Iterator[str]:
        return iter(self._meters)
