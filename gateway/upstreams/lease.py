"""A target that is chosen for a connection that lasts, not for one request.

It counts as pending until it is given back, so that a balance by what is pending spreads connections; the
breaker hears only how it began.  Knows nothing of what the connection is.
"""

from __future__ import annotations

from collections.abc import Callable

from .target import Endpoint, Target, Ticket


class Lease:
    """One target for one connection.  `connected` or `failed` is called once, then `release` once."""

    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self._target = target
        self._clock = clock
        self._ticket: Ticket | None = target.begin(clock())

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return self._target.endpoint

    @property
    def target(self) -> Target:
        """What was chosen."""
        return self._target

    def connected(self) -> None:
        """It answered well."""
        self._tell("connected", ok=True)
        self._target.pending += 1

    def failed(self) -> None:
        """It could not be connected to, or did not answer well."""
        self._tell("not_connected", ok=False)
        self._target.pending += 1

    def release(self) -> None:
        """The connection is over, or was given up."""
        if self._ticket is not None:
            self._tell("gone", ok=None)
        else:
            self._target.pending -= 1

    def _tell(self, outcome: str, *, ok: bool | None) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._target.end(ticket, self._clock(), outcome, ok=ok)
