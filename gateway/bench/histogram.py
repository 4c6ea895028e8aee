"""Latencies in buckets: percentiles, and a plot in characters.

Buckets are those of `_load`: up to 128 ns one each, above that 64 for every power of two, so a value is
known to 1.6 %.  It is told as the upper bound of its bucket: nothing is made to look faster than it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)
_PER_POWER: Final = 64
_BAR: Final = " ▏▎▍▌▋▊▉█"


def lower_bound_ns(bucket: int) -> int:
    """Return the smallest value that falls into a bucket."""
    shift = max(bucket // _PER_POWER - 1, 0)
    return (bucket - shift * _PER_POWER) << shift


class Histogram:
    """How many latencies fell into each bucket."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        self.total = sum(counts)

    def percentile_ns(self, percent: float) -> int:
        """Return the value that `percent` of all do not exceed; 0 when there are none."""
        wanted = math.ceil(self.total * percent / 100 - 1e-9)
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return lower_bound_ns(bucket + 1) - 1
        return 0

    def mean_ns(self) -> float:
        """Return the mean, from the middle of each bucket; 0 when there are none."""
        middle = ((lower_bound_ns(i) + lower_bound_ns(i + 1) - 1) / 2 for i in range(len(self.counts)))
        return sum(c * m for c, m in zip(self.counts, middle, strict=True)) / (self.total or 1)

    def percentiles(self) -> dict[str, int]:
        """Return the table: "50" to "100" (the greatest), in nanoseconds."""
        return {f"{percent:g}": self.percentile_ns(percent) for percent in PERCENTILES}

    def sparse(self) -> list[tuple[int, int]]:
        """Return (lower bound in nanoseconds, count) of the buckets that are not empty."""
        return [(lower_bound_ns(i), count) for i, count in enumerate(self.counts) if count]

    def plot(self, *, width: int = 50, rows: int = 16) -> str:
        """Draw it: a line for each range of values (a constant factor apart), a bar for its share."""
        used = [i for i, count in enumerate(self.counts) if count]
        if not used:
            return ""
        low, high = max(lower_bound_ns(used[0]), 1), lower_bound_ns(used[-1] + 1)
        factor = max((high / low) ** (1 / rows), 1.05)
        sums: dict[int, int] = {}
        for i in used:
            row = int(math.log(max(lower_bound_ns(i), low) / low) / math.log(factor) + 1e-9)
            sums[row] = sums.get(row, 0) + self.counts[i]
        most = max(sums.values())
        lines = []
        for row in range(max(sums) + 1):
            count = sums.get(row, 0)
            share = f"{100 * count / self.total:6.2f} %" if count else ""
            lines.append(
                f"{duration(low * factor**row):>9}  {_bar(count / most, width):<{width}} {share}".rstrip()
            )
        return "\n".join(lines)


def _bar(part: float, width: int) -> str:
    eighths = max(round(part * width * 8), 1 if part else 0)
    return _BAR[8] * (eighths // 8) + _BAR[eighths % 8].strip()


def duration(ns: float) -> str:
    """Return a time with the unit that suits it: "850 ns", "12.3 µs", "4.56 ms", "1.20 s"."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns / size < 999.5 else f"{ns / size:.0f} {unit}"
    return f"{ns:.0f} ns"
