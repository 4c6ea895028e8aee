"""The limits of sessions: messages and bytes in a second, and connections of a user.

It knows sessions and meters; a node without such limits has none of this (`Node.limits` is None).  How it
works: a message is taken, or refused, at once, on what this process knows.  Where several processes serve the
same users (`share`), what users spent is told around a few times in a second, and the answer is what all of
them let pass: so for a moment each may let a whole burst through, and in the long run all together no
more than one.

What always holds: what is refused costs nothing of the allowance; every command of a refused message is
answered `rate_limited` in its place; who goes on all the same is closed with 4102; meters of users and
addresses outlive their connections, and are forgotten when they are empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from . import closecodes
from .exceeded import Exceeded
from .message.commands import Command, RefusedCommand
from .meters import Allowance, Meter, Meters

if TYPE_CHECKING:
    from .session import Session

SHARE_S: Final = 0.25
_REFUSALS: Final = Allowance(messages=10.0)
_REFUSALS_S: Final = 10.0  # so 100 messages are answered with an error before a connection is closed
_SWEEP: Final = 20_000


class LimitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is limited, in a second each.  `burst_s`: how long a rate may be saved up.  0 is no limit."""

    connection: Allowance = Allowance()
    user: Allowance = Allowance()
    address: Allowance = Allowance()
    burst_s: float = 5.0
    connections_per_user: int = 0
    connections_per_address: int = 0

    @property
    def limited(self) -> bool:
        """Whether sessions are limited in any way."""
        rates = (self.connection, self.user, self.address)
        return any(rate.limited for rate in rates) or bool(self.connections_per_user)


class Spent(NamedTuple):
    """What a user spent, or the level of the user's meter: messages, bytes."""

    user: str
    messages: float
    bytes: float


class Places(Protocol):
    """Who counts the connections of several processes."""

    def enter(self, client: str, keys: Sequence[tuple[str, int]]) -> None:
        """Count a connection under each key, of which the most are told; calls `over` if it is too many."""

    def leave(self, client: str) -> None:
        """Count it no more.  Idempotent."""


class _Limited:
    """What is known of one session."""

    __slots__ = ("address", "own", "refused", "user")

    def __init__(self, user: str, address: str, now: float) -> None:
        self.user = user
        self.address = address
        self.own = Meter(now)
        self.refused = Meter(now)


