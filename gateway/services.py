"""The way to app services, made from the configuration: upstreams, and the hooks that ask and tell them.

What a gateway of one process, a worker and a supervisor have in common.  What always holds: where no
upstream is configured nothing of it is imported, so that it costs neither time nor memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from .broker import Broker, wire
from .broker.outbox import Outbox
from .config import Config
from .config.schema import HookOptions
from .config.schema import UpstreamOptions as ConfiguredUpstream
from .config.services import split_place
from .connection._edge import Edge
from .node import Node
from .publish_times import Sample
from .service_view import ServiceView

if TYPE_CHECKING:
    from .guests import Guests
    from .hooks.asked import HookService
    from .passthrough.passage import Passage
    from .upstreams.options import UpstreamOptions
    from .upstreams.upstream import Upstreams


_OUTBOX: Final = (
    ("waiting", "gauge", "notices that wait here to be delivered or kept"),
    ("dead", "gauge", "dead letters in this process"),
    ("occupied", "gauge", "channels that have subscribers, or had a moment ago"),
    ("lanes", "gauge", "lanes of notices that this node delivers"),
    ("delivered", "counter", "notices that app services took"),
    ("failed_tries", "counter", "deliveries that failed"),
    ("given_up", "counter", "notices that became dead letters"),
    ("dropped", "counter", "notices that were lost for want of room"),
)

ASKED: Final = ("connect", "subscribe", "publish", "call")


class Services:
    """All that leads to app services.  Made inside a running loop."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self.outbox: Outbox | None = None
        self._passages: dict[str, Passage] = {}
        self.upstreams: Upstreams | None = None
        self.hooks: HookService | None = None
        if config.upstreams:
            self.upstreams = make_upstreams(config.upstreams, loop)
            if any(getattr(config.hooks, name) for name in ASKED):
                self.hooks = make_hooks(config.hooks, self.upstreams)

    async def start(self) -> None:
        """Look names up, and begin to check health."""
        if self.upstreams is not None:
            await self.upstreams.start()
        if self.outbox is not None:
            await self.outbox.start()

    async def settle(self) -> None:
        """Keep or deliver the last notices.  The broker still runs, and no client is left.  Idempotent."""
        outbox, self.outbox = self.outbox, None
        if outbox is not None:
            await outbox.stop()

    async def stop(self) -> None:
        """End what is under way.  Idempotent."""
        await self.settle()
        if self.upstreams is not None:
            await self.upstreams.stop()

    def passages(self, edge: Callable[[], Edge], node: Node) -> dict[str, Passage]:
        """Return what takes the connections of each route, by its path; `edge` is theirs, once it is made."""
        if self.upstreams is None or not self._config.routes:
            return {}
        from .passthrough.choosing import Choosing, key_by
        from .passthrough.passage import Passage

        for name, route in self._config.routes.items():
            upstream = self.upstreams[route.upstream]
            self._passages[route.path] = Passage(
                edge,
                Choosing(upstream, key_by(route.stays_with)),
                name=name,
                connect_timeout_s=upstream.options.timeout_s,
                guard=self._guard(node) if route.authenticate else None,
            )
        return self._passages

    def _guard(self, node: Node) -> Guests | None:
        """Return what judges clients that are passed through; None where nobody has to show anything."""
        if node.door is None:
            return None
        from .guests import Guests

        return Guests(node.door, lambda: frozenset() if self.hooks is None else self.hooks.forwards)

    def serve(
        self, node: Node, broker: Broker, *, to_supervisor: Callable[[wire.Notice], None] | None = None
    ) -> None:
        """Have a node ask and tell app services; a worker may leave it to its supervisor to tell."""
        node.app_service = self.hooks
        if self.upstreams is None or not self._config.hooks.notices:
            return
        from . import notice_parts as parts

        if to_supervisor is not None:
            parts.listen(self._config, node, parts.to_supervisor(to_supervisor))
            return
        self.outbox = parts.make_outbox(self._config, node, broker, self.upstreams)
        parts.listen(self._config, node, self.outbox.tell)

    def show(self, view: ServiceView) -> None:
        """Have a view show state and counters of the upstreams."""
        if self.upstreams is None:
            return
        from .upstreams.report import describe, samples

        groups, clock = self.upstreams, self._loop.time
        view.describe_upstreams = lambda: describe(groups, clock())
        view.more_samples.append(lambda: samples(groups, clock()))
        if self.hooks is not None:
            view.more_samples.append(self.hooks.samples)
        if self.outbox is not None:
            outbox = view.outbox = self.outbox
            view.more_samples.append(lambda: outbox_samples(outbox.stats()))
        if self._passages:
            from .passthrough.report import samples as samples_of_passages

            view.more_samples.append(lambda: samples_of_passages(self._passages.values()))


def outbox_samples(stats: Mapping[str, int]) -> Iterator[Sample]:
    """Yield what an outbox counts."""
    for name, kind, text in _OUTBOX:
        if name in stats:
            yield f"ringgate_notices_{name}", kind, text, {}, stats[name]


def make_hooks(configured: HookOptions, upstreams: Upstreams) -> HookService:
    """Return what asks app services."""
    from .hooks.asked import HookService
    from .hooks.options import AskedOptions, HookPlace
    from .notice_parts import make_signer

    places = {name: getattr(configured, name) for name in ASKED}
    options = AskedOptions(
        **{name: HookPlace(*split_place(place)) for name, place in places.items() if place},
        forwards=frozenset(configured.headers),
        hash_by=configured.hash_by,
        call_timeout_s=configured.call_timeout,
        call_timeout_most_s=configured.call_timeout_most,
    )
    return HookService(upstreams, options, make_signer(configured))


def make_upstreams(
    configured: Mapping[str, ConfiguredUpstream], loop: asyncio.AbstractEventLoop
) -> Upstreams:
    """Return the groups, not started."""
    from .upstreams.http import HttpTransport
    from .upstreams.names import system_resolver
    from .upstreams.upstream import Upstream, Upstreams

    resolve = system_resolver(loop)
    return Upstreams(
        [
            Upstream(name, _upstream_options(options), loop=loop, transport=HttpTransport, resolve=resolve)
            for name, options in configured.items()
        ]
    )


def _upstream_options(o: ConfiguredUpstream) -> UpstreamOptions:
    from .upstreams.options import BreakerOptions, HealthOptions, UpstreamOptions, parse_address

    weights = o.weights or (1,) * len(o.addresses)
    return UpstreamOptions(
        addresses=tuple(map(parse_address, o.addresses, weights)),
        balance=o.balance,
        hash_bound=o.hash_bound / 100,
        connect_timeout_s=o.connect_timeout,
        timeout_s=o.timeout,
        retries=o.retries,
        max_pending=o.max_pending,
        max_waiting=o.max_waiting,
        max_answer_bytes=o.max_answer_bytes,
        idle_timeout_s=o.idle_timeout,
        resolve_interval_s=o.resolve_interval,
        slow_start_s=o.slow_start,
        health=HealthOptions(
            path=o.health_path,
            interval_s=o.health_interval,
            timeout_s=o.health_timeout,
            healthy_after=o.healthy_after,
            unhealthy_after=o.unhealthy_after,
        ),
        breaker=BreakerOptions(
            failures=o.breaker_failures,
            share=o.breaker_share / 100,
            window_s=o.breaker_window,
            open_s=o.breaker_open,
            open_most_s=o.breaker_open_most,
            probes=o.breaker_probes,
        ),
    )
