"""One client that is passed through: who owns the two ends of its tunnel once they are joined.

It knows the ends, and as things that are given back the address's lease, the guest, and what limits it.  What
always holds: each is given back once, when the end that it belongs to is gone.
"""

from __future__ import annotations

from typing import Protocol

from .. import closecodes
from ..connection._tunnel import TunnelEnd
from .guard import Closable, Guest


class Lease(Protocol):
    """An address that is in use."""

    def stays(self) -> bool:
        """Tell whether its connections may go on: it works, or there is no other."""

    def leaves(self) -> bool:
        """Tell whether its connections are to go as soon as there is another."""

    def release(self) -> None:
        """The client's connection to it is over.  Called once."""


class Counted(Closable, Protocol):
    """A client's connection, as far as limits need one."""

    @property
    def address(self) -> str:
        """Under which name the client's address is counted; "" where nobody counts."""


class Limited(Protocol):
    """A client that is held to limits."""

    def take(self, messages: int, size_bytes: int) -> bool:
        """Take what it begins to say; false if that is too much."""

    def leave(self) -> None:
        """It is gone.  Idempotent."""


class Limiter(Protocol):
    """Holds clients to limits."""

    def enter(self, connection: Counted, user: str) -> Limited | None:
        """Count a client that comes; None where nothing is limited."""


class PassageCounts:
    """What passes now (`open`), and what passed and did not since the start."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self.moved = 0
        self.refused: dict[str, int] = {}


class Passing:
    """One client and its service (see `_tunnel.Owner`).  It is in `among` as long as its client is there."""

    __slots__ = ("_among", "_counts", "_guest", "_lease", "_limited", "client", "moves")

    def __init__(
        self,
        among: set[Passing],
        counts: PassageCounts,
        client: TunnelEnd,
        lease: Lease,
        guest: Guest | None,
        limited: Limited | None,
    ) -> None:
        self.client = client
        self._limited = client.meter = limited
        self._among = among
        self._counts = counts
        self._lease = lease
        self._guest = guest
        self.moves = False
        among.add(self)
        counts.open += 1
        counts.opened += 1

    @property
    def stays(self) -> bool:
        """Whether its service is there, as far as is known, or there is no other."""
        return self._lease.stays()

    @property
    def leaves(self) -> bool:
        """Whether it is to go as soon as there is another address."""
        return self._lease.leaves()

    @property
    def is_over(self) -> bool:
        """Whether its client is gone."""
        return self not in self._among

    def move(self) -> None:
        """Ask the client to come back, where it gets another address."""
        self._counts.moved += 1
        self.client.close(closecodes.SERVICE_RESTART, "the service moves")

    def heard(self, data: bytes) -> None:
        """Nothing is said outside of the tunnel any more."""

    def late(self, end: TunnelEnd) -> None:
        """Nothing is late any more."""

    def over(self, end: TunnelEnd) -> None:
        """An end is gone."""
        if end is not self.client:
            self._lease.release()
            return
        self._among.discard(self)
        self._counts.open -= 1
        if self._guest is not None:
            self._guest.leave()
        if self._limited is not None:
            self._limited.leave()