class Limits:
    """The limits of one process.  `exceeded` counts, and logs.

    `share`, where it is not None, is given what users spent since the last time; its answer is to go to
    `told`.  `places` counts connections for all processes.
    """

    def __init__(self, options: LimitOptions, loop: asyncio.AbstractEventLoop, exceeded: Exceeded) -> None:
        self.options = options
        self.share: Callable[[list[Spent]], None] | None = None
        self.places: Places | None = None
        self._loop = loop
        self._exceeded = exceeded
        self._sessions: dict[Session, _Limited] = {}
        self._users = Meters()
        self._addresses = Meters()
        self._counts: dict[str, int] = {}  # connections of users
        self._spent: dict[str, tuple[float, float]] = {}  # not told yet
        self._timer: asyncio.TimerHandle | None = None

    # -- sessions ---------------------------------------------------------------------------

    def enter(self, session: Session) -> None:
        """Count a session that begins; close it, soon, if its user has too many."""
        if session in self._sessions:
            return
        now = self._loop.time()
        limited = self._sessions[session] = _Limited(session.user, session.connection.address, now)
        count = 0
        if limited.user:
            count = self._counts[limited.user] = self._counts.get(limited.user, 0) + 1
        most = self.options.connections_per_user
        if most and count > most:
            self._loop.call_soon(self.over, session, f"u:{limited.user}")
        elif self.places is not None:
            self.places.enter(session.client, [*self._keys(limited)])

    def _keys(self, limited: _Limited) -> Iterable[tuple[str, int]]:
        if limited.user and self.options.connections_per_user:
            yield f"u:{limited.user}", self.options.connections_per_user
        if limited.address and self.options.connections_per_address:
            yield f"a:{limited.address}", self.options.connections_per_address

    def over(self, session: Session, key: str) -> None:
        """Close a session that is one too many of a user (`u:NAME`) or an address (`a:...`)."""
        kind, _, who = key.partition(":")
        self._exceeded.count("connections_per_user" if kind == "u" else "connections_per_address", who)
        session.connection.close(closecodes.OVER_CAPACITY, "too many connections")

    def leave(self, session: Session) -> None:
        """Forget a session.  Idempotent."""
        limited = self._sessions.pop(session, None)
        if limited is None:
            return
        if self.places is not None:
            self.places.leave(session.client)
        left = self._counts.get(limited.user, 0) - 1
        if left > 0:
            self._counts[limited.user] = left
        else:
            self._counts.pop(limited.user, None)

    def judge(self, session: Session, commands: Sequence[Command], size_bytes: int) -> Sequence[Command]:
        """Return the commands of a message of so many bytes; refused ones in their place if it is too big."""
        limited = self._sessions.get(session)
        if limited is None:  # it is older than the limits
            self.enter(session)
            limited = self._sessions[session]
        now, options, messages = self._loop.time(), self.options, len(commands)
        meters = [*self._meters(limited, now)]
        for scope, rate, meter in meters:
            what = meter.refuses(rate, options.burst_s, messages, size_bytes)
            if what:
                return self._refuse(session, limited, commands, f"{scope}_{what}")
        for _, rate, meter in meters:
            meter.spend(rate, messages, size_bytes)
        if self.share is not None and limited.user and options.user.limited:
            self._note(limited.user, messages, size_bytes)
        return commands

    def _meters(self, limited: _Limited, now: float) -> Iterable[tuple[str, Allowance, Meter]]:
        options = self.options
        if options.connection.limited:
            limited.own.sink(options.connection, now)
            yield "connection", options.connection, limited.own
        if limited.user and options.user.limited:
            yield "user", options.user, self._users.get(limited.user, options.user, now)
        if limited.address and options.address.limited:
            yield "address", options.address, self._addresses.get(limited.address, options.address, now)

    def _refuse(
        self, session: Session, limited: _Limited, commands: Sequence[Command], limit: str
    ) -> Sequence[Command]:
        self._exceeded.count(limit, session.connection.remote)
        limited.refused.sink(_REFUSALS, self._loop.time())
        if limited.refused.refuses(_REFUSALS, _REFUSALS_S, len(commands), 0):
            self._exceeded.count("refusals", session.connection.remote)
            session.connection.close(closecodes.RATE_LIMITED, "too many messages")
            return ()
        limited.refused.spend(_REFUSALS, len(commands), 0)
        return [RefusedCommand(id=command.id) for command in commands]

    def sweep(self) -> None:
        """Forget meters that are empty; called about once a second."""
        now = self._loop.time()
        self._users.sweep(self.options.user, now, _SWEEP)
        self._addresses.sweep(self.options.address, now, _SWEEP)

    def __len__(self) -> int:
        """Return the number of things that are remembered."""
        meters = len(self._users) + len(self._addresses)
        return meters + len(self._sessions) + len(self._counts) + len(self._spent)

    # -- several processes --------------------------------------------------------------------

    def _note(self, user: str, messages: float, size_bytes: float) -> None:
        before = self._spent.get(user, (0.0, 0.0))
        self._spent[user] = (before[0] + messages, before[1] + size_bytes)
        if self._timer is None:
            self._timer = self._loop.call_later(SHARE_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self.share is None:
            return
        spent, self._spent = self._spent, {}  # unanswered, it stays counted here alone
        self.share([Spent(user, *what) for user, what in spent.items()])

    def told(self, levels: Iterable[Spent]) -> None:
        """Learn what users spent in all processes, what was shared from here included."""
        now = self._loop.time()
        for level in levels:
            since = self._spent.get(level.user, (0.0, 0.0))
            meter = self._users.get(level.user, self.options.user, now)
            meter.messages = level.messages + since[0]
            meter.bytes = level.bytes + since[1]

    def close(self) -> None:
        """Tell nobody any more."""
        self.share = None
        if self._timer is not None:
            self._timer.cancel()


class PublishRates:
    """How fast clients publish to each channel.  Times in seconds."""

    def __init__(self, clock: Callable[[], float], exceeded: Exceeded) -> None:
        self.burst_s = 5.0
        self._clock = clock
        self._exceeded = exceeded
        self._channels: dict[float, Meters] = {}  # by rate

    def take(self, channel: str, rate: float) -> bool:
        """Take a publication, of at most `rate` in a second; false if it is too many."""
        allowance = Allowance(messages=rate)
        meter = self._channels.setdefault(rate, Meters()).get(channel, allowance, self._clock())
        if meter.refuses(allowance, self.burst_s, 1, 0):
            self._exceeded.count("channel_publications", channel)
            return False
        meter.spend(allowance, 1, 0)
        return True

    def sweep(self) -> None:
        """Forget channels to which nobody publishes; called about once a second."""
        for rate, meters in list(self._channels.items()):
            meters.sweep(Allowance(messages=rate), self._clock(), _SWEEP)
            if not meters:
                del self._channels[rate]

    def __len__(self) -> int:
        """Return for how many channels something is remembered."""
        return sum(map(len, self._channels.values()))
