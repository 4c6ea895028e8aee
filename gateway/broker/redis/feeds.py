"""All channels that a node hears through one shard: drives their state machines, and tells the relay.

Knows the shard and its scripts, and nothing of publishing, presence or other shards.  How it works: the shard
brings messages and says when subscriptions are confirmed; `interest.Interest` says what follows from it;
reads go out a bounded number at a time, so that a reconnect of very many channels is no flood.  All
channels are compared with Redis every `check_interval_s`, a part each second, whatever happened or not:
pub/sub tells of no loss.

What always holds: a message for a channel without interest costs a look into a dictionary.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ...errors import BrokerError, BrokerUnavailableError
from ...message.publication import Position
from ..interface import ChannelOptions, HistoryPage, PresenceChange, Relay
from . import messages
from .commands import Commands
from .interest import Announce, Deliver, Interest, Mark, Read, Renew, State, Step
from .names import ChannelKeys
from .restarts import Restarts

READS_AT_ONCE: Final = 64
PAGE: Final = 500
_RETRY_S: Final = 0.5
_MOST_LEFT: Final = 10_000

_logger = logging.getLogger(__name__)


class Feed:
    """One channel: its names, its state, and who waits for its first position."""

    __slots__ = ("interest", "keys", "mark", "marked", "name", "waiting")

    def __init__(self, name: str, keys: ChannelKeys, options: ChannelOptions) -> None:
        self.name = name
        self.keys = keys
        self.interest = Interest(options)
        self.mark, self.marked = "", Position("", 0)  # the mark that is on its way, and what it is about
        self.waiting: list[asyncio.Future[Position]] = []


class Feeds:
    """The `ShardListener` of one shard.

    `spawn` runs a coroutine that nobody waits for.  `others` are pub/sub channels of the broker's own and
    what takes their messages.  `used` gives more channels that must not be forgotten, with their options.
    """

    def __init__(
        self,
        commands: Commands,
        relay: Relay,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        check_interval_s: float,
        subscribe_timeout_s: float,
        used: Callable[[], Iterable[tuple[str, ChannelOptions]]] = lambda: (),
    ) -> None:
        self.relay = relay
        self.others: dict[bytes, Callable[[bytes], None]] = {}
        self.counts = {"interruptions": 0, "fetched": 0, "lost_announced": 0, "lives_ended": 0, "ignored": 0}
        self._commands = commands
        self._shard = commands.shard
        self._loop = loop
        self._spawn = spawn
        self._check_interval_s = check_interval_s
        self._timeout_s = subscribe_timeout_s
        self._used = used
        self._feeds: dict[bytes, Feed] = {}
        self._due: deque[tuple[Feed, int, Read | Renew]] = deque()
        self._reading = 0
        self._unchecked: deque[tuple[str, ChannelOptions]] = deque()
        self._part = 0
        self._left: list[Feed] = []  # while they could not be compared

    def __len__(self) -> int:
        return len(self._feeds)

    @property
    def behind(self) -> int:
        """Number of channels whose messages are not whole now."""
        return sum(feed.interest.state is not State.LIVE for feed in self._feeds.values())

    # -- interest -----------------------------------------------------------------------------

    async def subscribe(self, name: str, options: ChannelOptions) -> Position:
        """Hear a channel; return its newest position.  Raises BrokerUnavailableError."""
        keys = self._commands.names.channel(name)
        feed = self._feeds.get(keys.pubsub)
        if feed is not None and feed.interest.position is not None:
            feed.interest.options = options
            return await self._commands.position(keys, options)
        if not self._shard.reaches(keys.pubsub):
            raise BrokerUnavailableError(f"no connection to {self._shard.name}")
        if feed is None:
            feed = self._feeds[keys.pubsub] = Feed(name, keys, options)
            self._shard.subscribe([keys.pubsub])
        waits: asyncio.Future[Position] = self._loop.create_future()
        feed.waiting.append(waits)
        try:
            return await asyncio.wait_for(waits, self._timeout_s)
        except TimeoutError:
            raise BrokerUnavailableError(f"{self._shard.name} did not confirm a subscription") from None
        finally:
            if waits in feed.waiting:
                feed.waiting.remove(waits)
            if not feed.waiting and feed.interest.position is None:
                self.unsubscribe(name)

    def unsubscribe(self, name: str) -> None:
        """Hear a channel no longer.  Idempotent."""
        pubsub = self._commands.names.channel(name).pubsub
        feed = self._feeds.pop(pubsub, None)
        if feed is not None:
            self._shard.unsubscribe([pubsub])
            if feed.interest.state is not State.LIVE and len(self._left) < _MOST_LEFT:
                self._left.append(feed)

    def restarts(self, name: str) -> Restarts | None:
        """Return what is known here of the server's restarts in a channel's life; None: nothing."""
        feed = self._feeds.get(self._commands.names.channel(name).pubsub)
        return None if feed is None else feed.interest.restarts

    def stop(self) -> None:
        """Forget everything; whoever waits for a position gets BrokerUnavailableError."""
        feeds, self._feeds = self._feeds, {}
        self._due.clear()
        for feed in feeds.values():
            for waits in feed.waiting:
                if not waits.done():
                    waits.set_exception(BrokerUnavailableError("the broker was stopped"))

    # -- what the shard tells -------------------------------------------------------------------

    def on_messages(self, received: Sequence[tuple[bytes, bytes]]) -> None:
        """Take what one read brought."""
        for channel, payload in received:
            feed = self._feeds.get(channel)
            take = self.others.get(channel) if feed is None else None
            try:
                if feed is not None:
                    self._take(feed, payload)
                elif take is not None:
                    take(payload)
                else:
                    self.counts["ignored"] += 1
            except msgspec.MsgspecError as problem:
                _logger.error("a message on %s is none of a gateway: %s", channel, problem)

    def on_subscribed(self, channels: Sequence[bytes]) -> None:
        """Hear that subscriptions are confirmed, for the first time or anew."""
        for channel in channels:
            feed = self._feeds.get(channel)
            if feed is not None:
                self._carry_out(feed, feed.interest.confirmed())

    def on_interrupted(self, channels: Sequence[bytes]) -> None:
        """Hear that subscriptions are broken."""
        self.counts["interruptions"] += 1
        for channel in channels:
            feed = self._feeds.get(channel)
            if feed is not None:
                feed.interest.interrupted()

    def _take(self, feed: Feed, payload: bytes) -> None:
        message = messages.unpack(payload)
        if isinstance(message, messages.Published):
            publications = messages.number(message.publications, message.first)
            self._carry_out(feed, feed.interest.published(message.epoch, message.first, publications))
        elif isinstance(message, messages.PresenceMoved):
            self._tell(self.relay.on_presence, feed.name, PresenceChange(message.joined, message.member))
        elif isinstance(message, messages.Renewed):
            self._carry_out(feed, feed.interest.renewed(message.epoch))
        elif isinstance(message, messages.Marked) and message.mark == feed.mark:
            self._carry_out(feed, feed.interest.marked(feed.marked))

    # -- what follows ---------------------------------------------------------------------------

    def _carry_out(self, feed: Feed, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Deliver):
                self._tell(self.relay.on_publications, feed.name, step.epoch, step.publications)
            elif isinstance(step, Announce):
                self.counts["lost_announced"] += 1
                self._tell(self.relay.on_position, feed.name, *step.position)
            elif isinstance(step, Mark):
                feed.mark, feed.marked = self._commands.fresh_id(), step.top
                self._spawn(self._commands.tell(feed.keys.pubsub, messages.pack(messages.Marked(feed.mark))))
            else:
                self._due.append((feed, feed.interest.turn, step))
        if self._due:
            self._read_some()
        if feed.waiting and feed.interest.position is not None:
            for waits in feed.waiting:
                if not waits.done():
                    waits.set_result(feed.interest.position)

    def _tell(self, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:
            _logger.exception("the relay failed")

    def _here(self, feed: Feed) -> bool:
        return self._feeds.get(feed.keys.pubsub) is feed

    def _read_some(self) -> None:
        while self._due and self._reading < READS_AT_ONCE:
            feed, turn, step = self._due.popleft()
            if self._here(feed) and feed.interest.turn == turn:
                self._reading += 1
                self._spawn(self._read(feed, turn, step))

    async def _read(self, feed: Feed, turn: int, step: Read | Renew) -> None:
        page: HistoryPage | None = None
        restarts: Restarts | None = None
        try:
            page, restarts = await self._ask(feed, step)
        except BrokerError as problem:
            _logger.debug("%s cannot be read now: %s", feed.name, problem)
        finally:
            self._reading -= 1
            self._read_some()
        if not self._here(feed):
            return
        if page is None:
            self._loop.call_later(_RETRY_S, self._retry, feed, turn, step)
            return
        if isinstance(step, Read) and step.since is not None:
            self.counts["fetched"] += len(page.publications)
        self._carry_out(feed, feed.interest.read(turn, page, restarts))

    async def _ask(self, feed: Feed, step: Read | Renew) -> tuple[HistoryPage, Restarts | None]:
        options = feed.interest.options
        if isinstance(step, Renew):
            self.counts["lives_ended"] += 1
            _logger.warning("the count of %s went back: it begins anew", feed.name)
            return _position_only(await self._commands.renew(feed.keys, options, step.epoch)), None
        if step.since is None or not options.history_size:
            top, restarts = await self._commands.look(feed.keys, options)
            return _position_only(top), restarts
        return await self._commands.read(feed.keys, options, "next", step.since, PAGE)

    def _retry(self, feed: Feed, turn: int, step: Read | Renew) -> None:
        self._due.append((feed, turn, step))
        self._read_some()

    # -- comparing --------------------------------------------------------------------------------

    def check_some(self, elapsed_s: float) -> None:
        """Compare a part of all channels with Redis: all of them within `check_interval_s`."""
        if not self._shard.connected:
            return
        if self._left:
            left, self._left = self._left, []
            self._spawn(self._check_left(left))
        if not self._unchecked:
            every: dict[str, ChannelOptions] = dict(self._used())
            every.update((feed.name, feed.interest.options) for feed in self._feeds.values())
            self._unchecked.extend(every.items())
            self._part = -(-int(len(every) * elapsed_s) // max(1, int(self._check_interval_s)))
        part = min(len(self._unchecked), max(1, self._part))
        self._spawn(self._check([self._unchecked.popleft() for _ in range(part)]))

    async def _check_left(self, left: list[Feed]) -> None:
        """End lives whose end the server lost, also of channels that nobody hears here any more."""
        for feed in left:
            try:
                top, restarts = await self._commands.look(feed.keys, feed.interest.options)
                if feed.interest.lost(top, restarts):
                    await self._commands.renew(feed.keys, feed.interest.options, top.epoch)
            except BrokerError:
                self._left.append(feed)

    async def _check(self, channels: list[tuple[str, ChannelOptions]]) -> None:
        for at in range(0, len(channels), READS_AT_ONCE):
            looks = (self._look(name, options) for name, options in channels[at : at + READS_AT_ONCE])
            await asyncio.gather(*looks)

    async def _look(self, name: str, options: ChannelOptions) -> None:
        keys = self._commands.names.channel(name)
        feed = self._feeds.get(keys.pubsub)
        before = feed.interest.position if feed is not None else None
        try:
            top = await self._commands.position(keys, options)
        except BrokerError:
            return  # the next round comes
        if feed is not None and before is not None and self._here(feed):
            self._carry_out(feed, feed.interest.compare(top, before))

    def stats(self) -> Mapping[str, float]:
        """Return gauges and counters."""
        return {"channels_heard": len(self._feeds), "channels_behind": self.behind, **self.counts}


def _position_only(position: Position) -> HistoryPage:
    return HistoryPage([], position, complete=False)
