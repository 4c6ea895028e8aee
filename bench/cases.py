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
    "stalled": "clients",
    "resume": "clients",
    "workers": "subscribers",
    "channels": "channels",
}
POLICIES: Final = ("disconnect", "skip", "latest")


@dataclass(frozen=True)
class Case:
    """One measurement.  `in_flight` is for each connection (echo) or in all (fan-out), `size` in bytes.

    `kind` is the policy towards slow consumers, or the number of channels of those who resume.
    """

    scenario: str
    clients: int
    in_flight: int = 1
    size: int = 64
    kind: str = ""

    @property
    def title(self) -> str:
        """Its name in tables and for --only."""
        text = f"{self.scenario}, {self.clients:,} {_CLIENTS[self.scenario]}"
        if self.scenario == "stalled":
            return f"{text}, {self.size:,} B, {self.kind}"
        if self.scenario == "resume":
            return f"{text} on {int(self.kind):,} channels"
        if self.scenario in {"echo", "fanout", "subscriptions", "workers", "channels"}:
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

RESUME: Final = Case("resume", 5000, kind="1")
RESUME_MANY: Final = Case("resume", 5000, kind="500")
WORKERS: Final = Case("workers", 1000)
WORKERS_16: Final = Case("workers", 1000, in_flight=16)
STALLED: Final = tuple(Case("stalled", 10_000, size=2048, kind=policy) for policy in POLICIES)

# Those that have a row in the targets.
QUICK: Final = (
    *(ECHO, ECHO_16, FANOUT, FANOUT_16, CONNECT, IDLE, HTTP, SUBSCRIPTIONS),
    *(RESUME, RESUME_MANY, WORKERS, WORKERS_16, *STALLED),
)

SUBSCRIBERS: Final = (10, 100, 1000, 5000)
IN_FLIGHT: Final = (1, 16, 128)
SIZES: Final = (16, 64, 1024, 16_384, 65_536)
CHANNELS: Final = (1, 10, 100, 1000, 10_000)
CHANNELS_IN_FLIGHT: Final = (1, 16)

ALL: Final = tuple(
    dict.fromkeys(
        [
            *QUICK,
            *(Case("fanout", n, in_flight=k) for n in SUBSCRIBERS for k in IN_FLIGHT),
            *(Case("fanout", 100, size=size) for size in SIZES),
            *(Case("echo", 100, in_flight=k) for k in IN_FLIGHT),
            *(Case("echo", 100, size=size) for size in SIZES),
            *(Case("channels", n, in_flight=k) for n in CHANNELS for k in CHANNELS_IN_FLIGHT),
        ]
    )
)
