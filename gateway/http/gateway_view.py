"""The gateway as the HTTP side sees it: a Protocol, and the options that it is built with.

The node fulfils `GatewayView`; tests fulfil it with a few dictionaries.  This module knows
nothing of HTTP itself.  Every coroutine may raise CommandError (its message is meant for the
caller), BrokerUnavailableError (nothing happened) or OutcomeUnknownError (it may have happened).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from ..broker.interface import HistoryPage, PublishResult, State
from ..broker.outbox import DeadPage, Wanted
from ..draining import Drain, Drained
from ..listing import Asked, Listing
from ..message.publication import Draft, Member, Position

MetricSample: TypeAlias = tuple[str, str, str, Mapping[str, str], float]
"""Name (`ringgate_…`), kind ("counter", "gauge" or "histogram"), help text, labels, value.

Of a histogram there is one sample for each bucket, labelled `le`, cumulative, and one without it: the sum.
"""


class NamedKeys(NamedTuple):
    """API keys by one name.  `keys` are keys or their hashes, `scopes` words of `scopes.Scope`.

    `channels` are patterns; none: all channels.
    """

    name: str
    keys: tuple[str, ...]
    scopes: tuple[str, ...]
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GripOptions:
    """What publishers of GRIP may do: `prefix` begins the names of all channels that they reach.

    `verifies` tells whether a token of theirs is good; None where they need none, or an API key.
    """

    prefix: str
    verifies: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """What the internal port is built with.

    `keys` are the API keys for everything, `publish_keys` and `read_keys` those for a part, and `named_keys`
    say it themselves; with none, every caller is trusted and `auth` guards against web pages instead.
    `listen_hosts` are those that are listened on (none for Unix sockets), `hosts` further names by which a
    keyless gateway may be called ("*": any).  `grip` is None where nothing speaks GRIP.  `ws_port`, `ws_tls`
    and `ws_path` tell the demo page where the edge is.  Sizes are in bytes, times in seconds.
    """

    version: str
    keys: tuple[str, ...] = ()
    publish_keys: tuple[str, ...] = ()
    read_keys: tuple[str, ...] = ()
    named_keys: tuple[NamedKeys, ...] = ()
    listen_hosts: tuple[str, ...] = ("127.0.0.1",)
    hosts: tuple[str, ...] = ()
    max_body_bytes: int = 1 << 20
    ready_timeout_s: float = 2.0
    demo: bool = True
    ws_port: int = 8000
    ws_tls: bool = False
    ws_path: str = "/ws"
    login: bool = False
    """Whether clients have to show a token, for the demo page."""
    grip: GripOptions | None = None


class GatewayView(Protocol):
    """What the HTTP side asks of the node.

    `user` and `client`: exactly one of them is not empty, and says which connections are meant.
    """

    async def publish(
        self, channel: str, data: bytes, *, binary: bool = False, key: str = "", exclude: str = ""
    ) -> PublishResult:
        """Publish `data` (JSON text, or bytes when `binary`); `exclude` is a client that must not get it."""

    async def publish_all(self, drafts: Iterable[Draft]) -> Sequence[PublishResult | Exception]:
        """Publish each, in order, none waiting for another; return what each comes to.

        `drafts` is best a generator: what has not begun is never made.
        """

    async def update(self, channel: str, patch: bytes, *, base: Position, key: str = "") -> PublishResult:
        """Apply a JSON Merge Patch to version `base` of the channel's state; else StaleVersionError."""

    async def state(self, channel: str) -> State:
        """Return the channel's state."""

    async def send(
        self, *, user: str = "", client: str = "", data: bytes, binary: bool = False
    ) -> Mapping[str, object]:
        """Send to a user (answer: `epoch`, `offset` of the personal channel) or a client (`connections`)."""

    async def subscribe(self, *, user: str = "", client: str = "", channel: str) -> int:
        """Subscribe connections; return how many were reached."""

    async def unsubscribe(self, *, user: str = "", client: str = "", channel: str) -> int:
        """Unsubscribe connections; return how many were reached."""

    async def disconnect(self, *, user: str = "", client: str = "", code: int = 0, reason: str = "") -> int:
        """Close connections with `code` (0: 4004 disconnected); return how many were reached."""

    async def revoke(self, *, kind: str, value: str, ttl_s: float) -> int:
        """Refuse what `kind` (user, login, token) and `value` name, for `ttl_s` seconds (0: as configured).

        Return how many connections were closed.
        """

    async def close_bare(self, channel: str, code: int, reason: str, exclude: str = "") -> int:
        """Close the connections that hear a channel as bare frames; return how many.

        `exclude`: terms of filters (`message.filters`), here and in `publish`.
        """

    async def revocations(self, limit: int) -> Sequence[Mapping[str, object]]:
        """Return what is refused now, the newest first: `kind`, `value`, `revoked_ms`, `until_ms`."""

    async def channels(self, asked: Asked) -> Listing:
        """Return a page of `name`, `subscribers`, `epoch`, `offset` of each channel with subscribers."""

    async def presence(self, channel: str) -> Sequence[Member]:
        """Return who is present, in the order in which they joined."""

    async def history(self, channel: str, *, limit: int, before: int) -> HistoryPage:
        """Return the newest `limit` publications with an offset below `before` (0: the newest of all)."""

    async def connections(self, asked: Asked) -> Listing:
        """Return a page of connections: `client`, `user`, `channels` (a number), `remote`, `since_ms`."""

    async def nodes(self) -> Sequence[Mapping[str, object]]:
        """Return what is known of each node of the cluster."""

    async def dead_letters(self, wanted: Wanted, *, limit: int, after: str) -> DeadPage:
        """Return a page of notices that were given up, the oldest first.

        Raises CommandError where there are no notices, or no page said `after`.
        """

    async def replay_dead_letters(self, wanted: Wanted) -> int:
        """Have dead letters delivered again; return how many."""

    async def drop_dead_letters(self, wanted: Wanted) -> int:
        """Forget dead letters; return how many."""

    async def configuration(self) -> Mapping[str, object]:
        """Return what is known of the configuration, as `results.ConfigInfo` has it."""

    async def upstreams(self) -> Sequence[Mapping[str, object]]:
        """Return the groups of app services as `results.UpstreamInfo` has them."""

    async def drain_upstream(self, drain: Drain) -> Drained:
        """Have an address of an upstream left, or used again.  Raises CommandError where there is none."""

    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Tell whether this node should get traffic (a broker probe came back; not draining), and why not."""

    async def metrics(self) -> Iterable[MetricSample]:
        """Return counters, gauges and histograms, read now."""
