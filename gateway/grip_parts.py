"""The parts of GRIP, made from the configuration: its routes, and what the internal port lets publishers do.

It knows the configuration and the parts.  What can change in the configuration while the gateway runs changes
for clients that come, and for publishers, at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from .asking import Caller
from .bare import BareClient
from .config import Config
from .config.grip import GripOptions as GripSection
from .connection._connection import Connection
from .errors import ServiceUnavailableError
from .grip.client import ClientOptions
from .grip.counts import GripCounts, Sample, samples
from .grip.hearing import Hearing
from .grip.route import GripRoute, Places, RouteOptions
from .grip.signing import GripKeys
from .http.gateway_view import GripOptions
from .hub.encoding import make_bare_encoding
from .node import Node
from .passed_limits import PassedLimits
from .passthrough.choosing import key_by
from .upstreams.groups import Upstreams
from .upstreams.http import Response
from .upstreams.upstream import Asked

if TYPE_CHECKING:
    from .guests import Guests


def make_keys(config: Config) -> GripKeys:
    """Return the secrets that are shared with services."""
    secrets = [key.material for key in config.grip.keys]
    return GripKeys(secrets, issuer=config.grip.issuer, now_s=time.time)


def publishing(config: Config) -> GripOptions | None:
    """Return what publishers of GRIP may do; None where no route speaks it."""
    if not config.speaks_grip:
        return None
    verifies = make_keys(config).verifies if config.grip.keys else None
    return GripOptions(prefix=config.grip.channels, verifies=verifies)


class GripRoutes:
    """The routes that speak GRIP, by their names, for as long as the gateway runs.

    What always holds: a route that changes, or is gone, keeps the clients that it has, and they the service
    that they were let in by; whatever is said to a service is signed with the newest key.
    """

    def __init__(self, node: Node, upstreams: Upstreams) -> None:
        self._node = node
        self._upstreams = upstreams
        self._routes: dict[str, GripRoute] = {}
        self._signing: GripSection | None = None
        self._keys: GripKeys | None = None

    def take(self, config: Config, guard: Callable[[], Guests | None]) -> dict[str, GripRoute]:
        """Use a configuration for those who come from now on; return its routes by their paths."""
        if self._signing is None or self._signing != config.grip:
            self._signing, self._keys = config.grip, make_keys(config)
        options = RouteOptions(
            ClientOptions(
                prefix=config.grip.channels,
                patience_s=config.grip.patience,
                most_queued_bytes=self._node.options.max_queued_bytes,
            ),
            frozenset(config.grip.response_headers),
        )
        hearing = _hearing(self._node, config.websocket.compression_threshold)
        found: dict[str, GripRoute] = {}
        for name, route in config.routes.items():
            if route.protocol != "grip":
                continue
            places = Places(
                backend=_Backend(self._upstreams, route.upstream),
                key_of=key_by(route.stays_with),
                hearing=hearing,
                signature=self._signature,
                random_id=self._node.random_id,
                guard=guard() if route.authenticate else None,
                limiter=PassedLimits(self._node),
            )
            known = self._routes.get(name)
            if known is None:
                counts = GripCounts(name, self._node.loop.time)
                known = self._routes[name] = GripRoute(places, options, counts)
            known.change(places, options)
            found[route.path] = known
        return found

    def _signature(self) -> str:
        return "" if self._keys is None else self._keys.signature()

    def samples(self) -> Iterator[Sample]:
        """Yield what all of them count, also those that are gone."""
        return samples(route.counts for route in self._routes.values())

    async def stop(self, timeout_s: float) -> None:
        """Wait for what services are still told, at most so long for each route."""
        for route in self._routes.values():
            await route.stop(timeout_s)


class _Backend:
    """An upstream by its name: which group that is can change while the gateway runs."""

    def __init__(self, upstreams: Upstreams, name: str) -> None:
        self._upstreams = upstreams
        self._name = name

    def ask(self, asked: Asked) -> Coroutine[Any, Any, Response]:
        """See `Upstream.ask`; a group that is no longer there cannot be reached."""
        try:
            upstream = self._upstreams[self._name]
        except KeyError:
            return _gone(self._name)
        return upstream.ask(asked)


async def _gone(name: str) -> Response:
    raise ServiceUnavailableError(f"there is no upstream {name} any more")


def _hearing(node: Node, threshold_bytes: int) -> Callable[[Connection, str, str], Hearing]:
    def make(connection: Connection, client: str, user: str) -> Hearing:
        encoding = make_bare_encoding(connection.shared_deflater, threshold_bytes)
        caller = Caller(client=client, session="", user=user, remote=connection.remote)
        return BareClient(node, connection, encoding, caller)

    return make
