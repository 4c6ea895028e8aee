"""Who is in a channel, kept up to date: asked once, and from then on told by `join` and `leave`.

It knows channels and no connection.  How it works: at every (re)subscription the gateway is asked; what
joins and leaves while the answer is on its way is laid over it.  Where somebody leaves who is not in the
list, but whose user is (it may be told of users, not of clients), the gateway is asked again.  What always
holds: once nothing changes any more, the list is that of the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Self

from .channels import Channel, Channels
from .errors import RinggateError
from .results import ChannelEvent, Ended, Joined, Left, Member, Subscribed

Ask = Callable[[str, Callable[["list[Member] | RinggateError"], None]], None]
"""Asks the gateway who is in a channel."""


class Presence:
    """A live list of members; made by `Client.presence`.  Iterate over it to get the list at every change."""

    def __init__(
        self,
        channels: Channels,
        name: str,
        *,
        ask: Ask,
        tell: Callable[[list[Member]], None],
    ) -> None:
        self.channel = name
        self._channels = channels
        self._ask = ask
        self._tell = tell
        self._members: dict[str, Member] = {}
        self._since_asked: dict[str, tuple[Member, bool]] = {}  # by client: who, and whether it is there
        self._asked = 0
        self._error: RinggateError | None = None
        self._is_closed = False
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self.on_close: Callable[[Presence], None] = _nobody
        self._inner: Channel = channels.add(name, self)

    @property
    def members(self) -> list[Member]:
        """Who is there, as far as is known now; while there is no connection, who was there last."""
        return list(self._members.values())

    async def ready(self) -> Self:
        """Wait until the list is there.  Raises RinggateError when it is not to be had, or `closed`."""
        await self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def close(self) -> None:
        """Keep it up to date no longer.  Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._channels.remove(self._inner, self)
            self.on_close(self)
            self._fail(self._error or RinggateError("closed", "the presence was closed"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Member]:
        """Wait until the list changes (at first: until it is there), and return it."""
        await self._news.wait()
        if self._is_closed:
            raise StopAsyncIteration
        if self._error is not None:
            raise self._error
        self._news.clear()
        return self.members

    def tell(self, event: ChannelEvent) -> None:
        """For the channel: something happened."""
        if isinstance(event, Subscribed):
            self._refresh()
        elif isinstance(event, Joined):
            self._change(event.member, is_there=True)
        elif isinstance(event, Left):
            self._change(event.member, is_there=False)
        elif isinstance(event, Ended):
            self._fail(event.error)

    def abandon(self, error: RinggateError) -> None:
        """For the client: it is closed."""
        self._error = self._error or error
        self.close()

    def _refresh(self) -> None:
        self._asked += 1
        self._since_asked.clear()
        asked = self._asked
        self._ask(self.channel, lambda answer: self._answered(asked, answer))

    def _answered(self, asked: int, answer: list[Member] | RinggateError) -> None:
        if asked != self._asked or self._is_closed:
            return
        if isinstance(answer, RinggateError):
            self._fail(answer)
            return
        members = {member.client: member for member in answer}
        doubtful = False
        for member, is_there in self._since_asked.values():
            if is_there:
                members[member.client] = member
            elif members.pop(member.client, None) is None:
                doubtful = doubtful or _is_user_in(members, member.user)
        self._since_asked.clear()
        is_new = not self._ready.is_set() or members != self._members
        self._members = members
        self._ready.set()
        if is_new:
            self._changed()
        if doubtful:
            self._refresh()

    def _change(self, member: Member, *, is_there: bool) -> None:
        self._since_asked[member.client] = (member, is_there)
        if not self._ready.is_set():
            return
        here = self._members.get(member.client)
        if is_there and here != member:
            self._members[member.client] = member
            self._changed()
        elif not is_there and here is not None:
            del self._members[member.client]
            self._changed()
        elif not is_there and _is_user_in(self._members, member.user):
            self._refresh()

    def _changed(self) -> None:
        self._news.set()
        self._tell(self.members)

    def _fail(self, error: RinggateError) -> None:
        self._error = error
        self._ready.set()
        self._news.set()


def _is_user_in(members: Mapping[str, Member], user: str) -> bool:
    return bool(user) and any(member.user == user for member in members.values())


def _nobody(_: object) -> None:
    pass
