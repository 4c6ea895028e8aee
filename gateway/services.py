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
from .calling import CallsAtOnce
from .config import Config
from .config.schema import HookOptions
from .config.schema import UpstreamOptions as ConfiguredUpstream
from .config.services import split_place
from .connection._edge import Edge
from .draining import Drain, Drained, no_such_upstream
from .errors import CommandError
from .node import Node
from .publish_times import Sample
from .service_view import ServiceView

if TYPE_CHECKING:
    from .grip.route import GripRoute
    from .grip_parts import GripRoutes
    from .guests import Guests
    from .hooks.asked import HookService
    from .hooks.notices import Delivery
    from .passages import Passages
    from .passthrough.passage import Passage
    from .upstreams.groups import Upstreams
    from .upstreams.options import UpstreamOptions
    from .upstreams.upstream import Upstream


_OUTBOX: Final = (
    ("waiting", "gauge", "notices that wait to be delivered or kept"),
    ("dead", "gauge", "dead letters"),
    ("occupied", "gauge", "channels that have subscribers, or had a moment ago"),
    ("lanes", "gauge", "lanes of notices that this node delivers"),
    ("delivered", "counter", "notices that app services took"),
    ("failed_tries", "counter", "deliveries that failed"),
    ("given_up", "counter", "notices that became dead letters"),
    ("dropped", "counter", "notices that were lost for want of room"),
    ("setbacks", "counter", "times that Redis had lost what it was told of notices"),
)

_FAREWELL_S: Final = 2.0

ASKED: Final = ("connect", "subscribe", "publish", "call", "message")


class Services:
    """All that leads to app services.  Made inside a running loop."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self.outbox: Outbox | None = None
        self._delivery: Delivery | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._passages: Passages | None = None
        self._grip: GripRoutes | None = None
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
        if self._grip is not None:
            await self._grip.stop(_FAREWELL_S)
        outbox, self.outbox = self.outbox, None
        if outbox is not None:
            await outbox.stop()

    async def stop(self) -> None:
        """End what is under way.  Idempotent."""
        await self.settle()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self.upstreams is not None:
            await self.upstreams.stop()

    async def reload(self, config: Config, node: Node, then: Callable[[], None] = lambda: None) -> None:
        """Use another configuration; groups that are in it as before go on with all that they know.

        `then` is called in the moment from which on the other one holds.
        """
        async with self._reloading:
            gone = await self._reload_upstreams(config)
            before, self._config = self._config, config
            self._reload_hooks(before, node)
            then()
            for group in gone:
                task = self._loop.create_task(_retire(group))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    async def _reload_upstreams(self, config: Config) -> list[Upstream]:
        """Have the groups of another configuration; return those that are not needed any more."""
        before = self._config.upstreams
        if config.upstreams == before:
            return []
        groups = self.upstreams
        if groups is None:
            groups = make_upstreams({}, self._loop)
        fresh = make_upstreams({n: o for n, o in config.upstreams.items() if n not in groups}, self._loop)
        changed = {
            n: _upstream_options(o) for n, o in config.upstreams.items() if before.get(n) not in (o, None)
        }
        try:
            await fresh.start()
            prepared = await groups.prepare(changed)
        except BaseException:
            await fresh.stop()
            raise
        self.upstreams = groups
        return groups.change(list(config.upstreams), prepared, fresh)

    def _reload_hooks(self, before: Config, node: Node) -> None:
        hooks = self._config.hooks
        if hooks == before.hooks and (self.hooks is not None or self.upstreams is None):
            return
        asked = any(getattr(hooks, name) for name in ASKED)
        outcomes = self.hooks.outcomes if self.hooks is not None else None
        self.hooks = make_hooks(hooks, self.upstreams) if asked and self.upstreams is not None else None
        if self.hooks is not None and outcomes is not None:
            self.hooks.outcomes = outcomes
        node.app_service = self.hooks
        if self._delivery is not None:
            from .notice_parts import change_delivery

            change_delivery(self._config, self._delivery)

    def passages(self, edge: Callable[[], Edge], node: Node) -> dict[str, Passage | GripRoute]:
        """Return what takes the connections of each route, by its path; `edge` is theirs, once it is made."""
        if self.upstreams is None:
            return {}
        spoken = self._grip_routes(node, self.upstreams) if self._config.speaks_grip else {}
        routes = {n: route for n, route in self._config.routes.items() if route.protocol != "grip"}
        if routes and self._passages is None:
            from .passages import Passages

            self._passages = Passages(edge, node, lambda: self._guard(node))
        made = {} if self._passages is None else self._passages.change(routes, self.upstreams)
        return {**made, **spoken}

    def _grip_routes(self, node: Node, upstreams: Upstreams) -> dict[str, GripRoute]:
        from .grip_parts import GripRoutes

        if self._grip is None:
            self._grip = GripRoutes(node, upstreams)
        return self._grip.take(self._config, lambda: self._guard(node))

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
        if self._config.hooks.calls_at_once > 1:
            node.calls = CallsAtOnce(self._config.hooks.calls_at_once, self._loop)
        if self.upstreams is None or not self._config.hooks.notices:
            return
        from . import notice_parts as parts

        if to_supervisor is not None:
            parts.listen(self._config, node, parts.to_supervisor(to_supervisor))
            return
        self._delivery = parts.make_delivery(self._config, self.upstreams)
        self.outbox = parts.make_outbox(self._config, node, broker, self._delivery)
        parts.listen(self._config, node, self.outbox.tell)

    def show(self, view: ServiceView) -> None:
        """Have a view show state and counters of the upstreams."""
        view.describe_upstreams = self._describe
        view.drain_here = self.drain
        view.more_samples.append(self._samples)
        if self.outbox is not None:
            outbox = view.outbox = self.outbox
            view.more_samples.append(lambda: outbox_samples(outbox.stats()))

    def drain(self, drain: Drain) -> Drained:
        """Have an address left, or used again.  Raises CommandError where there is no such address."""
        if self.upstreams is None or drain.upstream not in self.upstreams:
            return no_such_upstream(drain)
        upstream = self.upstreams[drain.upstream]
        try:
            found = upstream.drain(drain.address, drain.ip, draining=drain.draining)
        except (KeyError, ValueError):
            known = ", ".join(f"`{target.endpoint}`" for target in upstream.targets)
            text = f"upstream `{drain.upstream}` has no such address; it has {known or 'none'}"
            raise CommandError("bad_request", text) from None
        return Drained(len(found), sum(target.pending for target in found))

    @property
    def drained(self) -> list[Drain]:
        """What is drained now."""
        return [Drain(u.name, *place) for u in self.upstreams or () for place in u.drained]

    def _describe(self) -> list[dict[str, object]]:
        if self.upstreams is None:
            return []
        from .upstreams.report import describe

        return describe(self.upstreams, self._loop.time())

    def _samples(self) -> Iterator[Sample]:
        if self.upstreams is None:
            return
        from .upstreams.report import samples

        yield from samples(self.upstreams, self._loop.time())
        if self.hooks is not None:
            yield from self.hooks.samples()
        if self._passages is not None:
            yield from self._passages.samples()
        if self._grip is not None:
            yield from self._grip.samples()


async def _retire(group: Upstream) -> None:
    try:
        await group.retire()
    finally:
        await group.stop()


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
    from .upstreams.groups import Upstreams
    from .upstreams.http import HttpTransport
    from .upstreams.names import system_resolver
    from .upstreams.upstream import Upstream

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
        networks=o.networks,
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
