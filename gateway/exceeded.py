"""What limits were reached: a counter for each, and a log line now and then.

It knows no limit and nobody who is limited.  What always holds: of one limit at most one line is logged in
`QUIET_S`, and it says how many were not; labels are the program's own, never names of users or channels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from .publish_times import Sample

QUIET_S: Final = 10.0

_logger = logging.getLogger("gateway.limits")


class Exceeded:
    """The limits that were reached in one process.  `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.counts: dict[str, int] = {}
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}  # by limit: when, and its count then

    def count(self, limit: str, who: str = "") -> None:
        """Count that a limit was reached by somebody: an address, a user, a channel."""
        self.counts[limit] = count = self.counts.get(limit, 0) + 1
        now = self._clock()
        at, counted = self._logged.get(limit, (-QUIET_S, 0))
        if now - at >= QUIET_S:
            self._logged[limit] = (now, count)
            more = {"limit": limit, "who": who, "times": count - counted}
            _logger.warning("a limit was reached", extra=more)

    def samples(self) -> Iterable[Sample]:
        """Yield the counters for `/metrics`."""
        for limit, count in list(self.counts.items()):
            yield "ringgate_limited", "counter", "times a limit was reached", {"limit": limit}, count
