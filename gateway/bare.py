"""Clients that hear channels as bare frames, and of the protocol know nothing: those of GRIP services.

It knows the node's channels, and a connection only as a sink that can be closed.  How it works: such a client
has a cursor in the hub's channels like everybody, in an encoding without anything around the payloads.  It
cannot be told that something was lost: where that happens it is closed, so that it comes back.

What always holds: after `leave` it has no subscription; whoever is closed here gets first what was published
before; no state channel is heard so, since its patches would mean nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from . import closecodes
from ._sink import Sink
from .asking import Caller
from .broker import Control, ControlKind
from .errors import CommandError
from .hub.channel import Channel
from .hub.encoding import BareEncoding
from .message.filters import Filter, Terms, keep_away, read_terms
from .message.names import check_channel_name
from .message.publication import Position, Publication

if TYPE_CHECKING:
    from .node import Node

_LOOK_AGAIN_S: Final = 0.02
_LONGEST_WAIT_S: Final = 5.0

_logger = logging.getLogger(__name__)


class Closable(Protocol):
    """A connection, as far as it is needed here; it is a sink, too."""

    closed: bool

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake.  Idempotent."""


class BareClient:
    """The subscriptions of one connection (see `grip.hearing.Hearing`)."""

    def __init__(self, node: Node, connection: Closable, encoding: BareEncoding, caller: Caller) -> None:
        self._node = node
        self._connection = connection
        self._encoding = encoding
        self._caller = caller
        self._channels: set[str] = set()
        self._filters: dict[str, frozenset[Filter]] = {}
        self._known_as = ""

    def __len__(self) -> int:
        """Return the number of its subscriptions."""
        return len(self._channels)

    def known_as(self, user: str) -> None:
        """Compare its user with what filters are told of users from now on; "" for nobody."""
        self._known_as = user

    async def subscribe(self, channel: str, filters: Collection[Filter] = ()) -> None:
        """Hear a channel from now on, as far as filters let it.  Raises CommandError and BrokerError.

        Whoever hears it already does with these filters from now on.
        """
        check_channel_name(channel)
        if channel in self._channels:
            self._filter(channel, filters)
            return
        options = self._node.options
        if len(self._channels) >= options.max_channels:
            self._node.exceeded.count("channels_per_connection", self._caller.remote)
            raise CommandError("limit_exceeded", f"at most {options.max_channels} channels a connection")
        if channel.startswith("@") or options.namespace(channel).broker.max_state_bytes:
            raise CommandError("bad_request", "personal channels and those with a state are not heard bare")
        here = await self._node.open_channel(channel)
        if not self._connection.closed and channel not in self._channels:
            self._attach(here)
            self._filter(channel, filters)

    def _filter(self, channel: str, filters: Collection[Filter]) -> None:
        if filters:
            self._filters[channel] = frozenset(filters)
        else:
            self._filters.pop(channel, None)
        self._node.bare.filter(channel, self._caller.client, self if filters else None)

    def is_spared(self, channel: str, terms: Terms) -> bool:
        """Tell whether its filters keep something with these terms from it."""
        return keep_away(self._filters.get(channel, ()), terms, self._known_as, self._channels)

    def _attach(self, here: Channel) -> None:
        node, caller, name = self._node, self._caller, here.name
        here.attach(caller.client, cast(Sink, self._connection), self._encoding)
        if here.on_jump is None:
            here.on_jump = partial(node.bare.lost_soon, name)
        if here.kept_from is None:
            here.kept_from = partial(node.bare.kept_from, name)
        self._channels.add(name)
        node.bare.add(name, caller.client, self)
        if node.listener is not None:
            node.listener.subscribed(caller, name)

    def unsubscribe(self, channel: str) -> None:
        """Hear it no longer, after what was published before.  Idempotent."""
        if channel not in self._channels:
            return
        self._channels.discard(channel)
        self._filters.pop(channel, None)
        node, caller = self._node, self._caller
        node.bare.remove(channel, caller.client)
        if node.listener is not None:
            node.listener.unsubscribed(caller, channel)
        here = node.hub.get(channel)
        if here is not None:
            here.detach(caller.client)

    def leave(self) -> None:
        """End all subscriptions.  Idempotent."""
        for channel in sorted(self._channels):
            self.unsubscribe(channel)

    def end(self, code: int, reason: str) -> None:
        """Close the connection, after what was published to it before."""
        self.leave()
        self._connection.close(code, reason)

    def catch_up(self) -> None:
        """Send what could not be sent: the socket is no longer blocked."""
        self._node.hub.catch_up(cast(Sink, self._connection))

    def spoken_at(self) -> float:
        """Return when something was published last in one of its channels: the loop's time, 0 for never."""
        found = [self._node.hub.get(name) for name in self._channels]
        return max((here.active_at for here in found if here is not None), default=0.0)


