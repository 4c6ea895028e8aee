"""What limits were reached: a counter for each, and a log line now and then.

It knows no limit and nobody who is limited.  What always holds: of one limit a line is logged only now and
then, and says for how many it stands (see `seldom`); labels are the program's own, never names of users or
channels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from .publish_times import Sample
from .seldom import Seldom

_logger = logging.getLogger("gateway.limits")


class Exceeded:
    """The limits that were reached in one process.  `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.counts: dict[str, int] = {}
        self._seldom = Seldom(clock)

    def count(self, limit: str, who: str = "") -> None:
        """Count that a limit was reached by somebody: an address, a user, a channel."""
        self.counts[limit] = self.counts.get(limit, 0) + 1
        if times := self._seldom.times(limit):
            _logger.warning("a limit was reached", extra={"limit": limit, "who": who, "times": times})

    def samples(self) -> Iterable[Sample]:
        """Yield the counters for `/metrics`."""
        for limit, count in list(self.counts.items()):
            yield "ringgate_limited", "counter", "times a limit was reached", {"limit": limit}, count
