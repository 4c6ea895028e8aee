"""Who of this node's clients is present where, and the lease under which they are.

Knows its own members, so that it can enter them anew.  How it works: every member belongs to an owner,
which is a node under one lease.  The lease is renewed all the time; where one has run out, some other node
claims the owner and takes its members out, channel by channel, each atomically.  A node whose lease has run
out (it was stopped for a minute, or could not reach Redis) goes on as another owner and enters its members
anew.

What always holds: a member of an owner without a lease is taken out, and interested nodes hear of it, once;
what a client was told to leave while Redis could not be reached, it leaves when Redis is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final

from ...errors import BrokerError, BrokerUnavailableError
from ...message.publication import Member
from ..interface import ChannelOptions
from .commands import LOST, UNKNOWN, Commands, Leased
from .held import HeldSessions
from .messages import pack, unpack_member

_AT_ONCE: Final = 64

_logger = logging.getLogger(__name__)


class _Room:
    """A channel in which this node has members: their records as Redis has them, by client.

    `entered` is the owner for which Redis notes that it has members here.
    """

    __slots__ = ("entered", "members", "options")

    def __init__(self, options: ChannelOptions) -> None:
        self.options = options
        self.members: dict[str, bytes] = {}
        self.entered = ""


class _Entry:
    """All members are to be entered anew; `tell` says whether they are heard to join.

    `retired` are earlier names of this node's: what is left of their members goes without a word.
    """

    __slots__ = ("retired", "tell", "under_way")

    def __init__(self, *, tell: bool, retired: Iterable[str] = ()) -> None:
        self.tell = tell
        self.retired = list(retired)
        self.under_way = False


class Presence:
    """This node's members on one shard.

    `node` names the node.  A lease ends `lease_s` seconds after it was renewed last; `held` hears
    of it.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        node: str,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        lease_s: float,
        held: HeldSessions,
    ) -> None:
        self.counts = {"nodes_reaped": 0, "members_reaped": 0, "leases_lost": 0}
        self._commands = commands
        self._node = node
        self._loop = loop
        self._spawn = spawn
        self._lease_s = lease_s
        self._held = held
        self._life = 0
        self._entry: _Entry | None = _Entry(tell=False)
        self._seen: frozenset[bytes] = frozenset()  # what servers are
        self._servers: frozenset[bytes] = frozenset()  # what they were when the lease was renewed last
        self._renewal: asyncio.Task[None] | None = None
        self._renewed_at = self._steady_since = loop.time()
        self._rooms: dict[str, _Room] = {}
        self._owed: set[tuple[str, str]] = set()  # (channel, client) that must still leave

    @property
    def owner(self) -> str:
        """Under which name this node's members are in Redis now."""
        return f"{self._node}.{self._life}"

    @property
    def members(self) -> int:
        """Number of this node's members."""
        return sum(len(room.members) for room in self._rooms.values())

    def rooms(self) -> Iterator[tuple[str, ChannelOptions]]:
        """Yield the channels in which this node has members."""
        for channel, room in list(self._rooms.items()):
            yield channel, room.options

    # -- members --------------------------------------------------------------------------------

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        """Enter a member.  Raises BrokerError."""
        slept = self._loop.time() - self._renewed_at > self._lease_s
        if slept or self._servers != self._commands.shard.incarnations():
            await (
                self._renew_first()
            )  # it is perhaps another owner now: nobody takes out whose owner has no lease
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = _Room(options)
        packed = room.members[member.client] = pack(member)
        self._owed.discard((channel, member.client))
        owner = self.owner
        try:
            if room.entered != owner:
                await self._commands.enter(owner, channel)
                room.entered = owner
            await self._join(owner, channel, member.client, packed, options, tell=True)
        except BrokerError:
            if room.members.get(member.client) is packed:
                self._forget(channel, member.client)
            self._owed.add((channel, member.client))  # it may have happened
            raise

    async def leave(self, channel: str, client: str) -> None:
        """Take a client out, at once or, where that cannot be, as soon as it can.  Raises BrokerError."""
        self._owed.add((channel, client))
        last = self._forget(channel, client)
        await self._commands.leave(self._commands.names.channel(channel), client)
        self._owed.discard((channel, client))
        owes = any(channel == other for other, _ in self._owed)  # who may be a member all the same
        if last and not owes and channel not in self._rooms:
            with contextlib.suppress(BrokerError):  # a name too many costs whoever buries this owner a look
                await self._commands.exit(self.owner, channel)

    def _forget(self, channel: str, client: str) -> bool:
        """Forget a member; tell whether it was the channel's last."""
        room = self._rooms.get(channel)
        if room is None or room.members.pop(client, None) is None or room.members:
            return False
        del self._rooms[channel]
        return True

    # -- the lease --------------------------------------------------------------------------------

    async def _renew_first(self) -> None:
        """Renew the lease, once for all who ask meanwhile.  Raises BrokerError."""
        if self._renewal is None:
            self._renewal = self._loop.create_task(self.renew())
            self._renewal.add_done_callback(self._renewed)
        await asyncio.shield(self._renewal)

    def _renewed(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # whoever waited has it

    async def renew(self) -> None:
        """Renew the lease; do what follows from what is found.  Raises BrokerError.

        Leases of others are let be until this node's own was renewed in time for a while: where Redis could
        not be reached, all have run out, and all are about to be renewed.
        """
        now = self._loop.time()
        if now - self._renewed_at > self._lease_s / 2:
            self._steady_since = now
        claim = now - self._steady_since >= self._lease_s
        self._look_at_servers()
        leased = await self._lease(claim=claim)
        self._servers = self._seen
        self._renewed_at = self._loop.time()
        if self._entry is not None and not self._entry.under_way:
            self._spawn(self._enter_all(self._entry))
        for owner in leased.claimed:
            self._spawn(self._bury(owner))
        if self._owed:
            self._spawn(self._settle())
        await self._held.renewed(self.owner)

    def _look_at_servers(self) -> None:
        """Go on under another name where a server may have lost something: who came last, and who left.

        Then all members are entered under the new name, and who is still there under the old one had left.
        """
        before, self._seen = self._seen, self._commands.shard.incarnations()
        if before and self._seen - before:
            retired = [self.owner, *(self._entry.retired if self._entry is not None else ())]
            self._life += 1
            self._entry = _Entry(tell=False, retired=retired)

    async def _lease(self, *, claim: bool) -> Leased:
        """Renew the lease, or begin another.

        A lease begins only after it was noted that all members are to be entered under it: the reply may get
        lost, and the next one says that there is a lease.
        """
        leased = await self._commands.lease(
            self.owner, self._lease_s, claim=claim, begin=self._entry is not None
        )
        if leased.state == LOST:
            self.counts["leases_lost"] += 1
            self._life += 1
            _logger.warning("the lease of this node had run out: its members enter anew")
            retired = self._entry.retired if self._entry is not None else ()
            self._entry = _Entry(tell=True, retired=retired)  # whoever was taken out was heard to leave
        elif leased.state == UNKNOWN and self._entry is None:
            self._entry = _Entry(tell=False)  # Redis lost its data: nobody was
        else:
            return leased
        leased = await self._commands.lease(self.owner, self._lease_s, claim=False, begin=True)
        if leased.state == LOST:
            raise BrokerUnavailableError("a lease cannot be had")
        return leased

    async def withdraw(self) -> None:
        """End the lease in good order: members that are still there go.  Raises BrokerError."""
        await self._bury(self.owner, own=True)

    async def _settle(self) -> None:
        """Take out who could not be taken out before."""
        owed = list(self._owed)
        for at in range(0, len(owed), _AT_ONCE):
            await asyncio.gather(*(self.leave(*place) for place in owed[at : at + _AT_ONCE]))

    async def _enter_all(self, entry: _Entry) -> None:
        """Enter all members; where that fails, the next renewal tries again."""
        entry.under_way = True
        try:
            await self._enter_under(self.owner, tell=entry.tell)
            for owner in entry.retired:
                await self._retire(owner)
        finally:
            entry.under_way = False
        if self._entry is entry:
            self._entry = None

    async def _retire(self, owner: str) -> None:
        channels = {*await self._commands.memberships(owner), *self._rooms}
        for channel in channels:
            await self._commands.reap(self._commands.names.channel(channel), owner, tell=False)
        await self._commands.bury(owner)

    async def _enter_under(self, owner: str, *, tell: bool) -> None:
        places = [(channel, client) for channel, room in self._rooms.items() for client in room.members]
        for channel in {channel: None for channel, _ in places}:
            await self._commands.enter(owner, channel)
        for at in range(0, len(places), _AT_ONCE):
            part = places[at : at + _AT_ONCE]
            await asyncio.gather(*(self._enter(owner, *place, tell=tell) for place in part))

    async def _enter(self, owner: str, channel: str, client: str, *, tell: bool) -> None:
        room = self._rooms.get(channel)
        packed = room.members.get(client) if room is not None else None
        if room is not None and packed is not None and owner == self.owner:
            await self._join(owner, channel, client, packed, room.options, tell=tell)

    async def _join(
        self, owner: str, channel: str, client: str, packed: bytes, options: ChannelOptions, *, tell: bool
    ) -> None:
        keys = self._commands.names.channel(channel)
        user = unpack_member(packed).user if options.presence_by_user else ""
        await self._commands.join(keys, owner, client, packed, tell=tell, user=user)

    async def _bury(self, owner: str, *, own: bool = False) -> None:
        reaped = 0
        for channel in await self._commands.memberships(owner):
            reaped += await self._commands.reap(self._commands.names.channel(channel), owner)
        await self._held.buried(owner)
        await self._commands.bury(owner)
        if not own:
            self.counts["nodes_reaped"] += 1
            self.counts["members_reaped"] += reaped
            _logger.warning("node %s is gone; %d members were taken out", owner, reaped)
