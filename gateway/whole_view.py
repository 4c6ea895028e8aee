"""A gateway of several processes as app services see it: what one node says, gathered from all workers.

Publications, history and presence are the broker's, which this process has.  Everything else is asked of the
workers.  It knows the workers only by `Workers`, and no HTTP.  What always holds: a counter never goes back
when a worker is replaced: what the last scrape saw of it stays in the sum.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .connection._edge import EdgeStats
from .draining import Drain, Drained
from .listing import Asked, Listing, merge_channels, merge_connections
from .node import Node
from .publish_times import Sample
from .service_view import ServiceView

_LARGEST: Final = frozenset(
    {"ringgate_ring_lag_bytes", "ringgate_broker_round_trip_seconds", "ringgate_broker_probe_age_seconds"}
)
"""Gauges of which the whole has the largest, not the sum."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


class WorkerId(NamedTuple):
    """One life of one worker."""

    number: int
    pid: int


class Workers(Protocol):
    """The workers, as far as services ask for them."""

    wanted: int
    restarts: int

    def listening(self) -> Sequence[WorkerId]:
        """Return the workers that serve clients now."""

    async def gather(self, what: str, data: bytes = b"") -> Mapping[WorkerId, bytes]:
        """Ask all of them; one that does not answer in time is left out."""


class WholeView(ServiceView):
    """What an app service may ask of all workers together."""

    def __init__(self, node: Node, workers: Workers) -> None:
        super().__init__(node, EdgeStats())
        self._workers = workers
        self._last: dict[WorkerId, list[Sample]] = {}
        self._ended: dict[_Key, Sample] = {}
        self._scraping = asyncio.Lock()

    async def channels(self, asked: Asked) -> Listing:
        """Return a page of the channels that have subscribers, each once, with those of all workers."""
        return merge_channels((await self._gather(asked.question("channels"))).values(), asked)

    async def connections(self, asked: Asked) -> Listing:
        """Return a page of the connections of all workers."""
        return merge_connections((await self._gather(asked.question("connections"))).values(), asked)

    async def nodes(self) -> Sequence[Mapping[str, object]]:
        """Return the workers, each as a node."""
        told = await self._gather("node")
        return [{"worker": who.number, "pid": who.pid, **node} for who, node in sorted(told.items())]

    async def upstreams(self) -> Sequence[Mapping[str, object]]:
        """Return the groups as each worker sees them, and the supervisor."""
        told = await self._gather("upstreams")
        theirs = [{**u, "worker": who.number} for who, groups in sorted(told.items()) for u in groups]
        return [*theirs, *self.describe_upstreams()]

    async def drain_upstream(self, drain: Drain) -> Drained:
        """Have every process leave an address of an upstream, or use it again."""
        here = self.drain_here(drain)
        told = await self._gather("drain", msgspec.msgpack.encode(drain))
        return Drained(here.targets, here.pending + sum(pending for _, pending in told.values()))

    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Tell whether every worker is up, and the broker too."""
        ready, details = await super().ready()
        up, wanted = len(self._workers.listening()), self._workers.wanted
        return ready and up == wanted, {**details, "workers": f"{up} of {wanted}"}

    async def metrics(self) -> list[Sample]:
        """Return what this process and all workers count, added up."""
        async with self._scraping:  # else two at once would count an ended worker twice
            told = await self._gather("metrics")
            up = {*self._workers.listening(), *told}
            for who in [who for who in self._last if who not in up]:
                counted = [s for s in self._last.pop(who) if s[1] != "gauge"]
                self._ended = _add([*self._ended.values(), *counted])
            self._last.update({who: [_sample(s) for s in samples] for who, samples in told.items()})
            parts = [self._own_samples(), self._ended.values(), *self._last.values()]
            return [*_add(sample for part in parts for sample in part).values()]

    def _own_samples(self) -> Iterable[Sample]:
        yield from self.samples()
        up = len(self._workers.listening())
        yield "ringgate_workers", "gauge", "worker processes that serve clients", {}, up
        yield "ringgate_workers_wanted", "gauge", "worker processes there should be", {}, self._workers.wanted
        yield "ringgate_worker_restarts", "counter", "workers replaced", {}, self._workers.restarts

    async def _gather(self, what: str, data: bytes = b"") -> dict[WorkerId, Any]:
        answers = await self._workers.gather(what, data)
        decoded = {who: msgspec.msgpack.decode(answer) for who, answer in answers.items() if answer}
        return {who: answer for who, answer in decoded.items() if answer is not None}


def _sample(fields: list[Any]) -> Sample:
    name, kind, text, labels, value = fields
    return name, kind, text, labels, value


def _add(samples: Iterable[Sample]) -> dict[_Key, Sample]:
    """Add up samples of the same name and labels."""
    total: dict[_Key, Sample] = {}
    for sample in samples:
        name, kind, text, labels, value = sample
        key = name, tuple(sorted(labels.items()))
        known = total.get(key)
        if known is not None:
            value = max(known[4], value) if name in _LARGEST else known[4] + value
        total[key] = name, kind, text, labels, value
    return total
