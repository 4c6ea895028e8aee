"""Brokers: publish, history, presence, sessions and control behind one small interface."""

from .interface import (
    Broker,
    ChannelOptions,
    Control,
    ControlKind,
    HistoryPage,
    PresenceChange,
    Publisher,
    PublishResult,
    Relay,
    State,
)

__all__ = [
    "Broker",
    "ChannelOptions",
    "Control",
    "ControlKind",
    "HistoryPage",
    "PresenceChange",
    "PublishResult",
    "Publisher",
    "Relay",
    "State",
]
