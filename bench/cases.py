"""What `bench/compare.py` measures: the cases of docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_CLIENTS: Final = {
    "echo": "connections",
    "fanout": "subscribers",
    "connect": "connections",
    "idle": "connections",
}


@dataclass(frozen=True)
class Case:
    """One measurement.  `in_flight` is for each connection (echo) or in all (fan-out), `size` in bytes."""

    scenario: str
    clients: int
    in_flight: int = 1
    size: int = 64

    @property
    def title(self) -> str:
        """Its name in tables and for --only."""
        text = f"{self.scenario}, {self.clients:,} {_CLIENTS[self.scenario]}"
        if self.scenario in {"echo", "fanout"}:
            text += f", {self.size:,} B, {self.in_flight} in flight"
        return text


# Those that have a row in the targets.
QUICK: Final = (
    Case("echo", 100),
    Case("echo", 100, in_flight=16),
    Case("fanout", 1000),
    Case("fanout", 1000, in_flight=16),
    Case("connect", 20_000),
    Case("idle", 5000),
)

SIZES: Final = (16, 1024, 16_384, 65_536)

ALL: Final = tuple(
    dict.fromkeys(
        [
            *(Case("echo", 100, in_flight=k) for k in (1, 16, 128)),
            *(Case("echo", 100, size=size) for size in SIZES),
            *(Case("fanout", n, in_flight=k) for n in (10, 100, 1000, 5000) for k in (1, 16, 128)),
            *(Case("fanout", 100, size=size) for size in SIZES),
            *QUICK,
        ]
    )
)
