"""One target: an address of a service looked up to an IP, with its share, what is under way, and how it does.

Pure: it is told the time.  What always holds: `pending` is the number of requests begun and not ended.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .breaker import Breaker, BreakerState
from .health import Health
from .options import ServiceAddress, UpstreamOptions

_LEAST_SHARE: Final = 0.1


class Endpoint(NamedTuple):
    """Where a target is: the address as configured, and the IP that it was looked up to."""

    address: ServiceAddress
    ip: str

    def __str__(self) -> str:
        if self.ip == self.address.host:
            return str(self.address)
        return f"{self.address} ({self.ip})"


class Ticket(NamedTuple):
    """A request under way at a target."""

    target: Target
    turn: int


class Target:
    """One place where requests can go."""

    __slots__ = (
        "_slow_start_s",
        "_warm_since",
        "breaker",
        "current",
        "draining",
        "endpoint",
        "health",
        "pending",
        "requests",
    )

    def __init__(self, endpoint: Endpoint, options: UpstreamOptions) -> None:
        self.endpoint = endpoint
        self.breaker = Breaker(options.breaker)
        self.health = Health(options.health)
        self.pending = 0
        self.requests: dict[str, int] = {}
        """How many ended, by outcome."""
        self.current = 0.0
        """Belongs to the round robin."""
        self.draining = False
        """Nothing new is to go here, and what lasts is to leave: an operator or the configuration says so."""
        self._slow_start_s = options.slow_start_s
        self._warm_since: float | None = None

    def usable(self, now: float) -> bool:
        """Tell whether a request may go here."""
        return not self.draining and self.health.healthy and self.breaker.allows(now)

    def change(self, endpoint: Endpoint, options: UpstreamOptions) -> None:
        """Take another weight and other options; what is known of the place stays."""
        self.endpoint = endpoint
        self.breaker.change(options.breaker)
        self.health.change(options.health)
        self._slow_start_s = options.slow_start_s
        if not self._slow_start_s:
            self._warm_since = None

    def weight(self, now: float) -> float:
        """Return the share that it should have now: less for a while after it came back."""
        full = float(self.endpoint.address.weight)
        if self._warm_since is None:
            return full
        share = (now - self._warm_since) / self._slow_start_s
        if share >= 1.0:
            self._warm_since = None
            return full
        return full * max(_LEAST_SHARE, share)

    def warm_up(self, now: float) -> None:
        """Begin anew with a small share, where that is wanted."""
        if self._slow_start_s:
            self._warm_since = now

    def checked(self, now: float, *, ok: bool) -> bool:
        """Take the result of a health check; tell whether health changed."""
        changed = self.health.checked(ok=ok)
        if changed and ok:
            self.warm_up(now)
        return changed

    def begin(self, now: float) -> Ticket:
        """Take that a request goes here.  Every ticket is given back by `end`, once."""
        self.pending += 1
        return Ticket(self, self.breaker.begin(now))

    def end(self, ticket: Ticket, now: float, outcome: str, *, ok: bool | None) -> None:
        """Take how a request ended: in a word for the metrics, and whether the target is to be blamed.

        `ok` is None where it says nothing of the target.
        """
        self.pending -= 1
        self.requests[outcome] = self.requests.get(outcome, 0) + 1
        before = self.breaker.state(now)
        self.breaker.end(ticket.turn, now, ok=ok)
        if before is BreakerState.HALF_OPEN and self.breaker.state(now) is BreakerState.CLOSED:
            self.warm_up(now)
