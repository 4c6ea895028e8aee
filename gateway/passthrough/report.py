"""What passages count, as samples for metrics.  Labels come from the configuration alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .passage import Passage

Sample = tuple[str, str, str, Mapping[str, str], float]
"""Name, kind, help text, labels, value."""


def samples(passages: Iterable[Passage]) -> Iterator[Sample]:
    """Yield what passages count."""
    for passage in passages:
        label, counts = {"route": passage.name}, passage.counts
        yield "ringgate_passed_connections", "gauge", "connections passed through", label, counts.open
        yield (
            "ringgate_passed_opened",
            "counter",
            "connections that were passed through",
            label,
            counts.opened,
        )
        yield (
            "ringgate_passed_moved",
            "counter",
            "connections that were asked to come back to another address",
            label,
            counts.moved,
        )
        for status, count in counts.refused.items():
            labels = {**label, "status": status}
            yield "ringgate_passed_refused", "counter", "connections with no good upstream", labels, count
