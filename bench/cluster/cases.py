"""What `bench.cluster` measures: the cases of the section on clusters in docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .rivals.cluster import BATCH, HTTP, WS

RELAY: Final = "relay"  # published on node A, subscribed on node B: closed loop
LATENCY: Final = "latency"  # the same, open loop at a fixed rate
SPREAD: Final = "spread"  # many subscribers on both nodes


@dataclass(frozen=True)
class Case:
    """One measurement.

    `in_flight` publications in all are on their way (a closed loop), from `publishers` connections, each with
    a channel and a subscriber of its own; or `rate` are published a second.  `batch` are in one request.
    """

    kind: str
    publish: str = WS
    in_flight: int = 1
    publishers: int = 1
    subscribers: int = 1
    rate: float = 0.0
    batch: int = 1
    size: int = 64

    @property
    def title(self) -> str:
        """Its name in tables and for --only."""
        if self.kind == LATENCY:
            return f"latency, {self.rate:,.0f} a second"
        if self.kind == SPREAD:
            return f"spread, {self.subscribers:,} subscribers, {self.in_flight} in flight"
        over = {WS: "WebSocket", HTTP: "/api/publish", BATCH: f"/api/batch of {self.batch}"}[self.publish]
        plural = "s" if self.publishers > 1 else ""
        return f"relay, {over}, {self.publishers} connection{plural}, {self.in_flight} in flight"

    @property
    def pipeline(self) -> tuple[int, int]:
        """Connections and publications in flight on each, as redis-benchmark has to be told."""
        return self.publishers, self.in_flight * self.batch // self.publishers


RELAY_1: Final = Case(RELAY)
RELAY_16: Final = Case(RELAY, in_flight=16)
RELAY_128: Final = Case(RELAY, in_flight=128)
RELAY_16_CONNECTIONS: Final = Case(RELAY, in_flight=16, publishers=16)
HTTP_1: Final = Case(RELAY, HTTP)
HTTP_16: Final = Case(RELAY, HTTP, in_flight=16, publishers=16)
BATCH_128: Final = Case(RELAY, BATCH, batch=128)
RELAYS: Final = (RELAY_1, RELAY_16, RELAY_128, RELAY_16_CONNECTIONS, HTTP_1, HTTP_16, BATCH_128)

SHAPES: Final = (RELAY_16, RELAY_128, RELAY_16_CONNECTIONS)  # also with Redis in another shape

LATENCY_1000: Final = Case(LATENCY, rate=1000)
LATENCY_100: Final = Case(LATENCY, rate=100)
SPREAD_1: Final = Case(SPREAD, subscribers=1000)
SPREAD_16: Final = Case(SPREAD, subscribers=1000, in_flight=16)

LATENCIES: Final = (LATENCY_1000, LATENCY_100)
SPREADS: Final = (SPREAD_1, SPREAD_16)

ALL: Final = (*RELAYS, *LATENCIES, *SPREADS)
