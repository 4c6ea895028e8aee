"""What `bench/compare.py` measures: the cases of docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_CLIENTS: Final = {
    "echo": "connections",
    "fanout": "subscribers",
    "subscriptions": "subscribers",
    "connect": "connections",
    "idle": "connections",
    "http": "connection",
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
        if self.scenario in {"echo", "fanout", "subscriptions"}:
            text += f", {self.size:,} B, {self.in_flight} in flight"
        return text


ECHO: Final = Case("echo", 100)
ECHO_16: Final = Case("echo", 100, in_flight=16)
FANOUT: Final = Case("fanout", 1000)
FANOUT_16: Final = Case("fanout", 1000, in_flight=16)
CONNECT: Final = Case("connect", 20_000)
IDLE: Final = Case("idle", 5000)
HTTP: Final = Case("http", 1)
SUBSCRIPTIONS: Final = Case("subscriptions", 100)

# Those that have a row in the targets.
QUICK: Final = (ECHO, ECHO_16, FANOUT, FANOUT_16, CONNECT, IDLE, HTTP, SUBSCRIPTIONS)

SUBSCRIBERS: Final = (10, 100, 1000, 5000)
IN_FLIGHT: Final = (1, 16, 128)
SIZES: Final = (16, 64, 1024, 16_384, 65_536)

ALL: Final = tuple(
    dict.fromkeys(
        [
            *QUICK,
            *(Case("fanout", n, in_flight=k) for n in SUBSCRIBERS for k in IN_FLIGHT),
            *(Case("fanout", 100, size=size) for size in SIZES),
            *(Case("echo", 100, in_flight=k) for k in IN_FLIGHT),
            *(Case("echo", 100, size=size) for size in SIZES),
        ]
    )
)
