"""The routes whose clients are passed through, made from the configuration, and made anew by a reload.

It knows the configuration and the parts.  What always holds: a route keeps its passage, with clients and
counters, as long as the configuration has its name; a passage whose route is gone lets its clients go, and
is forgotten when they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from .config.schema import RouteOptions
from .connection._edge import Edge
from .node import Node
from .passed_limits import PassedLimits
from .passthrough.choosing import Choosing, key_by
from .passthrough.passage import Passage, PassageOptions
from .passthrough.report import Sample
from .passthrough.report import samples as samples_of
from .upstreams.groups import Upstreams
from .upstreams.upstream import Upstream

if TYPE_CHECKING:
    from .passthrough.guard import Guard


class _Made:
    """A passage, and what it was made of."""

    def __init__(self, passage: Passage, choosing: Choosing) -> None:
        self.passage = passage
        self.choosing = choosing
        self.upstream: Upstream | None = None


class Passages:
    """The passages of all routes, by the routes' names.  `edge` is theirs, once it is made."""

    def __init__(self, edge: Callable[[], Edge], node: Node, guard: Callable[[], Guard | None]) -> None:
        self._edge = edge
        self._node = node
        self._guard = guard
        self._made: dict[str, _Made] = {}

    def change(self, routes: Mapping[str, RouteOptions], upstreams: Upstreams) -> dict[str, Passage]:
        """Have the passages of these routes, and no others; return them by their paths.

        Clients of a route that is gone come back to wherever their path leads now, each in its time; so do
        those of one that leads to another upstream.
        """
        for name, made in [*self._made.items()]:
            if name not in routes:
                made.passage.end()
                _leave(made)
                if not made.passage.counts.open:
                    del self._made[name]
        return {route.path: self._use(name, route, upstreams) for name, route in routes.items()}

    def _use(self, name: str, route: RouteOptions, upstreams: Upstreams) -> Passage:
        upstream, key_of = upstreams[route.upstream], key_by(route.stays_with)
        options = PassageOptions(
            connect_timeout_s=upstream.options.timeout_s,
            guard=self._guard() if route.authenticate else None,
            move_within_s=route.move_within,
        )
        made = self._made.get(name)
        if made is None:
            choosing = Choosing(upstream, key_of)
            passage = Passage(self._edge, choosing, options, name=name, limiter=PassedLimits(self._node))
            made = self._made[name] = _Made(passage, choosing)
        else:
            made.choosing.change(upstream, key_of)
            made.passage.change(options)
        if made.upstream is not upstream:
            _leave(made)
            upstream.watch(made.passage.move)
            made.upstream = upstream
        made.passage.move()
        return made.passage

    def samples(self) -> Iterator[Sample]:
        """Yield what passages count, also those whose clients are about to go."""
        yield from samples_of(made.passage for made in self._made.values())


def _leave(made: _Made) -> None:
    """Have a passage hear nothing more of its upstream."""
    if made.upstream is not None:
        made.upstream.unwatch(made.passage.move)
        made.upstream = None
