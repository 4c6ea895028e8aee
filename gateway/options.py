"""Options of sessions and namespaces, as the node and its sessions use them.

They know nothing of files and flags: `gateway.server` makes them from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .broker import ChannelOptions
from .hub.channel import RingOptions
from .message.names import namespace_of
from .permissions import NOBODY, SUBSCRIBERS, Rule


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the channels of one namespace."""

    broker: ChannelOptions = ChannelOptions()
    ring: RingOptions = RingOptions()
    join_leave: bool = False
    may_subscribe: bool = True  # every client, without looking at it
    may_publish: bool = True
    subscribe: Rule = NOBODY  # who else
    publish: Rule = NOBODY
    see_presence: Rule = SUBSCRIBERS
    see_history: Rule = SUBSCRIBERS
    publish_rate: float = 0.0
    """Publications of clients to one channel in a second; 0 is no limit."""


class NodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a node and its sessions.  Times in seconds, sizes in bytes."""

    namespaces: Mapping[str, Namespace]
    default: Namespace = Namespace()
    ping_interval_s: float = 30.0
    resume_ttl_s: float = 60.0
    max_channels: int = 256
    max_commands_per_frame: int = 100
    max_pending_commands: int = 1000
    max_publish_bytes: int = 32 * 1024
    max_keys: int = 100_000
    max_history_page: int = 1000
    max_queued_bytes: int = 1 << 20
    drain_after_ms: tuple[int, int] = (0, 2000)
    revocation_ttl_s: float = 0.0  # 0: there are no tokens that could be revoked

    def namespace(self, channel: str) -> Namespace:
        """Return what holds for a channel; personal channels belong to the default namespace."""
        if ":" not in channel or channel.startswith("@"):
            return self.default
        return self.namespaces.get(namespace_of(channel), self.default)
