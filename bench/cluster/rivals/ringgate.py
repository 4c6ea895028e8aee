"""Ringgate: two nodes with Redis as the broker, with and without history; one node alone for comparison."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Final

from .cluster import BATCH, CLUSTER, HTTP, SENTINEL, WS, Addresses, Cluster

NAME: Final = "Ringgate"
NO_HISTORY: Final = "Ringgate, no history"
ALONE: Final = "Ringgate, one node, memory"
AOF: Final = "Ringgate, append-only file"
SHARDS: Final = "Ringgate, two Redis servers"
SENTINELS: Final = "Ringgate, Sentinel"
CLUSTERED: Final = "Ringgate, Redis Cluster"
SHAPED: Final = (AOF, SHARDS, SENTINELS, CLUSTERED)
_FLAGS: Final = (
    "--listen=127.0.0.1:0",
    "--api-listen=127.0.0.1:0",
    "--log-format=json",
    "--namespace=default.join_leave=false",
)


def _command(*flags: str, redis: bool = True) -> Callable[[str], Sequence[str]]:
    def command(redis_url: str) -> Sequence[str]:
        broker = [f"--broker={redis_url}"] if redis else []
        return [sys.executable, "-m", "gateway", "serve", *_FLAGS, *broker, *flags]

    return command


def _addresses(line: str) -> Addresses | None:
    if not line.startswith("{"):
        return None
    record = json.loads(line)
    found = record.get("message") == "listening"
    return Addresses(str(record["edge"]), str(record["api"])) if found else None


CLUSTERS: Final = (
    Cluster(NAME, _command(), addresses=_addresses, publishing=(WS, HTTP, BATCH)),
    Cluster(NO_HISTORY, _command("--namespace=default.history_size=0"), addresses=_addresses),
    Cluster(ALONE, _command(redis=False), addresses=_addresses, nodes=1),
    Cluster(AOF, _command(), addresses=_addresses, aof=True),
    Cluster(SHARDS, _command(), addresses=_addresses, shards=2),
    Cluster(SENTINELS, _command(), addresses=_addresses, deployment=SENTINEL),
    Cluster(CLUSTERED, _command(), addresses=_addresses, deployment=CLUSTER),
)
