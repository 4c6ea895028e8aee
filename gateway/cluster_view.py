"""What app services may ask of a cluster: nodes that share a broker tell each other what they have.

It knows the broker only by `Cluster`, and no HTTP.  A node that is stopped or gone is left out after a
moment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from .connection._edge import EdgeStats
from .listing import Asked, Listing, merge_channels, merge_connections, read_question
from .node import Node
from .service_view import ServiceView
from .whole_view import WholeView, Workers


class Cluster(Protocol):
    """A broker by which nodes reach each other."""

    on_question: Callable[[str], bytes]

    @property
    def healthy(self) -> bool:
        """Messages came through to this node a moment ago."""

    @property
    def unreachable(self) -> Sequence[str]:
        """Servers of the broker from which the last probe did not come back."""

    async def gather(self, what: str) -> Mapping[str, bytes]:
        """Ask all nodes; empty answers are left out.  Raises BrokerError."""


def answer_for(view: ServiceView) -> Callable[[str], bytes]:
    """Return what answers other nodes' questions about this one."""
    questions: dict[str, Callable[[Asked], object]] = {
        "channels": view.channels_here,
        "connections": view.connections_here,
        "node": lambda asked: {**view.node_here(), "host": socket.gethostname(), "pid": os.getpid()},
    }

    def answer(question: str) -> bytes:
        what, asked = read_question(question)
        return msgspec.msgpack.encode(questions[what](asked)) if what in questions else b""

    return answer


class ClusterView(ServiceView):
    """What an app service may ask of all nodes together."""

    def __init__(self, node: Node, edge: EdgeStats, cluster: Cluster) -> None:
        super().__init__(node, edge)
        self._cluster = cluster

    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Tell whether some server of the broker answers, and which do not."""
        ready, details = await super().ready()
        return ready, {**details, **self._degraded(ready)}

    def _degraded(self, ready: bool) -> Mapping[str, object]:
        unreachable = [*self._cluster.unreachable]
        return {"unreachable": unreachable} if ready and unreachable else {}

    async def channels(self, asked: Asked) -> Listing:
        """Return a page of the channels that have subscribers, each once, with those of all nodes."""
        return merge_channels(await self._ask(asked.question("channels")), asked)

    async def connections(self, asked: Asked) -> Listing:
        """Return a page of the connections of all nodes."""
        return merge_connections(await self._ask(asked.question("connections")), asked)

    async def nodes(self) -> Sequence[Mapping[str, object]]:
        """Return the nodes of the cluster."""
        return sorted(await self._ask("node"), key=lambda node: (node["host"], node["pid"]))

    async def _ask(self, what: str) -> list[Any]:
        return [msgspec.msgpack.decode(told) for told in (await self._cluster.gather(what)).values()]


class WholeClusterView(ClusterView, WholeView):
    """The same for a gateway of several workers: each is a node of the cluster."""

    def __init__(self, node: Node, workers: Workers, cluster: Cluster) -> None:
        WholeView.__init__(self, node, workers)
        self._cluster = cluster

    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Tell whether every worker is up, and messages come through to each."""
        ready, details = await WholeView.ready(self)
        cut_off = sum(not healthy for healthy in (await self._gather("healthy")).values())
        details = {**details, **self._degraded(ready)}
        return ready and not cut_off, {**details, **({"workers_cut_off": cut_off} if cut_off else {})}
