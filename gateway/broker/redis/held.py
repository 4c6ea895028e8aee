"""The sessions of this node's connections that stand, kept in Redis for when the node dies without a word.

Knows nothing of what a record says.  How it works: for each owner (a node under one lease, see `presence`)
there is one hash of records by session.  It lasts as long as the lease is renewed, and then for the time for
which a lost session is kept: nothing is refreshed for a single session.  Who looks for a session that was not
saved looks into the hashes of all owners, also of those that died not long ago, and takes it by leaving only
the client's name in its place; so a node that is alive after all sees that the session is another's now, and
saves it no more.

What always holds: a held session is given to one taker only; what could not be saved while Redis was away is
saved when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ...errors import BrokerError
from .commands import Commands

HOLD_AT_ONCE: Final = 128
_MOST_OWED: Final = 10_000


class Held(NamedTuple):
    """The session of a connection that stands."""

    session: str
    client: str
    record: bytes


class HeldSessions:
    """What one node holds on one shard.

    `lease_s` is the time of a lease; `ttl_s` returns for how long lost sessions are kept (0: not at all).
    `on_lost` is called when Redis may have lost what is held.
    """

    def __init__(
        self, commands: Commands, *, lease_s: float, ttl_s: Callable[[], float], on_lost: Callable[[], None]
    ) -> None:
        self._commands = commands
        self._lease_s = lease_s
        self._on_lost = on_lost
        self._ttl_s = ttl_s
        self._owner = ""
        self._former: list[str] = []  # earlier names of the owner, under which something may be held
        self._reconnects = 0.0
        self._taken: set[str] = set()  # clients that hold nothing any more: the session goes on without them
        self._owed: dict[str, tuple[str, bytes | None, float]] = {}  # by session: client, record, time

    async def hold(self, sessions: Sequence[Held]) -> None:
        """Hold sessions, at most `HOLD_AT_ONCE`, in place of what was held of them.  Raises BrokerError."""
        mine = [held for held in sessions if held.client not in self._taken]
        former = await self._commands.hold(self._owner, mine, self._lease_s + self._ttl_s())
        self._taken.update(former)

    async def save(
        self, session: str, client: str, record: bytes | None, ttl_s: float, *, again: bool = False
    ) -> None:
        """Save a session whose connection is gone (or, without a record, forget it), unless another took it.

        `again`: it was tried before, and may have been saved then, and taken since.  Raises BrokerError; it
        is done as soon as Redis can be reached.
        """
        if client in self._taken:
            self._taken.discard(client)
            return
        try:
            is_mine = not client or await self._commands.release(self._owner, session, client)
            if not is_mine:
                with contextlib.suppress(BrokerError):  # a name too many until the lease ends
                    await self._commands.release(self._owner, session, client, forget=True)
            elif record is not None:
                await self._commands.save_session(session, client, record, ttl_s, again=again)
        except BrokerError:
            if len(self._owed) < _MOST_OWED:
                self._owed[session] = (client, record, ttl_s)
            raise

    async def take(self, session: str) -> bytes | None:
        """Return and forget a session that some node holds, or held until it died.  Raises BrokerError."""
        owners = await self._commands.owners(self._ttl_s()) if self._ttl_s() else []
        for record in await asyncio.gather(*(self._commands.take_held(owner, session) for owner in owners)):
            if record is not None:
                return record
        return None

    async def renewed(self, owner: str) -> None:
        """Keep what is held, for the lease was renewed under this name.  Raises BrokerError."""
        if self._owner not in ("", owner):
            self._former.append(self._owner)
        self._owner = owner
        for former in list(self._former):
            await self._leave_behind(former)
        if self._owed:
            await self._settle()
        if not self._ttl_s():
            return
        reconnects = self._commands.shard.stats().get("reconnects", 0.0)
        kept = await self._commands.extend_held(owner, self._lease_s + self._ttl_s())
        if not kept or reconnects != self._reconnects:
            self._on_lost()
        self._reconnects = reconnects

    async def _leave_behind(self, former: str) -> None:
        """Hold everything under the name of now, but for what was taken under a former one; forget that."""
        self._taken.update(await self._commands.taken(former))
        self._on_lost()
        await self._commands.forget_held(former)
        if former in self._former:
            self._former.remove(former)

    async def buried(self, owner: str) -> None:
        """Keep what a dead owner held, for those who come back.  Raises BrokerError."""
        if self._ttl_s():
            await self._commands.extend_held(owner, self._ttl_s())

    async def _settle(self) -> None:
        owed = list(self._owed.items())[:HOLD_AT_ONCE]
        for session, _ in owed:
            del self._owed[session]
        await asyncio.gather(*(self.save(session, *what, again=True) for session, what in owed))
