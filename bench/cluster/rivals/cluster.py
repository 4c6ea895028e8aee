"""What `bench.cluster` has to know of a kind of cluster: how a node is started and spoken to."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.rivals.rival import port_line
from gateway.bench.runs import Subscribing

WS: Final = "ws"
HTTP: Final = "http"
SENTINEL: Final = "sentinel"
CLUSTER: Final = "cluster"
BATCH: Final = "batch"


@dataclass(frozen=True)
class Addresses:
    """Where one node listens, HOST:PORT; `api` is Ringgate's internal port, or the same."""

    edge: str
    api: str


def one_port(line: str) -> Addresses | None:
    """Find the addresses in a line that a node prints first: its port."""
    address = port_line(line)
    return Addresses(address, address) if address else None


@dataclass(frozen=True)
class Cluster:
    """A kind of cluster.

    `command` starts a node for a Redis URL; `addresses` finds where it listens in a line of its output;
    `missing` tells what this machine lacks, "" when nothing; `path` is where clients connect, `how` tells how
    they subscribe and publish; `nodes` is how many there are (a single one: nothing is relayed);
    `publishing` are the ways in which it can be published to.  `shards` is the number of independent Redis
    servers; with `aof` they keep an append-only file, synchronised once a second.  `deployment` is SENTINEL
    (a master, a replica and three Sentinels), CLUSTER (three masters), or "" for those servers.
    """

    name: str
    command: Callable[[str], Sequence[str]]
    missing: Callable[[], str] = lambda: ""
    addresses: Callable[[str], Addresses | None] = one_port
    path: str = "/ws"
    how: Subscribing = field(default_factory=Subscribing)
    nodes: int = 2
    publishing: Sequence[str] = (WS,)
    shards: int = 1
    aof: bool = False
    deployment: str = ""


def python_cluster(name: str, module: str, *needs: str, how: Subscribing, path: str = "/ws") -> Cluster:
    """Describe nodes in Python, `module` with a Redis URL, which need packages."""

    def missing() -> str:
        lacking = [need for need in needs if importlib.util.find_spec(need) is None]
        return " and ".join(f"the package {need}" for need in lacking)

    return Cluster(name, lambda url: [sys.executable, "-m", module, url], missing, path=path, how=how)
