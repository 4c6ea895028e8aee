"""What the connections of a GRIP route count, and that as samples for metrics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from ..seldom import Seldom

Sample = tuple[str, str, str, Mapping[str, str], float]
"""Name, kind, help text, labels, value."""

_QUIET_S: Final = 1.0

_logger = logging.getLogger(__name__)


class GripCounts:
    """Counters of one route, and its log, which has at most a line a second.  `clock` gives seconds."""

    def __init__(self, route: str, clock: Callable[[], float]) -> None:
        self.route = route
        self.open = 0
        self.opened = 0
        self.subscriptions = 0
        self.refused: Counter[str] = Counter()
        """Handshakes, by the status that they were answered with."""
        self.failed: Counter[str] = Counter()
        """Connections that were closed for what their service did, by what that was."""
        self.events: Counter[str] = Counter()
        """Events sent to services, by their kind."""
        self._seldom = Seldom(clock, _QUIET_S)

    def complain(self, text: str, why: object, **extra: object) -> None:
        """Log what went wrong with one connection, unless another line was logged a moment ago."""
        if times := self._seldom.times():
            fields = {"route": self.route, "why": str(why), "times": times, **extra}
            _logger.warning(text, extra=fields)


def samples(routes: Iterable[GripCounts]) -> Iterator[Sample]:
    """Yield what routes count."""
    for counts in routes:
        label = {"route": counts.route}
        yield "ringgate_grip_connections", "gauge", "connections of GRIP services", label, counts.open
        yield "ringgate_grip_opened", "counter", "connections that GRIP services let in", label, counts.opened
        yield (
            "ringgate_grip_subscriptions", "gauge", "subscriptions of connections of GRIP services",
            label, counts.subscriptions,
        )  # fmt: skip
        for status, count in counts.refused.items():
            labels = {**label, "status": status}
            yield "ringgate_grip_refused", "counter", "handshakes that were refused", labels, count
        for why, count in counts.failed.items():
            labels = {**label, "why": why}
            yield "ringgate_grip_failed", "counter", "connections closed for their service", labels, count
        for kind, count in counts.events.items():
            labels = {**label, "event": kind}
            yield "ringgate_grip_events", "counter", "events sent to GRIP services", labels, count
