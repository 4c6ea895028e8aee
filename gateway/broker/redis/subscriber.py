"""Which channels are wanted from one Redis server, and what that server was told of them.

It survives its streams: they come and go, the wish stays.  It knows nothing of connecting.

How it works: wishes of one turn of the loop are compared, at its end, with what the server was last told,
and only the difference is sent.  What always holds: `on_subscribed` names a channel only when every command
that was sent for it has been answered, so that no later one can end the subscription unnoticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from hiredis import ReplyError

from .pubsub import PubSubStream
from .shard import ShardListener


class Subscriber:
    """The subscriptions on one server.

    `on_lost(reason)` is called when the stream ends by itself; `on_displaced(channel, reason)` when the
    server ended, or refused, the subscription of a channel that is wanted; the channel is not wanted any
    more then, until somebody wants it again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: ShardListener,
        *,
        on_lost: Callable[[str], None],
        on_displaced: Callable[[bytes, str], None],
    ) -> None:
        self.messages = 0
        self._loop = loop
        self._listener = listener
        self._on_lost = on_lost
        self._on_displaced = on_displaced
        self._stream: PubSubStream | None = None
        self._wanted: dict[bytes, None] = {}
        self._told: set[bytes] = set()
        self._unanswered: dict[bytes, int] = {}
        self._touched: dict[bytes, None] = {}

    @property
    def connected(self) -> bool:
        """There is a stream."""
        return self._stream is not None

    @property
    def wanted(self) -> int:
        """How many channels are wanted."""
        return len(self._wanted)

    @property
    def unconfirmed(self) -> int:
        """How many of them are not confirmed at the moment."""
        return sum(not self._confirmed(channel) for channel in self._wanted)

    def want(self, channels: Iterable[bytes]) -> None:
        """Want these; each will be reported as subscribed, also when it is already."""
        channels = dict.fromkeys(channels)
        self._wanted.update(channels)
        self._touch(channels)

    def forget(self, channels: Iterable[bytes]) -> None:
        """Want these no more."""
        channels = dict.fromkeys(channels)
        for channel in channels:
            self._wanted.pop(channel, None)
        self._touch(channels)

    def give_up(self, channels: Iterable[bytes]) -> None:
        """Want these no more because they will be subscribed elsewhere; those confirmed are interrupted."""
        broken = [channel for channel in channels if channel in self._wanted and self._confirmed(channel)]
        self.forget(channels)
        if broken:
            self._listener.on_interrupted(broken)

    def attach(self, stream: PubSubStream) -> None:
        """Take a new stream, and subscribe to everything on it."""
        self._stream = stream
        self._touched.clear()
        self._told.update(self._wanted)
        self._unanswered = dict.fromkeys(self._wanted, 1)
        stream.send(list(self._wanted), [])

    def detach(self) -> None:
        """Hang up; what was confirmed is interrupted.  Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
            self._interrupt()

    def close(self) -> None:
        """Hang up, and want nothing any more; nobody is told.  Idempotent."""
        self._wanted.clear()
        self.detach()

    def _interrupt(self) -> None:
        broken = [channel for channel in self._wanted if self._confirmed(channel)]
        self._told.clear()
        self._unanswered.clear()
        if broken:
            self._listener.on_interrupted(broken)

    def _confirmed(self, channel: bytes) -> bool:
        return channel in self._told and channel not in self._unanswered

    # -- at the end of a turn of the loop -----------------------------------------------

    def _touch(self, channels: dict[bytes, None]) -> None:
        if not self._touched and channels:
            self._loop.call_soon(self._flush)
        self._touched.update(channels)

    def _flush(self) -> None:
        touched, self._touched = self._touched, {}
        if self._stream is None:
            return  # `attach` will subscribe
        new: list[bytes] = []
        old: list[bytes] = []
        standing: list[bytes] = []
        for channel in touched:
            told = channel in self._told
            if channel not in self._wanted:
                if told:
                    old.append(channel)
            elif not told:
                new.append(channel)
            elif channel not in self._unanswered:
                standing.append(channel)
        self._told.update(new)
        self._told.difference_update(old)
        for channel in (*old, *new):
            self._unanswered[channel] = self._unanswered.get(channel, 0) + 1
        self._stream.send(new, old)
        if standing:
            self._listener.on_subscribed(standing)

    # -- what a stream reports ----------------------------------------------------------

    def on_messages(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Pass messages on."""
        self.messages += len(messages)
        self._listener.on_messages(messages)

    def on_answered(self, channels: Sequence[bytes]) -> None:
        """Report those whose last command was to subscribe."""
        ready = [channel for channel in channels if self._answer(channel) and channel in self._told]
        ready = [channel for channel in ready if channel in self._wanted]
        if ready:
            self._listener.on_subscribed(ready)

    def on_dropped(self, channel: bytes) -> None:
        """Take note that the server ended a subscription."""
        self._displace(channel, "the server ended the subscription")

    def on_refused(self, channel: bytes, error: ReplyError) -> None:
        """Take note that the server did not subscribe."""
        if self._answer(channel):
            self._told.discard(channel)  # it was never confirmed
            self._displace(channel, str(error))

    def on_lost(self, reason: str) -> None:
        """Take note that the stream has ended."""
        if self._stream is not None:
            self._stream = None
            self._interrupt()
            self._on_lost(reason)

    def _answer(self, channel: bytes) -> bool:
        """Count an answer; tell whether it was the last that is due for this channel."""
        left = self._unanswered.get(channel, 1) - 1
        if left:
            self._unanswered[channel] = left
            return False
        self._unanswered.pop(channel, None)
        return True

    def _displace(self, channel: bytes, reason: str) -> None:
        was_confirmed = self._confirmed(channel)
        self._told.discard(channel)
        if channel in self._wanted:
            del self._wanted[channel]
            if was_confirmed:
                self._listener.on_interrupted([channel])
            self._on_displaced(channel, reason)
