"""What connections to Redis are told: where to go, as whom, in what time, and how much may wait.

Knows nothing of sockets.  Times are seconds, sizes bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Address(NamedTuple):
    """A TCP port, or, where `port` is 0, the path of a Unix socket in `host`."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS: paths of PEM files ("" for none; `ca` "" trusts what the machine trusts).

    `verify` is `full`, `ca` (any name in the certificate will do) or `none` (anybody may be the server).
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: str = "full"


@dataclass(frozen=True, slots=True)
class Login:
    """As whom, and to which database.  An empty password means no AUTH; an empty user Redis' `default`."""

    user: str = ""
    password: str = ""
    database: int = 0

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, password={'***' if self.password else ''!r}, {self.database})"


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Times and bounds of every connection to Redis."""

    connect_timeout_s: float = 3.0
    """For a connection with its TLS handshake, its login and its first questions."""
    command_timeout_s: float = 2.0
    """From a command to its reply; noticed at most half as long again later."""
    heartbeat_s: float = 1.5
    """Between two signs of life; a connection that says nothing is given up within two of them."""
    backoff_first_s: float = 0.05
    backoff_most_s: float = 3.0
    max_queued_bytes: int = 32 * 1024 * 1024
    """Of commands that have not left this process, for each server."""
    max_commands: int = 100_000
    """Commands without a reply, for each server."""
    client_name: str = "ringgate"
    """What CLIENT LIST shows."""
    topology_s: float = 1.0
    """Between two looks at what the Sentinels say; a Cluster is asked every tenth time, and when it moves."""
