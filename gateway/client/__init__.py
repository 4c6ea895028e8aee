"""The Python client of a gateway: asyncio, reconnecting, resuming; see `Client` and docs/python-client.md."""

from .client import Client
from .credentials import TokenSource
from .errors import RinggateError
from .options import Options
from .presence import Presence
from .results import (
    ChannelEvent,
    Ended,
    HistoryPage,
    Joined,
    Left,
    Lost,
    Member,
    Message,
    Position,
    Published,
    Status,
    Subscribed,
)
from .subscription import Subscription

__all__ = [
    "ChannelEvent",
    "Client",
    "Ended",
    "HistoryPage",
    "Joined",
    "Left",
    "Lost",
    "Member",
    "Message",
    "Options",
    "Position",
    "Presence",
    "Published",
    "RinggateError",
    "Status",
    "Subscribed",
    "Subscription",
    "TokenSource",
]
