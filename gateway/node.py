"""The node: joins the hub, the broker and the sessions of one event loop.

It knows neither HTTP nor which broker it has.  Sessions and the publish API call it;
the broker calls it back through `Relay`.  What always holds: a channel is open in the hub exactly
while the node is interested in it at the broker (but for the moments between, and while
the broker cannot be told); of one channel at most one such change is under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from ._publishing import Numbering
from .ahead import Ahead
from .asking import AppService
from .bare import BareClients
from .broker import (
    Broker,
    ChannelOptions,
    Control,
    HistoryPage,
    PresenceChange,
    Publisher,
    PublishResult,
    State,
)
from .controls import carry_out
from .eager import run_eagerly
from .errors import BrokerError, BrokerUnavailableError, CommandError
from .exceeded import Exceeded
from .hub.channel import Channel
from .hub.hub import Hub
from .key_shares import KeyShares
from .limits import Limits, PublishRates
from .message.names import check_channel_name, personal_channel
from .message.publication import Member, Position, Publication
from .missed import MissedReads
from .noticing import Listener
from .options import NodeOptions
from .publishing import Routes
from .seldom import Seldom
from .session import Session
from .states import States

if TYPE_CHECKING:
    from .calling import CallsAtOnce
    from .door import Door

_logger = logging.getLogger(__name__)

_SWEEP_S: Final = 1.0
_SWEEP_CHANNELS: Final = 20_000
_SWEEP_UNWANTED: Final = 1_000
_STOP_S: Final = 2.0


class OwnChannel(Protocol):
    """Who hears of a channel of the gateway's own."""

    def on_publications(self, publications: list[Publication]) -> None:
        """Take new publications, in order."""

    def on_loss(self) -> None:
        """Learn that some may have been missed."""


