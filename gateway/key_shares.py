"""How many idempotency keys one client may have remembered: so that none uses up the room of all.

It knows neither sessions nor brokers: who asks says whose key it is, and for how long it would be known.  How
it works: half of a share may be used at once, and the other half comes back in `IDEMPOTENCY_S`; a key that is
known for longer costs as much more.  What always holds: of what one name used, no more than its share is
remembered at any time, whatever becomes of the keys; a name that used none lately takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .errors import CommandError
from .meters import Allowance, Meters

IDEMPOTENCY_S: Final = 300.0
"""The least time for which keys are remembered."""
_SWEEP: Final = 20_000


class KeyShares:
    """The shares of one process, of `most` keys each.  `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._meters = Meters()

    def __len__(self) -> int:
        return len(self._meters)

    def take(self, name: str, ttl_s: float, most: int) -> None:
        """Count a key of `name` that is to be known for `ttl_s`.  Raises CommandError `rate_limited`."""
        cost = max(1.0, ttl_s / IDEMPOTENCY_S)
        meter = self._meters.get(name, _rate(most), self._clock())
        if meter.messages + cost > most / 2:
            raise CommandError("rate_limited", "too many idempotency keys in too short a time")
        meter.messages += cost

    def sweep(self, most: int) -> None:
        """Forget who used none lately; to be called about once a second."""
        self._meters.sweep(_rate(most), self._clock(), _SWEEP)


def _rate(most: int) -> Allowance:
    return Allowance(messages=most / 2 / IDEMPOTENCY_S)
