"""The limits of clients: messages and bytes in a second, and connections of a user.

It knows sessions, other clients as things that can be closed, and meters; a node without such limits has none
of this (`Node.limits` is None).  How it works: a message is taken, or refused, at once, on what this process
knows.  Where several processes serve the same users and addresses (`share`), what these spent is told around
a few times in a second, and the answer is what all of them let pass: so for a moment each may let a whole
burst through, and in the long run all together no more than one.  Connections of users are counted at once,
also over all workers (`counts`).

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
from .connection.counts import Counting, Counts
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


USER: Final = "u:"
ADDRESS: Final = "a:"


class Spent(NamedTuple):
    """What somebody spent, or the level of that meter: messages, bytes.  `who` is `u:NAME` or `a:ADDRESS`."""

    who: str
    messages: float
    bytes: float


class LimitedConnection(Protocol):
    """A connection, as far as limits need one."""

    @property
    def address(self) -> str:
        """Under which name the client's address is counted; "" where nobody counts."""

    @property
    def remote(self) -> str:
        """The client's address, for logs."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake.  Idempotent."""


class LimitedClient(Protocol):
    """Who is limited: a session, or somebody who is passed through."""

    @property
    def client(self) -> str:
        """The id of the connection."""

    @property
    def user(self) -> str:
        """Who it is; "" where that is not known."""

    @property
    def connection(self) -> LimitedConnection:
        """What is closed."""


class _Limited:
    """What is known of one client."""

    __slots__ = ("address", "counted", "own", "refused", "user")

    def __init__(self, user: str, address: str, now: float) -> None:
        self.user = user
        self.address = address
        self.counted = bool(user)  # as a connection of that user
        self.own = Meter(now)
        self.refused = Meter(now)


class Limits:
    """The limits of one process.  `exceeded` counts, and logs.

    `share`, where it is not None, is given what those of the kinds in `shared` spent since the last time; its
    answer is to go to `told`.  `counts` counts connections of users.
    """

    def __init__(
        self,
        options: LimitOptions,
        loop: asyncio.AbstractEventLoop,
        exceeded: Exceeded,
        counts: Counting | None = None,
    ) -> None:
        self.options = options
        self.share: Callable[[list[Spent]], None] | None = None
        self.shared: frozenset[str] = frozenset({USER, ADDRESS})
        self._counts = Counts() if counts is None else counts
        self._loop = loop
        self._exceeded = exceeded
        self._clients: dict[LimitedClient, _Limited] = {}
        self._users = Meters()
        self._addresses = Meters()
        self._spent: dict[str, tuple[float, float]] = {}  # not told yet
        self._timer: asyncio.TimerHandle | None = None

    # -- connections ------------------------------------------------------------------------

    def enter(self, client: LimitedClient) -> None:
        """Count a client that comes; close its connection, soon, if its user has too many."""
        if client in self._clients:
            return
        now = self._loop.time()
        limited = self._clients[client] = _Limited(client.user, client.connection.address, now)
        if not limited.user:
            return
        count = self._counts.add(USER + limited.user)
        most = self.options.connections_per_user
        if most and count > most:
            self._uncount(limited)
            self._loop.call_soon(self._turn_out, client, limited.user)

    def _turn_out(self, client: LimitedClient, user: str) -> None:
        """Close a connection that is one too many of a user."""
        self._exceeded.count("connections_per_user", user)
        client.connection.close(closecodes.OVER_CAPACITY, "too many connections")

    def _uncount(self, limited: _Limited) -> None:
        if limited.counted:
            limited.counted = False
            self._counts.take(USER + limited.user)

    def leave(self, client: LimitedClient) -> None:
        """Forget a client.  Idempotent."""
        limited = self._clients.pop(client, None)
        if limited is not None:
            self._uncount(limited)

    # -- messages ---------------------------------------------------------------------------

    def judge(self, session: Session, commands: Sequence[Command], size_bytes: int) -> Sequence[Command]:
        """Return the commands of a message of so many bytes; refused ones in their place if it is too big."""
        limit = self.take(session, len(commands), size_bytes)
        return self._refuse(session, commands, limit) if limit else commands

    def take(self, client: LimitedClient, messages: int, size_bytes: int, *, begun: bool = False) -> str:
        """Take what a client says; return which limit forbids it, "" if none does.  That is not counted.

        What is part of something that has `begun`, and was taken, is only paid for.
        """
        limited = self._clients.get(client)
        if limited is None:  # it is older than the limits
            self.enter(client)
            limited = self._clients[client]
        now, options = self._loop.time(), self.options
        meters = [*self._meters(limited, now)]
        for scope, rate, meter in meters:
            what = "" if begun else meter.refuses(rate, options.burst_s, messages, size_bytes)
            if what:
                return f"{scope}_{what}"
        for _, rate, meter in meters:
            meter.spend(rate, messages, size_bytes)
        if self.share is not None:
            self._note(limited, messages, size_bytes)
        return ""

    def count(self, limit: str, client: LimitedClient) -> None:
        """Count that a client reached a limit, and log it now and then."""
        self._exceeded.count(limit, client.user if limit.startswith("user_") else client.connection.remote)

    def _meters(self, limited: _Limited, now: float) -> Iterable[tuple[str, Allowance, Meter]]:
        options = self.options
        if options.connection.limited:
            limited.own.sink(options.connection, now)
            yield "connection", options.connection, limited.own
        if limited.user and options.user.limited:
            yield "user", options.user, self._users.get(limited.user, options.user, now)
        if limited.address and options.address.limited:
            yield "address", options.address, self._addresses.get(limited.address, options.address, now)

    def _refuse(self, session: Session, commands: Sequence[Command], limit: str) -> Sequence[Command]:
        limited = self._clients[session]
        self.count(limit, session)
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
        return meters + len(self._clients) + len(self._counts) + len(self._spent)

    # -- several processes --------------------------------------------------------------------

    def _note(self, limited: _Limited, messages: float, size_bytes: float) -> None:
        for kind, who, rate in (
            (USER, limited.user, self.options.user),
            (ADDRESS, limited.address, self.options.address),
        ):
            if not who or not rate.limited or kind not in self.shared:
                continue
            before = self._spent.get(kind + who, (0.0, 0.0))
            self._spent[kind + who] = (before[0] + messages, before[1] + size_bytes)
            if self._timer is None:
                self._timer = self._loop.call_later(SHARE_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self.share is None:
            return
        spent, self._spent = self._spent, {}  # unanswered, it stays counted here alone
        self.share([Spent(who, *what) for who, what in spent.items()])

    def told(self, levels: Iterable[Spent]) -> None:
        """Learn what was spent in all processes, what was shared from here included."""
        now, options = self._loop.time(), self.options
        for level in levels:
            since = self._spent.get(level.who, (0.0, 0.0))
            name = level.who[len(USER) :]
            if level.who.startswith(USER):
                meter = self._users.get(name, options.user, now)
            else:
                meter = self._addresses.get(name, options.address, now)
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
