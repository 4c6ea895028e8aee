"""The node as app services see it: what the publish API asks, and what it is told.

It knows the node, its sessions and its edge's counters, but no HTTP (`gateway.http.gateway_view`
is the same from the other side).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import Any, Final

from . import closecodes
from .auth.revocations import Revocation, RevokedKind
from .bare import close_channel
from .broker import Control, ControlKind, HistoryPage, PublishResult, State
from .broker.outbox import DeadPage, Outbox, Wanted
from .connection._edge import EdgeStats
from .draining import Drain, Drained, no_such_upstream
from .errors import BrokerError, CommandError
from .listing import Asked, Listing
from .message.names import check_channel_name, personal_channel
from .message.publication import Draft, Member, Position
from .node import Node
from .publish_times import PublishTimes, Sample
from .publishing import publish_all
from .revoking import revoke, revoked_now

_NONE: Final[Mapping[str, str]] = {}


class ServiceView:
    """What an app service may ask of the gateway.  Methods raise CommandError and BrokerError."""

    def __init__(self, node: Node, edge: EdgeStats) -> None:
        self._node = node
        self._edge = edge
        self.publish_times = PublishTimes()
        self.broker_samples: Callable[[], Iterable[Sample]] = lambda: ()
        """What else the broker counts."""
        self.describe_upstreams: Callable[[], list[dict[str, object]]] = list
        self.drain_here: Callable[[Drain], Drained] = no_such_upstream
        """Has an address of an upstream left, or used again, by this process.  Raises CommandError."""
        self.describe_config: Callable[[], Mapping[str, object]] = dict
        """What is known of the configuration."""
        self.outbox: Outbox | None = None
        self.more_samples: list[Callable[[], Iterable[Sample]]] = []
        """What parts count that are there only where they are configured."""
        node.observe_publish = self.publish_times.observe

    # -- publish and send -----------------------------------------------------------------

    def publish(
        self, channel: str, data: bytes, *, binary: bool = False, key: str = "", exclude: str = ""
    ) -> Coroutine[Any, Any, PublishResult]:
        """Publish a checked payload; `exclude` is a client id that must not get it."""
        return self._node.publish(channel, data, binary=binary, key=key, exclude=exclude)

    def publish_all(
        self, drafts: Iterable[Draft]
    ) -> Coroutine[Any, Any, Sequence[PublishResult | Exception]]:
        """Publish checked payloads, in order; return what `publish` would return or raise for each."""
        return publish_all(self._node, drafts)

    async def update(self, channel: str, patch: bytes, *, base: Position, key: str = "") -> PublishResult:
        """Apply a checked patch to version `base` of the channel's state."""
        return await self._node.update(channel, patch, base=base, key=key)

    async def state(self, channel: str) -> State:
        """Return the channel's state."""
        return await self._node.state(channel)

    async def send(
        self, *, user: str = "", client: str = "", data: bytes, binary: bool = False
    ) -> Mapping[str, object]:
        """Send to all connections of a user, through the personal channel, or to one client."""
        if bool(user) == bool(client):
            raise CommandError("bad_request", "exactly one of user and client is needed")
        if user:
            result = await self._node.publish(personal_channel(user), data, binary=binary)
            return {"epoch": result.epoch, "offset": result.offset}
        if len(data) > self._node.options.max_publish_bytes:
            raise CommandError(
                "limit_exceeded", f"a payload is at most {self._node.options.max_publish_bytes} bytes"
            )
        publication = self._node.make_publication(data, binary=binary)
        reached = await self._control(Control(kind=ControlKind.SEND, client=client, publication=publication))
        return {"connections": reached}

    async def _control(self, control: Control) -> int:
        if bool(control.user) == bool(control.client):
            raise CommandError("bad_request", "exactly one of user and client is needed")
        return await self._node.broker.control(control)

    async def subscribe(self, *, user: str = "", client: str = "", channel: str) -> int:
        """Subscribe connections to a channel; return how many were reached."""
        check_channel_name(channel)
        control = Control(kind=ControlKind.SUBSCRIBE, user=user, client=client, channel=channel)
        return await self._control(control)

    async def unsubscribe(self, *, user: str = "", client: str = "", channel: str) -> int:
        """End the subscription of connections; return how many were reached."""
        check_channel_name(channel)
        control = Control(kind=ControlKind.UNSUBSCRIBE, user=user, client=client, channel=channel)
        return await self._control(control)

    async def disconnect(self, *, user: str = "", client: str = "", code: int = 0, reason: str = "") -> int:
        """Close connections; return how many were reached."""
        code = code or closecodes.DISCONNECTED
        if not closecodes.is_for_services(code):
            raise CommandError("bad_request", "a close code is 1000, or 3000 to 4999")
        if len(reason.encode()) > closecodes.MAX_REASON_BYTES:
            raise CommandError("bad_request", f"a reason is at most {closecodes.MAX_REASON_BYTES} bytes")
        return await self._control(
            Control(
                kind=ControlKind.DISCONNECT,
                user=user,
                client=client,
                close_code=code,
                reason=reason or "disconnected",
            )
        )

    async def close_bare(self, channel: str, code: int, reason: str, exclude: str = "") -> int:
        """Close the connections that hear a channel as bare frames; return how many."""
        return await close_channel(self._node, channel, code, reason, exclude)

    async def revoke(self, *, kind: str, value: str, ttl_s: float) -> int:
        """Refuse tokens from now on; return how many connections that closed.  `ttl_s` 0: as configured."""
        longest = self._node.options.revocation_ttl_s
        if not longest:
            raise CommandError("bad_request", "no tokens are asked for here, so none can be revoked")
        if ttl_s > longest:
            raise CommandError("bad_request", f"`ttl` is at most auth.revocation_ttl, {longest:g} seconds")
        now_ms = self._node.wall_ms()
        until_ms = now_ms + int((ttl_s or longest) * 1000)
        return await revoke(self._node, Revocation(RevokedKind(kind), value, now_ms, until_ms))

    async def revocations(self, limit: int) -> Sequence[Mapping[str, object]]:
        """Return what is refused now, the newest first."""
        if not self._node.options.revocation_ttl_s:
            raise CommandError("bad_request", "no tokens are asked for here, so none are revoked")
        entries = await revoked_now(self._node, self._node.wall_ms())
        return [
            {"kind": e.kind, "value": e.value, "revoked_ms": e.at_ms, "until_ms": e.until_ms}
            for e in entries[:limit]
        ]

    # -- what there is --------------------------------------------------------------------

    async def channels(self, asked: Asked) -> Listing:
        """Return a page of the channels that have subscribers."""
        return self.channels_here(asked)

    def channels_here(self, asked: Asked) -> Listing:
        """Return a page of the channels that have subscribers in this process."""
        heard = [c for c in self._node.hub.channels() if c.cursors and c.name.startswith(asked.prefix)]
        page = nsmallest(asked.limit, (c for c in heard if c.name > asked.after), key=lambda c: c.name)
        items: list[dict[str, object]] = [
            {
                "name": c.name,
                "subscribers": len(c.cursors),
                "epoch": c.position.epoch,
                "offset": c.position.offset,
            }
            for c in page
        ]
        return Listing(items, len(heard))

    async def presence(self, channel: str) -> Sequence[Member]:
        """Return who is in a channel."""
        return await self._node.presence(channel)

    async def history(self, channel: str, *, limit: int, before: int) -> HistoryPage:
        """Return a channel's newest publications below the offset `before` (0: of all)."""
        return await self._node.history(channel, limit=limit, before=before)

    async def connections(self, asked: Asked) -> Listing:
        """Return a page of the connections.  `since_ms` is wall-clock milliseconds since 1970."""
        return self.connections_here(asked)

    def connections_here(self, asked: Asked) -> Listing:
        """Return a page of the connections of this process."""
        now, wall_ms = self._node.loop.time(), self._node.wall_ms()
        behind = (s for s in self._node.sessions.values() if s.client > asked.after)
        items: list[dict[str, object]] = [
            {
                "client": s.client,
                "user": s.user,
                "channels": s.channel_count,
                "remote": s.connection.remote,
                "since_ms": wall_ms - int((now - s.connection.opened_at) * 1000),
            }
            for s in nsmallest(asked.limit, behind, key=lambda s: s.client)
        ]
        return Listing(items, len(self._node.sessions))

    async def nodes(self) -> Sequence[Mapping[str, object]]:
        """Return the nodes of the cluster; with the memory broker there is this one."""
        return [self.node_here()]

    def _kept(self) -> Outbox:
        if self.outbox is None:
            raise CommandError("bad_request", "no notices are configured")
        return self.outbox

    async def dead_letters(self, wanted: Wanted, *, limit: int, after: str) -> DeadPage:
        """Return a page of notices that were given up, the oldest first."""
        return await self._kept().dead_letters(wanted, limit=limit, after=after)

    async def replay_dead_letters(self, wanted: Wanted) -> int:
        """Have dead letters delivered again; return how many."""
        return await self._kept().replay(wanted)

    async def drop_dead_letters(self, wanted: Wanted) -> int:
        """Forget dead letters; return how many."""
        return await self._kept().drop(wanted)

    async def configuration(self) -> Mapping[str, object]:
        """Return what is known of the configuration of this gateway."""
        return self.describe_config()

    async def upstreams(self) -> Sequence[Mapping[str, object]]:
        """Return the groups of app services as this gateway sees them."""
        return self.describe_upstreams()

    async def drain_upstream(self, drain: Drain) -> Drained:
        """Have an address of an upstream left, or used again, by this gateway."""
        return self.drain_here(drain)

    def node_here(self) -> dict[str, object]:
        """Describe the node of this process."""
        return {
            "id": self._node.id,
            "connections": len(self._node.sessions),
            "channels": len(self._node.hub),
            "draining": self._node.draining,
        }

    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Tell whether this node should get traffic: the broker answers a probe, and it is not draining."""
        if self._node.draining:
            return False, {"draining": True}
        try:
            seconds = await self._node.broker.probe()
        except BrokerError:
            return False, {"broker": "unavailable"}
        return True, {"broker_round_trip_ms": round(seconds * 1000, 3)}

    # -- metrics --------------------------------------------------------------------------

    async def metrics(self) -> list[Sample]:
        """Return counters, gauges and histograms, read now."""
        return list(self.samples())

    def samples(self) -> Iterable[Sample]:
        """Yield what this process counts."""
        yield from self._edge_metrics()
        yield from self.publish_times.samples()
        yield from self._node.exceeded.samples()
        yield from self._ring_metrics()
        yield from self._slow_client_metrics()
        for name, value in self._node.broker.stats().items():
            yield (
                f"ringgate_broker_{name}",
                "gauge",
                f"{name.replace('_', ' ')} kept by the broker",
                _NONE,
                value,
            )

        yield from self.broker_samples()
        if self._node.door is not None:
            yield from self._node.door.samples()
        for more in self.more_samples:
            yield from more()

    def _edge_metrics(self) -> Iterable[Sample]:
        e, node, ring = self._edge, self._node, self._node.hub.stats
        direct, by_ring = {"path": "direct"}, {"path": "ring"}
        yield "ringgate_connections", "gauge", "open client connections", _NONE, e.accepted - e.closed
        yield "ringgate_sessions", "gauge", "clients that are let in", _NONE, len(node.sessions)
        yield "ringgate_channels", "gauge", "channels open on this node", _NONE, len(node.hub)
        yield "ringgate_tasks", "gauge", "asyncio tasks", _NONE, len(asyncio.all_tasks(node.loop))
        yield "ringgate_connections_accepted", "counter", "connections accepted", _NONE, e.accepted
        yield "ringgate_handshakes", "counter", "handshakes answered with 101", _NONE, e.opened
        yield "ringgate_messages_in", "counter", "messages received", _NONE, e.messages_in
        yield "ringgate_bytes_in", "counter", "bytes received", _NONE, e.bytes_in
        yield "ringgate_messages_out", "counter", "messages sent", direct, e.messages_out
        yield "ringgate_messages_out", "counter", "messages sent", by_ring, ring.frames_delivered
        yield "ringgate_bytes_out", "counter", "bytes of messages sent", direct, e.message_bytes_out
        yield "ringgate_bytes_out", "counter", "bytes of messages sent", by_ring, ring.bytes_sent
        yield "ringgate_pings_out", "counter", "pings sent", _NONE, e.pings_out
        for reason, count in list(e.refusals.items()):
            yield "ringgate_handshakes_refused", "counter", "handshakes refused", {"reason": reason}, count
        closes: Counter[str] = Counter()
        for code, count in list(e.closes.items()):
            closes[str(code) if code in closecodes.CLOSE_CODES else "other"] += count
        for code_label, count in closes.items():
            yield "ringgate_closes", "counter", "closing handshakes by code", {"code": code_label}, count

    def _ring_metrics(self) -> Iterable[Sample]:
        ring = self._node.hub.stats
        rings = [r for channel in self._node.hub.channels() for r in channel.rings.values()]
        lags = [r.lag() for r in rings]
        held = sum(r.capacity_bytes for r in rings)
        yield "ringgate_rings", "gauge", "rings, one for each encoding in use in a channel", _NONE, len(rings)
        yield "ringgate_ring_bytes", "gauge", "memory held by rings", _NONE, held
        yield (
            "ringgate_ring_lag_bytes",
            "gauge",
            "the slowest subscriber's lag",
            _NONE,
            max((b for b, _ in lags), default=0),
        )
        yield (
            "ringgate_ring_lagging",
            "gauge",
            "subscriptions that are behind",
            _NONE,
            sum(n for _, n in lags),
        )
        yield "ringgate_ring_frames", "counter", "frames put into rings", _NONE, ring.frames_appended
        yield "ringgate_ring_sends", "counter", "system calls that sent from rings", _NONE, ring.sends
        yield "ringgate_ring_blocks", "counter", "times a socket took less than offered", _NONE, ring.blocks
        yield "ringgate_gaps", "counter", "gap events sent", _NONE, ring.gaps

    def _slow_client_metrics(self) -> Iterable[Sample]:
        ring = self._node.hub.stats
        closed = ring.slow_disconnects
        yield "ringgate_slow_disconnects", "counter", "clients closed for being slow", _NONE, closed
        for policy, count in (
            ("disconnect", ring.dropped_disconnect),
            ("skip", ring.dropped_skip),
            ("latest", ring.dropped_latest),
        ):
            label = {"reason": f"slow_{policy}"}
            yield "ringgate_frames_dropped", "counter", "frames slow clients lost", label, count
