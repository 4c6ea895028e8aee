"""What can be seen of the groups: their state as plain data, and samples for metrics.

It changes nothing.  Labels come from the configuration and from look-ups of its names alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .breaker import BreakerState
from .upstream import Upstream

Sample = tuple[str, str, str, Mapping[str, str], float]
"""Name, kind, help text, labels, value."""


def describe(upstreams: Iterable[Upstream], now: float) -> list[dict[str, Any]]:
    """Return the state of groups and their targets, as `GET /api/upstreams` shows it."""
    return [
        {
            "name": upstream.name,
            "balance": upstream.options.balance,
            "pending": upstream.gate.inside,
            "waiting": upstream.gate.waiting,
            "turned_away": upstream.gate.turned_away,
            "targets": [
                {
                    "address": str(target.endpoint.address),
                    "ip": target.endpoint.ip,
                    "weight": round(target.weight(now), 3),
                    "healthy": target.health.healthy,
                    "draining": target.draining,
                    "breaker": target.breaker.state(now).value,
                    "retry_in_ms": round(target.breaker.retry_in(now) * 1000),
                    "pending": target.pending,
                    "requests": dict(target.requests),
                }
                for target in (*upstream.targets, *upstream.leaving)
            ],
        }
        for upstream in upstreams
    ]


def samples(upstreams: Iterable[Upstream], now: float) -> Iterator[Sample]:
    """Yield what groups count."""
    for upstream in upstreams:
        label = {"upstream": upstream.name}
        for target in (*upstream.targets, *upstream.leaving):
            here = {**label, "target": str(target.endpoint)}
            works = target.health.healthy and target.breaker.state(now) is not BreakerState.OPEN
            up = float(works and not target.draining)
            yield "ringgate_upstream_target_up", "gauge", "addresses that get requests", here, up
            yield "ringgate_upstream_pending", "gauge", "requests under way", here, target.pending
            opened = target.breaker.opened
            yield (
                "ringgate_upstream_breaker_opened",
                "counter",
                "times an address was left alone",
                here,
                opened,
            )
        for outcome, count in upstream.outcomes.items():
            labels = {**label, "outcome": outcome}
            yield "ringgate_upstream_requests", "counter", "requests to app services", labels, count
        spent = upstream.seconds
        yield "ringgate_upstream_seconds", "counter", "time spent on requests", label, spent
        yield "ringgate_upstream_waiting", "gauge", "requests that wait", label, upstream.gate.waiting
        refused = upstream.refused_addresses
        if refused:
            yield (
                "ringgate_upstream_addresses_refused",
                "counter",
                "IPs a name may not lead to",
                label,
                refused,
            )
        away = upstream.gate.turned_away
        yield "ringgate_upstream_turned_away", "counter", "requests for which there was no room", label, away
