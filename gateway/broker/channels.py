"""The memory broker's channels: what is known of each, and when it may be forgotten.

Knows nothing of relays, keys' contents or sessions.  Times are seconds on the caller's clock.

How it works: a channel comes into being when it is first used, and is looked at when
something of it may have run out: its oldest publication, its idempotency keys, or its idle
time.  It then either is forgotten or is due again later.  A look happens at most once per
publication, use or idle time, so sweeping costs in proportion to what happened, and a million
channels at rest cost nothing.

What always holds: a channel is forgotten only when nobody is interested, nobody is present,
nothing is kept, no key is known and nobody used it for `idle_s`, or the longer time for which its state is
kept; an unforgettable channel that is
not due becomes due no later than the moment when it could be forgotten.  When the name is used
again afterwards, it is a new channel with a new epoch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Final

from .deadlines import Deadlines
from .interface import ChannelOptions
from .log import ChannelLog, LogTotals
from .members import Members
from .state import NOTHING

NOT_INTERESTED: Final = sys.maxsize


class Channel(ChannelLog):
    """A channel's log and everything else that the broker knows of it.

    `interest_after` is the offset after which the relay gets publications: the position at
    which interest began, or NOT_INTERESTED.  `due_s` is when the channel is looked at next.
    `state` is what the patches up to `top` made, as JSON text.
    """

    __slots__ = ("due_s", "interest_after", "keys_until_s", "members", "name", "options", "state", "used_s")

    def __init__(self, name: str, epoch: str, totals: LogTotals, options: ChannelOptions) -> None:
        super().__init__(epoch, totals)
        self.name = name
        self.options = options
        self.interest_after = NOT_INTERESTED
        self.members: Members | None = None
        self.state = NOTHING
        self.keys_until_s = -math.inf
        self.used_s = -math.inf
        self.due_s = math.inf

    @property
    def state_bytes(self) -> int:
        """What the state counts against the bound on all states; nothing while there is none."""
        return 0 if self.state == NOTHING else len(self.state)


class Channels:
    """All channels by name.  `random_id` gives epochs, and never the same text twice."""

    def __init__(self, *, random_id: Callable[[], str], idle_s: float) -> None:
        self.totals = LogTotals()
        self._random_id = random_id
        self._idle_s = idle_s
        self._by_name: dict[str, Channel] = {}
        self._deadlines: Deadlines[Channel] = Deadlines()

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Channel | None:
        """Return the channel if it is known; this is not a use."""
        return self._by_name.get(name)

    def use(self, name: str, options: ChannelOptions, now_s: float) -> Channel:
        """Return the channel, a new one where none is known, and count its idle time from now."""
        channel = self._by_name.get(name)
        if channel is None:
            channel = Channel(name, self._random_id(), self.totals, options)
            self._by_name[name] = channel
            self.look_at(channel, now_s + self._idle_s)
        channel.options = options
        channel.used_s = now_s
        return channel

    def look_at(self, channel: Channel, due_s: float) -> None:
        """See to it that the channel is looked at no later than `due_s`."""
        if due_s < channel.due_s:
            channel.due_s = due_s
            self._deadlines.add(due_s, channel)

    def change_state(self, channel: Channel, state: bytes) -> None:
        """Have the channel hold another state."""
        self.totals.state_bytes -= channel.state_bytes
        channel.state = state
        self.totals.state_bytes += channel.state_bytes

    def sweep(self, now_s: float, limit: int) -> int:
        """Look at channels that are due, `limit` at the most; return how many were looked at."""
        for looked_at in range(limit):
            due = self._deadlines.pop_due(now_s)
            if due is None:
                return looked_at
            due_s, channel = due
            if due_s == channel.due_s:
                self._look(channel, now_s)
        return limit

    def any_due(self, now_s: float) -> bool:
        """Tell whether `sweep` has something to do."""
        return self._deadlines.any_due(now_s)

    def clear(self) -> None:
        """Forget every channel."""
        self._by_name.clear()
        self._deadlines = Deadlines()
        self.totals.publications = self.totals.history_bytes = self.totals.state_bytes = 0

    def _look(self, channel: Channel, now_s: float) -> None:
        channel.due_s = math.inf
        channel.trim(now_s, channel.options)
        expires_s = channel.oldest_expires_s(channel.options)
        if expires_s is not None:
            self.look_at(channel, expires_s)
        elif channel.interest_after == NOT_INTERESTED and not channel.members:
            idle_s = max(self._idle_s, channel.options.state_ttl_s) if channel.state_bytes else self._idle_s
            forget_s = max(channel.keys_until_s, channel.used_s + idle_s)
            if forget_s <= now_s:
                self.totals.state_bytes -= channel.state_bytes
                del self._by_name[channel.name]
            else:
                self.look_at(channel, forget_s)
