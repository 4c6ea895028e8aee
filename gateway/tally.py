"""What users and addresses spent in all workers of a supervisor.

It knows no workers, and no sockets.  What a worker told before it was killed stays spent.
"""

from __future__ import annotations

from collections.abc import Iterable

from .limits import USER, LimitOptions, Spent
from .meters import Allowance, Meters

_SWEEP = 20_000


class Tally:
    """Adds up for all workers, under their limits."""

    def __init__(self, options: LimitOptions) -> None:
        self.options = options
        self._users = Meters()
        self._addresses = Meters()

    def spend(self, spent: Iterable[Spent], now: float) -> list[Spent]:
        """Add what was spent; return the levels of those who spent it."""
        levels = []
        for who, messages, size_bytes in spent:
            meters, rate = self._of(who)
            meter = meters.get(who, rate, now)
            meter.spend(rate, messages, size_bytes)
            levels.append(Spent(who, meter.messages, meter.bytes))
        self._users.sweep(self.options.user, now, _SWEEP)
        self._addresses.sweep(self.options.address, now, _SWEEP)
        return levels

    def _of(self, who: str) -> tuple[Meters, Allowance]:
        if who.startswith(USER):
            return self._users, self.options.user
        return self._addresses, self.options.address

    def __len__(self) -> int:
        """Return of how many something is remembered."""
        return len(self._users) + len(self._addresses)
