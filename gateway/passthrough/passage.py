"""A route whose clients are passed through: takes their connections (see `Edge`'s `passages`).

Each is a `Crossing` until its upstream answered, and `Passing` after that.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from typing import Final, NamedTuple

from ..connection._connection import Connection
from ..connection._edge import Edge
from ..connection.accepted import Accepted
from .crossing import Crossing, Route, Upstreams
from .guard import Guard
from .passing import Limiter, PassageCounts, Passing


class PassageOptions(NamedTuple):
    """`move_within_s`: over which time clients of an address that goes are moved; 0: never.

    `guard` is None where nobody has to show who it is.  `connect_timeout_s`: to be let in.
    """

    connect_timeout_s: float
    guard: Guard | None = None
    move_within_s: float = 0.0


class Passage:
    """Takes the connections of one route (see `Connection.hand_off`)."""

    keeps_connections: Final = False

    def __init__(
        self,
        edge: Callable[[], Edge],
        upstreams: Upstreams,
        options: PassageOptions,
        *,
        name: str,
        limiter: Limiter | None = None,
    ) -> None:
        self._ended = False
        self._random = SystemRandom()
        self._route = Route(
            edge,
            upstreams,
            name=name,
            timeout_s=options.connect_timeout_s,
            guard=options.guard,
            limiter=limiter,
            joined=self._look_at,
        )
        self._move_within_s = options.move_within_s

    @property
    def name(self) -> str:
        """The route's name in the configuration."""
        return self._route.name

    @property
    def counts(self) -> PassageCounts:
        """What it counts."""
        return self._route.counts

    def change(self, options: PassageOptions) -> None:
        """Use other options for those who come from now on; the route is there, also if it was not."""
        self._ended = False
        self._route.timeout_s = options.connect_timeout_s
        self._route.guard = options.guard
        self._move_within_s = options.move_within_s

    def end(self) -> None:
        """Let everybody go, each in its time: the route is not there any more."""
        self._ended = True
        for passing in [*self._route.passing]:
            self._look_at(passing)

    def move(self) -> None:
        """Ask clients of addresses that are gone, or not healthy, to come back: each in its time.

        Times are random, so that the others do not get all of them at once.
        """
        if self._move_within_s:
            for passing in self._route.passing:
                self._look_at(passing)

    def _look_at(self, passing: Passing) -> None:
        """Have a client moved, unless it can stay or is about to be."""
        if passing.moves or not (self._ended or passing.leaves or not passing.stays):
            return
        if self._move_within_s:
            passing.moves = True
            wait_s = self._random.uniform(0.0, self._move_within_s)
            self._route.edge().loop.call_later(wait_s, self._move, passing)
        elif self._ended:
            passing.moves = True
            passing.move()

    def _move(self, passing: Passing) -> None:
        """Ask a client to come back now, unless its address is well again, or the only one."""
        if passing.is_over:
            return
        if self._ended or not passing.stays:
            passing.move()
        else:
            passing.moves = False
            self._look_at(passing)

    def take(
        self, connection: Connection, transport: object, fd: int, accepted: Accepted, early: bytes
    ) -> None:
        """Take a connection whose request was found good; it is answered in time."""
        Crossing(self._route, accepted).begin(connection, transport, fd, early)