class BareClients:
    """The bare clients of a node, by channel."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._by_channel: dict[str, dict[str, BareClient]] = {}
        self._filtered: dict[str, dict[str, BareClient]] = {}

    def add(self, channel: str, client: str, who: BareClient) -> None:
        """Know that a client hears a channel."""
        self._by_channel.setdefault(channel, {})[client] = who

    def remove(self, channel: str, client: str) -> None:
        """Know that it does not.  Idempotent."""
        _take_out(self._by_channel, channel, client)
        _take_out(self._filtered, channel, client)

    def filter(self, channel: str, client: str, who: BareClient | None) -> None:
        """Know that a client of a channel has filters there; with None, that it has none.  Idempotent."""
        if who is None:
            _take_out(self._filtered, channel, client)
        else:
            self._filtered.setdefault(channel, {})[client] = who

    def kept_from(self, channel: str, written: str) -> list[str]:
        """Return the clients from whom filters keep what has these terms (see `message.filters`)."""
        filtered = self._filtered.get(channel)
        if not filtered:
            return []
        terms = read_terms(written)
        return [client for client, who in filtered.items() if who.is_spared(channel, terms)]

    def lost_soon(self, channel: str) -> None:
        """Close those who hear a channel of which something did not reach this node: the hub is at work."""
        self._node.loop.call_soon(self._lost, channel)

    def _lost(self, channel: str) -> None:
        self._end(channel, closecodes.SERVICE_RESTART, "messages were lost")

    def on_control(self, control: Control) -> int:
        """Close those who hear a channel, once they were sent what was published before."""
        terms = "" if control.publication is None else control.publication.exclude
        reached = len(self._by_channel.get(control.channel, ())) - len(self.kept_from(control.channel, terms))
        if reached:
            self._close(control, self._node.loop.time() + _LONGEST_WAIT_S)
        return reached

    def _close(self, control: Control, latest: float) -> None:
        here, before = self._node.hub.get(control.channel), control.publication
        loop = self._node.loop
        if here is not None and before is not None and loop.time() < latest:
            at = here.position
            if at.epoch == before.id and at.offset < before.offset:
                loop.call_later(_LOOK_AGAIN_S, self._close, control, latest)
                return
        terms = "" if before is None else before.exclude
        self._end(control.channel, control.close_code, control.reason, terms)

    def _end(self, channel: str, code: int, reason: str, terms: str = "") -> None:
        spared = self.kept_from(channel, terms)
        for client, who in [*self._by_channel.get(channel, {}).items()]:
            if client not in spared:
                who.end(code, reason)


def _take_out(tables: dict[str, dict[str, BareClient]], channel: str, client: str) -> None:
    clients = tables.get(channel, {})
    clients.pop(client, None)
    if not clients:
        tables.pop(channel, None)


async def close_channel(node: Node, channel: str, code: int, reason: str, exclude: str = "") -> int:
    """Close the bare clients of a channel on every node, after what was published; return how many.

    `exclude`: terms of filters that spare some of them (see `message.filters`).
    Raises CommandError and BrokerError.
    """
    check_channel_name(channel)
    options = node.options.namespace(channel).broker
    top = (await node.broker.history(channel, options, since=Position("", 0), limit=1)).top
    marker = Publication(id=top.epoch, offset=top.offset, data=b"", time_ms=0, exclude=exclude)
    control = Control(
        kind=ControlKind.CLOSE_BARE, channel=channel, close_code=code, reason=reason, publication=marker
    )
    return await node.broker.control(control)
