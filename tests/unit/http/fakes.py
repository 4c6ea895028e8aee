"""A node made of dictionaries, and an application around it, for the tests of the HTTP side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from gateway.broker.interface import HistoryPage, PublishResult, State
from gateway.broker.outbox import DeadLetter, DeadPage, Notice, Wanted
from gateway.draining import Drain, Drained
from gateway.http.app import build_app
from gateway.http.gateway_view import HttpOptions, MetricSample
from gateway.http.metrics import Metrics
from gateway.listing import Asked, Listing
from gateway.message.names import check_channel_name
from gateway.message.publication import Draft, Member, Position, Publication


class FakeNode:
    """Records what was asked of it; raises `error` (or `errors[channel]`) when it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None
        self.errors: dict[str, Exception] = {}
        self.offsets: dict[str, int] = {}
        self.members = [
            Member(client="c1", user="ann", info=b'{ "age" : 1.0 }'),
            Member(client="c2"),
        ]
        self.page = HistoryPage([], Position("e1", 0), complete=True)
        self.samples: list[MetricSample] = []
        self.is_ready: tuple[bool, Mapping[str, object]] = (True, {"broker": "ok"})

    async def publish(
        self, channel: str, data: bytes, *, binary: bool = False, key: str = "", exclude: str = ""
    ) -> PublishResult:
        self._note("publish", channel=channel, data=data, binary=binary, key=key, exclude=exclude)
        check_channel_name(channel)
        if channel in self.errors:
            raise self.errors[channel]
        self.offsets[channel] = self.offsets.get(channel, 0) + 1
        return PublishResult("e1", self.offsets[channel], duplicate=key == "again")

    async def publish_all(self, drafts: Iterable[Draft]) -> list[PublishResult | Exception]:
        works = [
            self.publish(channel, data, binary=binary, key=key, exclude=exclude)
            for channel, data, binary, key, exclude in drafts
        ]
        done = await asyncio.gather(*works, return_exceptions=True)
        return [
            result
            for result in done
            if not isinstance(result, BaseException) or isinstance(result, Exception)
        ]

    async def update(self, channel: str, patch: bytes, *, base: Position, key: str = "") -> PublishResult:
        self._note("update", channel=channel, patch=patch, base=base, key=key)
        if channel in self.errors:
            raise self.errors[channel]
        return PublishResult("e1", base.offset + 1, duplicate=key == "again")

    async def state(self, channel: str) -> State:
        self._note("state", channel=channel)
        return State("e1", 4, b'{ "a" : 1.0 }')

    async def close_bare(self, channel: str, code: int, reason: str, exclude: str = "") -> int:
        self._note("close_bare", channel=channel, code=code, reason=reason, exclude=exclude)
        return 1

    async def send(
        self, *, user: str = "", client: str = "", data: bytes, binary: bool = False
    ) -> Mapping[str, object]:
        self._note("send", user=user, client=client, data=data, binary=binary)
        return {"epoch": "e1", "offset": 7} if user else {"connections": 1}

    async def subscribe(self, *, user: str = "", client: str = "", channel: str) -> int:
        self._note("subscribe", user=user, client=client, channel=channel)
        return 2

    async def unsubscribe(self, *, user: str = "", client: str = "", channel: str) -> int:
        self._note("unsubscribe", user=user, client=client, channel=channel)
        return 1

    async def disconnect(self, *, user: str = "", client: str = "", code: int = 0, reason: str = "") -> int:
        self._note("disconnect", user=user, client=client, code=code, reason=reason)
        return 3

    async def revoke(self, *, kind: str, value: str, ttl_s: float) -> int:
        self._note("revoke", kind=kind, value=value, ttl_s=ttl_s)
        return 4

    async def revocations(self, limit: int) -> Sequence[Mapping[str, object]]:
        self._note("revocations", limit=limit)
        return [{"kind": "user", "value": "ann", "revoked_ms": 1000, "until_ms": 2000}]

    async def channels(self, asked: Asked) -> Listing:
        self._note("channels", asked=asked)
        found: list[dict[str, object]] = [
            {"name": name, "subscribers": 1, "epoch": "e1", "offset": offset}
            for name, offset in self.offsets.items()
            if name.startswith(asked.prefix)
        ]
        return Listing(found[: asked.limit], len(found))

    async def presence(self, channel: str) -> Sequence[Member]:
        self._note("presence", channel=channel)
        return self.members

    async def history(self, channel: str, *, limit: int, before: int) -> HistoryPage:
        self._note("history", channel=channel, limit=limit, before=before)
        return self.page

    async def connections(self, asked: Asked) -> Listing:
        self._note("connections", asked=asked)
        found: list[dict[str, object]] = [
            {"client": f"c{i}", "user": "u", "channels": i, "remote": "r", "since_ms": 1} for i in range(3)
        ]
        return Listing(found[: asked.limit], len(found))

    async def nodes(self) -> Sequence[Mapping[str, object]]:
        self._note("nodes")
        return [{"node": "n1", "connections": 3}]

    async def dead_letters(self, wanted: Wanted, *, limit: int, after: str) -> DeadPage:
        self._note("dead_letters", wanted=wanted, limit=limit, after=after)
        notice = Notice("n1", "disconnect", "c1", 1000, b'{"a": 1.0}')
        return DeadPage([DeadLetter(notice, 2000, 3, "status 500")], "7" if not after else "")

    async def replay_dead_letters(self, wanted: Wanted) -> int:
        self._note("replay_dead_letters", wanted=wanted)
        return 1

    async def drop_dead_letters(self, wanted: Wanted) -> int:
        self._note("drop_dead_letters", wanted=wanted)
        return 2

    async def configuration(self) -> Mapping[str, object]:
        return {"hash": "abc", "loaded_ms": 1, "reloads": 2, "failed_reloads": 0, "needs_restart": []}

    async def upstreams(self) -> Sequence[Mapping[str, object]]:
        target = {
            "address": "http://127.0.0.1:9000",
            "ip": "127.0.0.1",
            "weight": 1.0,
            "healthy": True,
            "draining": False,
            "breaker": "closed",
            "retry_in_ms": 0,
            "pending": 1,
            "requests": {"ok": 3},
        }
        group = {"name": "app", "balance": "hash", "pending": 1, "waiting": 0, "turned_away": 0}
        return [{**group, "targets": [target]}]

    async def drain_upstream(self, drain: Drain) -> Drained:
        self._note("drain_upstream", drain=drain)
        return Drained(1, 7)

    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        self._note("ready")
        return self.is_ready

    async def metrics(self) -> Iterable[MetricSample]:
        return self.samples

    def _note(self, name: str, **arguments: Any) -> None:
        self.calls.append((name, arguments))
        if self.error is not None:
            raise self.error


def publication(offset: int, data: bytes, *, binary: bool = False, client: str = "") -> Publication:
    return Publication(id=f"p{offset}", data=data, time_ms=1000, offset=offset, binary=binary, client=client)


def http_client(node: FakeNode, **options: Any) -> httpx.AsyncClient:
    """A client of the application around `node`, without sockets."""
    chosen = HttpOptions(**{"version": "1.2.3", **options})
    app = build_app(node, chosen, Metrics(node, chosen))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8001")
