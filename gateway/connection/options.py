"""What holds for every connection of an edge."""

from __future__ import annotations

import msgspec


class EdgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times of connections, in bytes and seconds."""

    max_connections: int = 10_000
    max_message_bytes: int = 64 * 1024
    max_fragments: int = 1024
    handshake_timeout: float = 10.0
    message_timeout: float = 30.0
    ping_interval: float = 30.0
    idle_timeout: float = 60.0
    max_missed_pings: int = 3
    close_timeout: float = 5.0
    compression_threshold: int = 256
    compression_level: int = 6
    compression_memory: int = 5
    read_buffer_bytes: int = 256 * 1024
