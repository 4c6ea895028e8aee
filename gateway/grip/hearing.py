"""What a GRIP connection asks of whoever knows the channels."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..message.filters import Filter


class Hearing(Protocol):
    """One client's subscriptions; what is published there reaches it without this package."""

    def __len__(self) -> int:
        """Return the number of its subscriptions."""

    def known_as(self, user: str) -> None:
        """Compare this user with what filters are told of users from now on; "" for nobody."""

    async def subscribe(self, channel: str, filters: Collection[Filter] = ()) -> None:
        """Hear a channel from now on, as far as filters let it.  Raises CommandError and BrokerError.

        Whoever hears it already does with these filters from now on.
        """

    def unsubscribe(self, channel: str) -> None:
        """Hear it no longer, after what was published before.  Idempotent."""

    def catch_up(self) -> None:
        """Send what could not be sent: the socket is no longer blocked."""

    def spoken_at(self) -> float:
        """Return when something was published last in one of its channels: the loop's time, 0 for never."""

    def leave(self) -> None:
        """End all subscriptions, after what was published before.  Idempotent."""
