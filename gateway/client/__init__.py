"""The Python client of a gateway: asyncio, reconnecting, resuming; see `Client` and docs/python-client.md."""

from .client import Client
from .credentials import TokenSource
from .edits import Conflict
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
    Patched,
    Position,
    Published,
    StateSet,
    Status,
    Subscribed,
)
from .state import State
from .subscription import Subscription

__all__ = [
    "ChannelEvent",
    "Client",
    "Conflict",
    "Ended",
    "HistoryPage",
    "Joined",
    "Left",
    "Lost",
    "Member",
    "Message",
    "Options",
    "Patched",
    "Position",
    "Presence",
    "Published",
    "RinggateError",
    "State",
    "StateSet",
    "Status",
    "Subscribed",
    "Subscription",
    "TokenSource",
]
