"""What a group of addresses is told.  Times in seconds, sizes in bytes, shares as fractions.

They know nothing of files and flags.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec


class ServiceAddress(NamedTuple):
    """A base URL taken apart, with its share of the load."""

    scheme: str
    host: str
    port: int
    weight: int = 1

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(url: str, weight: int = 1) -> ServiceAddress:
    """Take a checked base URL such as "http://app:9000" apart; ws is another word for http, wss for https."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    port = parts.port or (443 if scheme == "https" else 80)
    return ServiceAddress(scheme, parts.hostname or "", port, weight)


class HealthOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Active checks: none where `path` is empty."""

    path: str = ""
    interval_s: float = 5.0
    timeout_s: float = 2.0
    healthy_after: int = 2
    unhealthy_after: int = 3


class BreakerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When a target is left alone: after so many failures in a row, or so large a share of many."""

    failures: int = 5
    share: float = 0.5
    window_s: float = 10.0
    least: int = 20
    """The share counts only among so many requests and more."""
    open_s: float = 5.0
    open_most_s: float = 60.0
    probes: int = 2


class UpstreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One group."""

    addresses: tuple[ServiceAddress, ...]
    balance: str = "round_robin"
    hash_bound: float = 1.25
    connect_timeout_s: float = 1.0
    timeout_s: float = 5.0
    retries: int = 1
    max_pending: int = 128
    max_waiting: int = 1024
    max_answer_bytes: int = 1 << 20
    idle_timeout_s: float = 4.0
    resolve_interval_s: float = 10.0
    networks: tuple[str, ...] = ()
    """Where names may lead; none: see `reach.Reach`."""
    slow_start_s: float = 0.0
    health: HealthOptions = HealthOptions()
    breaker: BreakerOptions = BreakerOptions()
