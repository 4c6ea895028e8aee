"""Whoever wants to hear of clients that come and go, and of what they are subscribed to.

The seam between sessions, which tell, and what makes notices of it.  It knows neither HTTP nor where notices
are kept.  A node without a `Listener` tells nobody, and that costs a session one look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .asking import Caller


class Listener(Protocol):
    """What sessions call.  None of these may raise, block or await."""

    def connected(self, caller: Caller) -> None:
        """Hear that a client was let in."""

    def resumed(self, caller: Caller) -> None:
        """Hear that a client goes on as an earlier session; `connected` was called before."""

    def disconnected(self, caller: Caller, code: int, channels: Sequence[str]) -> None:
        """Hear that a client is gone, and what it was subscribed to until then."""

    def subscribed(self, caller: Caller, channel: str) -> None:
        """Hear that a client is subscribed from now on."""

    def unsubscribed(self, caller: Caller, channel: str) -> None:
        """Hear that a client is subscribed no longer, though it is still there."""
