"""Subscriptions that a token for the channel made: they end with it, unless another was shown.

It knows sessions by their ids, and seconds since 1970; who is told is the door's affair.  What always holds:
a subscription is in it only while it is there, and is not taken for another one of the same channel later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from .expiring import Expiries

if TYPE_CHECKING:
    from .session import Session

NO_ENDS: Final[Mapping[str, int]] = {}


class Tickets:
    """When subscriptions end, by client and channel."""

    def __init__(self) -> None:
        self._expiries: Expiries[tuple[Session, str]] = Expiries()
        self._ends: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._expiries)

    def hold(self, session: Session, channel: str, expires: int, leeway_s: float) -> None:
        """End a subscription `leeway_s` after `expires`, in place of an earlier decision."""
        self._ends.setdefault(session.client, {})[channel] = expires
        self._expiries.watch((session.client, channel), (session, channel), expires + leeway_s)

    def ends_of(self, session: Session) -> Mapping[str, int]:
        """Return when subscriptions of a client end, by channel; those that do not are not in it."""
        return self._ends.get(session.client, NO_ENDS)

    def forget(self, session: Session, channel: str) -> None:
        """Learn that a subscription is over.  Idempotent."""
        ends = self._ends.get(session.client)
        if ends is not None and ends.pop(channel, None) is not None:
            self._expiries.forget((session.client, channel))
            if not ends:
                del self._ends[session.client]

    def left(self, session: Session) -> Mapping[str, int]:
        """Learn that a client is gone; return what `ends_of` did.  Idempotent."""
        ends = self._ends.pop(session.client, NO_ENDS)
        for channel in ends:
            self._expiries.forget((session.client, channel))
        return ends

    def due(self, now_s: float) -> list[tuple[Session, str]]:
        """Return the subscriptions whose time has come, and forget them."""
        found = self._expiries.due(now_s)
        for session, channel in found:
            self.forget(session, channel)
        return found
