"""Watchers: clients that write down who comes to their channels, and who goes."""

from __future__ import annotations

from typing import Any

from .client import ChaosClient
from .records import Came, Went


class Watcher(ChaosClient):
    """A client of channels that tell who is there."""

    def take(self, event: Any) -> None:
        """Write down arrivals and departures; everything else as every client does."""
        if event.type == "join":
            self.log.append(Came(at=self.heard_at, channel=event.channel, client=event.client))
        elif event.type == "leave":
            self.log.append(Went(at=self.heard_at, channel=event.channel, client=event.client))
        else:
            super().take(event)
