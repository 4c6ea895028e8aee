"""A subscription as the application has it: to be iterated, or with callbacks.

It knows channels and no connection.  What always holds: events come in the order of the channel; at most a
bound of them waits for an iterator (then the channel is let go, and goes on where it stopped once half of
them are read); after `close` nothing is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self, TypedDict

from .channels import Channel, Channels
from .credentials import TokenSource
from .errors import RinggateError
from .results import ChannelEvent, Ended, Joined, Left, Lost, Message, Patched, Position, StateSet, Subscribed


class Callbacks(TypedDict, total=False):
    """Plain functions, called in the order of what happens."""

    on_message: Callable[[Message], object]
    on_state: Callable[[StateSet], object]
    on_patch: Callable[[Patched], object]
    on_join: Callable[[Joined], object]
    on_leave: Callable[[Left], object]
    on_subscribed: Callable[[Subscribed], object]
    on_lost: Callable[[Lost], object]
    on_ended: Callable[[Ended], object]


_NAMES: Final[dict[type[ChannelEvent], str]] = {
    Message: "on_message",
    StateSet: "on_state",
    Patched: "on_patch",
    Joined: "on_join",
    Left: "on_leave",
    Subscribed: "on_subscribed",
    Lost: "on_lost",
    Ended: "on_ended",
}

Guard = Callable[[Callable[[Any], object], object], None]
"""Calls what belongs to the application, and reports what it raises."""


class Subscription:
    """One listener of a channel; made by `Client.subscribe`.

    Without `on_message` what happens is kept for `async for message in subscription`, or `events()`.
    """

    def __init__(
        self,
        channels: Channels,
        name: str,
        *,
        since: Position | None,
        token: TokenSource = "",
        max_unread: int,
        guard: Guard,
        callbacks: Callbacks,
    ) -> None:
        self.channel = name
        self._channels = channels
        self._guard = guard
        self._callbacks = callbacks
        self._keeps = "on_message" not in callbacks
        self._max_unread = max_unread
        self._unread: deque[ChannelEvent] = deque()
        self._is_parked = False
        self._is_closed = False
        self._error: RinggateError | None = None
        self._news = asyncio.Event()
        self._ready = asyncio.Event()
        self.on_close: Callable[[Subscription], None] = _nobody
        self._inner: Channel = channels.add(name, self, since, token=token)

    def __repr__(self) -> str:
        return f"<Subscription to {self.channel!r}{', closed' if self._is_closed else ''}>"

    @property
    def active(self) -> bool:
        """Whether the gateway has confirmed it on the present connection."""
        return self._inner.state == "live"

    @property
    def position(self) -> Position | None:
        """Up to where everything of the channel was told here or kept for the iterator; None where not
        known.
        """
        return self._inner.position

    async def ready(self) -> Self:
        """Wait until it is subscribed.  Raises RinggateError when the gateway refuses, or `closed`."""
        await self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def close(self) -> None:
        """Hear the channel no longer; an iterator ends at once.  Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._unread.clear()
            self._channels.remove(self._inner, self)
            self.on_close(self)
            self._error = self._error or RinggateError("closed", "the subscription was closed")
            self._ready.set()
            self._news.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message.  Raises RinggateError when the gateway ends the subscription."""
        while True:
            event = await self._next()
            if event is None:
                raise StopAsyncIteration
            if isinstance(event, Message):
                return event
            if isinstance(event, Ended):
                raise event.error

    async def events(self) -> AsyncIterator[ChannelEvent]:
        """Iterate over everything that happens; after Ended, or `close`, nothing follows."""
        while (event := await self._next()) is not None:
            yield event

    async def _next(self) -> ChannelEvent | None:
        """Return what is next; None when nothing follows."""
        while not self._unread:
            if self._is_closed or self._error is not None:
                return None
            self._news.clear()
            await self._news.wait()
        event = self._unread.popleft()
        if self._is_parked and len(self._unread) <= self._max_unread // 2:
            self._is_parked = False
            self._channels.park(self._inner, self, parked=False)
        return event

    def tell(self, event: ChannelEvent) -> None:
        """For the channel: something happened."""
        if self._is_closed:
            return
        if isinstance(event, Subscribed):
            self._ready.set()
        elif isinstance(event, Ended):
            self._end(event.error)
        callback = self._callbacks.get(_NAMES[type(event)])
        if callback is not None:
            self._guard(callback, event)  # type: ignore[arg-type]
        if self._keeps:
            self._unread.append(event)
            self._news.set()
            if len(self._unread) >= self._max_unread and not self._is_parked:
                self._is_parked = True
                self._channels.park(self._inner, self, parked=True)

    def abandon(self, error: RinggateError) -> None:
        """For the client: it is closed."""
        if not self._is_closed:
            self._error = self._error or error
            self.close()

    def _end(self, error: RinggateError) -> None:
        self._error = error
        self._ready.set()
        self._news.set()


def _nobody(_: object) -> None:
    pass