class _Opening:
    """A channel on its way into the hub: who waits for it, and what happened to it meanwhile."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done
        self.happened: list[Callable[[Channel], None]] = []


class Node:
    """One gateway process's heart.  Everything runs on one event loop.

    `wall_ms` is wall-clock milliseconds, `random_id` returns an unguessable identifier.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        options: NodeOptions,
        loop: asyncio.AbstractEventLoop,
        wall_ms: Callable[[], int],
        random_id: Callable[[], str],
    ) -> None:
        self.broker = broker
        self.options = options
        self.loop = loop
        self.wall_ms = wall_ms
        self.random_id = random_id
        self.id = random_id()[:8]
        self.hub = Hub(call_soon=loop.call_soon, clock=loop.time)
        self.sessions: dict[str, Session] = {}
        self.users: dict[str, dict[str, Session]] = {}
        self.observe_publish: Callable[[float], None] = lambda seconds: None
        self.on_session_changed: Callable[[Session], None] = lambda session: None
        self.on_session_dropped: Callable[[str, str], None] = lambda session, client: None
        self.limits: Limits | None = None
        self.exceeded = Exceeded(loop.time)
        self.seldom = Seldom(loop.time)
        self.key_shares = KeyShares(loop.time)
        self.rates = PublishRates(loop.time, self.exceeded)
        self.listener: Listener | None = None
        self.draining = False
        self.door: Door | None = None  # lets clients in; without it they say who they are
        self.app_service: AppService | None = None
        self.calls: CallsAtOnce | None = None  # where nothing has to wait for a call
        self.own_channels: dict[str, OwnChannel] = {}
        """Channels of the gateway's own, by names that no client can say: who hears of them."""
        self.numbering = Numbering(self.id)
        self.routes = Routes(self, self.numbering)
        self.bare = BareClients(self)
        self._missed = MissedReads(self._history_since, self._history_newest, loop=loop, spawn=self.spawn)
        self.states = States(self._state, is_open=self._is_open, loop=loop, spawn=self.spawn)
        self.proving = broker.proving
        self.ahead = Ahead(self._top, loop=loop, spawn=self.spawn)
        self._opening: dict[str, _Opening] = {}
        self._closing: dict[str, asyncio.Future[None]] = {}
        self._unwanted: set[str] = set()  # closed here, but the broker could not be told
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    # -- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect to the broker and begin to tidy.  Raises BrokerUnavailableError."""
        await self.broker.start(self)
        if self.door is not None:
            await self.door.start()
        self._sweep()

    async def stop(self) -> None:
        """Wait for what is under way, and leave the broker."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.door is not None:
            await self.door.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()
        await self.broker.stop()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something nobody waits for, at once as far as it goes; what it raises is logged."""
        try:
            task = run_eagerly(work, self.loop)
        except Exception as problem:  # noqa: BLE001 whatever it is, it is logged
            self._failed(problem)
            return
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            self._failed(problem)

    def _failed(self, problem: BaseException) -> None:
        if isinstance(problem, BrokerError):
            _logger.warning("broker: %s", problem)
        else:
            _logger.error("background work failed", exc_info=problem)

    def _sweep(self) -> None:
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)
        self._sweep_broker()
        self._missed.forget_old()
        self.states.forget_old()
        if self.door is not None:
            self.door.sweep()
        self.rates.sweep()
        self.key_shares.sweep(self.options.max_keys)
        if self.limits is not None:
            self.limits.sweep()
        for name in list(islice(self._unwanted, _SWEEP_UNWANTED)):
            self.spawn(self._lose_interest(name))
        for name in self.hub.sweep(_SWEEP_CHANNELS):
            self.spawn(self._close_channel(name))

    def _sweep_broker(self) -> None:
        if self.broker.sweep() and not self.draining:
            self.loop.call_soon(self._sweep_broker)

    # -- channels -----------------------------------------------------------------------

    async def open_channel(self, name: str) -> Channel:
        """Return the channel's place in the hub, becoming interested in it at the broker if need be.

        It stays open while it has subscribers or was active a moment ago.  Raises BrokerError.
        """
        while True:
            channel = self.hub.get(name)
            if channel is not None:
                return channel
            if name in self._closing:
                await asyncio.shield(self._closing[name])
                continue
            opening = self._opening.get(name)
            if opening is None:
                # Work of the node's own: whoever asked first may go before it is done.
                opening = self._opening[name] = _Opening(self.loop.create_future())
                self.spawn(self._open_channel(name, opening))
            await asyncio.shield(opening.done)

    async def _open_channel(self, name: str, opening: _Opening) -> None:
        namespace = self.options.namespace(name)
        try:
            position = await self.broker.subscribe(name, namespace.broker)
        except BaseException as problem:
            del self._opening[name]
            told = problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            opening.done.set_exception(told)
            opening.done.exception()  # perhaps nobody waits any more
            if not isinstance(problem, BrokerError):
                raise
            return
        del self._opening[name]
        self._unwanted.discard(name)
        channel = self.hub.open(name, position, namespace.ring)
        if namespace.broker.max_state_bytes:
            channel.on_jump = partial(self.states.tell, channel)
        opening.done.set_result(None)
        for happen in opening.happened:
            happen(channel)

    async def _close_channel(self, name: str) -> None:
        channel = self.hub.get(name)
        if channel is not None and not channel.cursors:
            self.hub.close(name)
            await self._lose_interest(name)

    async def _lose_interest(self, name: str) -> None:
        """Tell the broker that a channel is closed here; where it cannot be told, a later sweep will."""
        if name in self._closing or name in self._opening or self.hub.get(name) is not None:
            return
        closing = self._closing[name] = self.loop.create_future()
        self._unwanted.add(name)
        try:
            await self.broker.unsubscribe(name)
            self._unwanted.discard(name)
        finally:
            del self._closing[name]
            closing.set_result(None)

    # -- what the broker calls ----------------------------------------------------------

    def on_publications(self, channel: str, epoch: str, publications: list[Publication]) -> None:
        """Give new publications to the channel's subscribers here."""
        here = self.hub.get(channel)
        if here is not None:  # nearly always, so at once
            here.deliver(epoch, publications, self.loop.time())
        elif channel in self.own_channels:
            self.own_channels[channel].on_publications(publications)
        else:
            self._happen(channel, lambda here: here.deliver(epoch, publications, self.loop.time()))

    def on_position(self, channel: str, epoch: str, offset: int) -> None:
        """Tell the channel's subscribers here what was lost on its way to this node."""
        if channel in self.own_channels:
            self.own_channels[channel].on_loss()
            return
        self._happen(channel, lambda here: here.lose(epoch, offset, self.loop.time()))

    def _happen(self, channel: str, happen: Callable[[Channel], None]) -> None:
        """Have something done to a channel: now, or once it is open."""
        here = self.hub.get(channel)
        if here is not None:
            happen(here)
        elif channel in self._opening:
            self._opening[channel].happened.append(happen)

    def on_presence(self, channel: str, change: PresenceChange) -> None:
        """Tell the channel's subscribers here who came or went."""
        here = self.hub.get(channel)
        if here is not None and self.options.namespace(channel).join_leave:
            here.deliver_presence(change.member, joined=change.joined, now=self.loop.time())

    def on_control(self, control: Control) -> int:
        """Carry out a control message on this node's sessions; return how many it reached."""
        return carry_out(self, control)

    # -- what sessions and services ask -------------------------------------------------

    def make_publication(
        self,
        data: bytes,
        *,
        binary: bool = False,
        client: str = "",
        user: str = "",
        exclude: str = "",
        patch: bool = False,
    ) -> Publication:
        """Return a publication that is not numbered yet, with an id of its own."""
        return Publication(
            id=self.numbering.next(),
            data=data,
            binary=binary,
            time_ms=self.wall_ms(),
            client=client,
            user=user,
            exclude=exclude,
            patch=patch,
        )

    async def publish(
        self,
        channel: str,
        data: bytes,
        *,
        binary: bool = False,
        key: str = "",
        exclude: str = "",
        client: str = "",
        user: str = "",
    ) -> PublishResult:
        """Publish a checked payload.  Raises CommandError and BrokerError."""
        started = self.loop.time()
        check_channel_name(channel)
        self.check_size(data)
        options = self._message_options(channel)
        if key and client:
            self._take_key(options, client, user)
        publication = self.make_publication(data, binary=binary, client=client, user=user, exclude=exclude)
        result = await self.broker.publish(channel, publication, options, key=key)
        self.observe_publish(self.loop.time() - started)
        return result

    async def update(
        self, channel: str, patch: bytes, *, base: Position, key: str = "", client: str = "", user: str = ""
    ) -> PublishResult:
        """Apply a checked patch to version `base` of a channel's state (epoch "": of its current life).

        Raises StaleVersionError and other CommandErrors, and BrokerError.
        """
        options = self._state_options(channel)
        if len(patch) > self.options.max_publish_bytes:
            self.exceeded.count("payload_bytes")
            raise CommandError("limit_exceeded", f"a patch is at most {self.options.max_publish_bytes} bytes")
        if key and client:
            self._take_key(options, client, user)
        publication = self.make_publication(patch, patch=True, client=client, user=user)
        return await self.broker.update(channel, publication, options, base=base, key=key)

    async def state(self, channel: str) -> State:
        """Return the state of a channel.  Raises CommandError and BrokerError."""
        return await self.broker.state(channel, self._state_options(channel))

    def _state_options(self, channel: str) -> ChannelOptions:
        check_channel_name(channel)
        options = self.options.namespace(channel).broker
        if not options.max_state_bytes:
            raise CommandError("bad_request", "the channel has no state: its namespace is not configured so")
        return options

    async def _state(self, channel: str) -> State:
        return await self.broker.state(channel, self.options.namespace(channel).broker)

    def _is_open(self, here: Channel) -> bool:
        return self.hub.get(here.name) is here

    def begin_publish(
        self,
        channel: str,
        data: bytes,
        publisher: Publisher,
        *,
        binary: bool = False,
        key: str = "",
        client: str = "",
        user: str = "",
    ) -> None:
        """Publish a checked payload to a channel whose name was checked; `publisher` hears what came of it.

        What the times of publications count is the publisher's to tell.  Raises CommandError.
        """
        self.check_size(data)
        options = self._message_options(channel)
        if key:
            self._take_key(options, client, user)
        publication = self.make_publication(data, binary=binary, client=client, user=user)
        self.broker.begin_publish(channel, publication, options, key, publisher)

    def _take_key(self, options: ChannelOptions, client: str, user: str) -> None:
        """Count an idempotency key of a client.  Raises CommandError."""
        name = personal_channel(user) if user else client
        try:
            self.key_shares.take(name, options.idempotency_ttl_s, self.options.max_keys)
        except CommandError:
            self.exceeded.count("idempotency_keys", name)
            raise

    def _message_options(self, channel: str) -> ChannelOptions:
        options = self.options.namespace(channel).broker
        if options.max_state_bytes:
            raise CommandError("bad_request", "the channel has a state: it is changed by update")
        return options

    def check_publish(self, channel: str) -> ChannelOptions:
        """Return how an app service publishes to a channel.  Raises CommandError where it cannot."""
        return self._message_options(check_channel_name(channel))

    def check_size(self, data: bytes) -> None:
        """Raise CommandError where a payload is too large."""
        most = self.options.max_publish_bytes
        if len(data) > most:
            self.exceeded.count("payload_bytes")
            raise CommandError("limit_exceeded", f"a payload is at most {most} bytes")

    async def history(self, channel: str, *, limit: int, before: int) -> HistoryPage:
        """Read a channel's newest publications.  Raises CommandError and BrokerError."""
        check_channel_name(channel)
        options = self.options.namespace(channel).broker
        if not options.history_size:
            raise CommandError("bad_request", "the channel keeps no history")
        if limit < 1 or before < 0:
            raise CommandError("bad_request", "limit is at least 1 and before at least 0")
        limit = min(limit, self.options.max_history_page)
        return await self.broker.history_before(channel, options, before=before, limit=limit)

    async def history_since(self, channel: str, since: Position, *, reaching: int) -> HistoryPage:
        """Read everything that follows a position, if it is still kept, at least up to offset `reaching`.

        Many who ask at once for a channel share a read.
        """
        here = self.hub.get(channel)
        top = here.position.offset if here is not None else reaching
        return await self._missed.read(channel, since, reaching=reaching, top=top)

    def mark(self, channel: str) -> str | None:
        """Return what goes into the answer to a subscription, see `Proving.mark`; None: nothing does."""
        return self.proving.mark(channel) if self.proving is not None else None

    async def _history_since(self, channel: str, since: Position) -> HistoryPage:
        options = self.options.namespace(channel).broker
        return await self.broker.history(channel, options, since=since, limit=max(1, options.history_size))

    async def _history_newest(self, channel: str, limit: int | None) -> HistoryPage:
        options = self.options.namespace(channel).broker
        most = max(1, options.history_size)
        limit = most if limit is None else min(limit, most)
        return await self.broker.history_before(channel, options, before=0, limit=limit)

    async def _top(self, channel: str, since: Position) -> Position:
        options = self.options.namespace(channel).broker
        return (await self.broker.history(channel, options, since=since, limit=1)).top

    async def presence(self, channel: str) -> list[Member]:
        """Return who is in a channel; where presence is by user, each of them once, by its oldest client.

        Raises CommandError and BrokerError.
        """
        check_channel_name(channel)
        options = self.options.namespace(channel).broker
        if not options.presence:
            raise CommandError("bad_request", "the channel keeps no presence")
        members = await self.broker.presence(channel, options)
        if not options.presence_by_user:
            return members
        oldest: dict[tuple[str, str], Member] = {}
        for member in members:
            oldest.setdefault((member.user, "" if member.user else member.client), member)
        return [*oldest.values()]

    # -- sessions -----------------------------------------------------------------------

    def add_session(self, session: Session) -> None:
        """Make a session known, so that it can be reached by client id and user."""
        self.sessions[session.client] = session
        if session.user:
            self.users.setdefault(session.user, {})[session.client] = session
        if self.limits is not None:
            self.limits.enter(session)

    def remove_session(self, session: Session) -> None:
        """Forget a session.  Idempotent."""
        if self.limits is not None:
            self.limits.leave(session)
        self.on_session_changed(session)
        self.sessions.pop(session.client, None)
        mine = self.users.get(session.user)
        if mine is not None:
            mine.pop(session.client, None)
            if not mine:
                del self.users[session.user]
