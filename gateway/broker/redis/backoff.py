"""How long to wait before the next attempt: twice as long after each failure, up to a bound, with jitter.

Knows nothing of clocks or connections.  What always holds: a wait is at most `most_s`.
"""

from __future__ import annotations

from random import Random


class Backoff:
    """Waits that grow.  `random` spreads them, so that many gateways do not come back in step."""

    def __init__(self, first_s: float, most_s: float, random: Random) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._random = random
        self._failures = 0

    def reset(self) -> None:
        """Begin anew: the last attempt led to something that lasted."""
        self._failures = 0

    def next_s(self) -> float:
        """Return the next wait, in seconds."""
        longest_s = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return longest_s * self._random.uniform(0.5, 1.0)
