"""The broker of a gateway of several processes: a memory broker in the supervisor that serves the workers.

It knows workers only as links, and nothing of processes, sockets or HTTP.  How it works: a record that a
worker sends is carried out at once, since the memory broker never waits; its reply, and what follows from
it for other workers, is queued on their links in that moment.  So every worker sees the one order in
which things happened here.  The supervisor itself uses the service as its broker; it has no
subscribers.

What always holds: a worker is sent the publications of exactly those channels in which it is interested,
packed once for all; when a worker is lost, its interest ends, its members leave (once) and the sessions
that it held are kept as if it had saved them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

from ..errors import BrokerUnavailableError, CommandError, StaleVersionError, UsageError
from ..message.publication import Member, Position, Publication
from . import wire
from .interface import (
    ChannelOptions,
    Control,
    HistoryPage,
    PresenceChange,
    Publisher,
    PublishResult,
    Relay,
    State,
)
from .memory import MemoryBroker
from .peer import Peer

CONTROL_TIMEOUT_S: Final = 5.0
DEFAULT_PEER_BYTES: Final = 64 << 20

_logger = logging.getLogger(__name__)

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the memory broker, which never suspends, and return its result."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise UsageError("the broker behind a service must not suspend")


class BrokerService:
    """A `Broker` for the supervisor, and the other end of every worker's `RemoteBroker`.

    A worker for which more than `peer_bytes` wait to be read is given up: its link is cut.
    """

    proving = None

    def __init__(
        self,
        memory: MemoryBroker,
        *,
        loop: asyncio.AbstractEventLoop,
        peer_bytes: int = DEFAULT_PEER_BYTES,
        control_timeout_s: float = CONTROL_TIMEOUT_S,
    ) -> None:
        self.memory = memory
        self._loop = loop
        self._peer_bytes = peer_bytes
        self._control_timeout_s = control_timeout_s
        self._relay: Relay | None = None
        self._peers: dict[Peer, None] = {}
        self._interested: dict[str, dict[Peer, None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._carry_out: dict[type[wire.Record], Callable[[Peer, Any], wire.Record | None]] = {
            wire.Publish: self._publish,
            wire.Update: self._update,
            wire.ReadState: self._read_state,
            wire.Subscribe: self._subscribe,
            wire.Unsubscribe: self._unsubscribe,
            wire.ReadSince: self._read_since,
            wire.ReadBefore: self._read_before,
            wire.Join: self._join,
            wire.Leave: self._leave,
            wire.ListMembers: self._list_members,
            wire.SendControl: self._send_control,
            wire.SaveSession: self._save_session,
            wire.TakeSession: self._take_session,
            wire.Probe: self._probe,
        }

    # -- workers --------------------------------------------------------------------------

    async def attach(self, sock: socket.socket) -> Peer:
        """Serve the worker at the other end of a connected Unix socket."""
        peer = Peer(self._loop, on_call=self._take, on_lost=self._forget)
        self._peers[peer] = None
        await peer.link.connect(sock)
        return peer

    @property
    def peers(self) -> Iterable[Peer]:
        """The workers that are served now."""
        return list(self._peers)

    def _take(self, peer: Peer, record: wire.Call) -> None:
        try:
            reply = self._carry_out[type(record)](peer, record)
        except BrokerUnavailableError as problem:
            reply = wire.Refused(record.call, str(problem))
        except StaleVersionError as stale:
            reply = wire.Stale(record.call, stale.epoch, stale.version, stale.data)
        except CommandError as declined:
            reply = wire.Declined(record.call, declined.code, declined.message)
        if reply is not None:
            peer.send(wire.pack(reply))

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer, None)
        for channel in list(peer.interests):
            self._lose_interest(peer, channel)
        if self._relay is None:
            return
        for channel, client in list(peer.members):
            finish(self.memory.leave(channel, client, ChannelOptions()))
        for session, record, ttl_s in peer.held.values():
            finish(self.memory.save_session(session, record, ttl_s))

    def _lose_interest(self, peer: Peer, channel: str) -> None:
        peer.interests.discard(channel)
        interested = self._interested.get(channel)
        if interested is not None:
            interested.pop(peer, None)
            if not interested:
                del self._interested[channel]
                if self._relay is not None:
                    finish(self.memory.unsubscribe(channel))

    # -- what workers ask -------------------------------------------------------------------

    def _publish(self, peer: Peer, r: wire.Publish) -> wire.Record:
        result = self.memory.publish_now(r.channel, r.publication, r.options, r.key)
        return wire.Placed(r.call, result.epoch, result.offset, result.duplicate)

    def _update(self, peer: Peer, r: wire.Update) -> wire.Record:
        base = Position(r.epoch, r.base)
        result = finish(self.memory.update(r.channel, r.publication, r.options, base=base, key=r.key))
        return wire.Placed(r.call, result.epoch, result.offset, result.duplicate)

    def _read_state(self, peer: Peer, r: wire.ReadState) -> wire.Record:
        return wire.StateIs(r.call, *finish(self.memory.state(r.channel, r.options)))

    def _subscribe(self, peer: Peer, r: wire.Subscribe) -> wire.Record:
        position = finish(self.memory.subscribe(r.channel, r.options))
        self._interested.setdefault(r.channel, {})[peer] = None
        peer.interests.add(r.channel)
        return wire.Placed(r.call, position.epoch, position.offset, False)

    def _unsubscribe(self, peer: Peer, r: wire.Unsubscribe) -> wire.Record:
        self._lose_interest(peer, r.channel)
        return wire.Counted(r.call, 0)

    def _read_since(self, peer: Peer, r: wire.ReadSince) -> wire.Record:
        since = Position(r.epoch, r.offset)
        return _page(r, finish(self.memory.history(r.channel, r.options, since=since, limit=r.limit)))

    def _read_before(self, peer: Peer, r: wire.ReadBefore) -> wire.Record:
        page = self.memory.history_before(r.channel, r.options, before=r.before, limit=r.limit)
        return _page(r, finish(page))

    def _join(self, peer: Peer, r: wire.Join) -> wire.Record:
        finish(self.memory.join(r.channel, r.member, r.options))
        if r.options.presence:
            place = (r.channel, r.member.client)
            for other in self._peers:
                other.members.pop(place, None)
            peer.members[place] = None
        return wire.Counted(r.call, 0)

    def _leave(self, peer: Peer, r: wire.Leave) -> wire.Record:
        finish(self.memory.leave(r.channel, r.client, r.options))
        for other in self._peers:
            other.members.pop((r.channel, r.client), None)
        return wire.Counted(r.call, 0)

    def _list_members(self, peer: Peer, r: wire.ListMembers) -> wire.Record:
        return wire.Members(r.call, finish(self.memory.presence(r.channel, r.options)))

    def _send_control(self, peer: Peer, r: wire.SendControl) -> None:
        async def work() -> None:
            peer.send(wire.pack(wire.Counted(r.call, await self.control(r.control))))

        task = self._loop.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _save_session(self, peer: Peer, r: wire.SaveSession) -> wire.Record:
        finish(self.memory.save_session(r.session, r.record, r.ttl_s))
        return wire.Counted(r.call, 0)

    def _take_session(self, peer: Peer, r: wire.TakeSession) -> wire.Record:
        return wire.Taken(r.call, finish(self.memory.take_session(r.session)))

    def _probe(self, peer: Peer, r: wire.Probe) -> wire.Record:
        finish(self.memory.probe())
        return wire.Counted(r.call, 0)

    # -- what the memory broker calls ---------------------------------------------------------

    def on_publications(self, channel: str, epoch: str, publications: list[Publication]) -> None:
        """Send new publications to every worker that is interested."""
        for publication in publications:
            self._send_to_interested(channel, wire.Published(channel, epoch, publication))

    def on_position(self, channel: str, epoch: str, offset: int) -> None:
        """Tell every worker that is interested what was lost."""
        self._send_to_interested(channel, wire.Lost(channel, epoch, offset))

    def on_presence(self, channel: str, change: PresenceChange) -> None:
        """Send a change of presence to every worker that is interested."""
        self._send_to_interested(channel, wire.PresenceChanged(channel, change.joined, change.member))

    def on_control(self, control: Control) -> int:
        """Return 0: `control` asks the workers itself."""
        return 0

    def _send_to_interested(self, channel: str, record: wire.Record) -> None:
        packed = wire.pack(record)
        for peer in list(self._interested.get(channel, ())):
            peer.send(packed)
            if peer.link.queued_bytes > self._peer_bytes and not peer.given_up:
                # Not at once: the memory broker is in the midst of something.
                _logger.error("a worker does not read what it is sent, and is given up")
                peer.given_up = True
                self._loop.call_soon(peer.link.abort)

    # -- the broker of the supervisor ---------------------------------------------------------

    async def start(self, relay: Relay) -> None:
        """See `Broker.start`.  The relay hears of control messages only."""
        await self.memory.start(self)
        self._relay = relay

    async def stop(self) -> None:
        """See `Broker.stop`.  Every link is closed."""
        self._relay = None
        for peer in self.peers:
            peer.link.close()
        await self.memory.stop()

    async def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, *, key: str = ""
    ) -> PublishResult:
        """See `Broker.publish`."""
        return self.memory.publish_now(channel, publication, options, key)

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        """See `Broker.begin_publish`."""
        self.memory.begin_publish(channel, publication, options, key, publisher)

    async def update(
        self,
        channel: str,
        publication: Publication,
        options: ChannelOptions,
        *,
        base: Position,
        key: str = "",
    ) -> PublishResult:
        """See `Broker.update`."""
        return await self.memory.update(channel, publication, options, base=base, key=key)

    async def state(self, channel: str, options: ChannelOptions) -> State:
        """See `Broker.state`."""
        return await self.memory.state(channel, options)

    async def subscribe(self, channel: str, options: ChannelOptions) -> Position:
        """Raise UsageError: subscribers are the workers'."""
        raise UsageError("the supervisor has no subscribers")

    async def unsubscribe(self, channel: str) -> None:
        """Do nothing: there is never an interest."""

    async def history(
        self, channel: str, options: ChannelOptions, *, since: Position, limit: int
    ) -> HistoryPage:
        """See `Broker.history`."""
        return await self.memory.history(channel, options, since=since, limit=limit)

    async def history_before(
        self, channel: str, options: ChannelOptions, *, before: int, limit: int
    ) -> HistoryPage:
        """See `Broker.history_before`."""
        return await self.memory.history_before(channel, options, before=before, limit=limit)

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        """See `Broker.join`."""
        await self.memory.join(channel, member, options)

    async def leave(self, channel: str, client: str, options: ChannelOptions) -> None:
        """See `Broker.leave`."""
        await self.memory.leave(channel, client, options)

    async def presence(self, channel: str, options: ChannelOptions) -> list[Member]:
        """See `Broker.presence`."""
        return await self.memory.presence(channel, options)

    async def control(self, control: Control) -> int:
        """See `Broker.control`: ask every worker; one that does not answer in time counts as 0."""
        if self._relay is None:
            raise BrokerUnavailableError("the broker is not running")
        asked = [peer.control(control) for peer in self._peers]
        if asked:
            await asyncio.wait(asked, timeout=self._control_timeout_s)
        return self._relay.on_control(control) + sum(
            future.result().count for future in asked if future.done() and future.exception() is None
        )

    async def save_session(self, session: str, record: bytes, ttl_s: float, *, client: str = "") -> None:
        """See `Broker.save_session`."""
        await self.memory.save_session(session, record, ttl_s)

    async def take_session(self, session: str) -> bytes | None:
        """See `Broker.take_session`."""
        return await self.memory.take_session(session)

    async def probe(self) -> float:
        """See `Broker.probe`."""
        return await self.memory.probe()

    def stats(self) -> dict[str, int]:
        """See `Broker.stats`."""
        return self.memory.stats()

    def sweep(self) -> bool:
        """See `Broker.sweep`."""
        return self.memory.sweep()


def _page(call: wire.Call, page: HistoryPage) -> wire.Page:
    return wire.Page(call.call, page.publications, page.top.epoch, page.top.offset, page.complete)
