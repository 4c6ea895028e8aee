"""How a revocation comes to every node: a log that the broker keeps, and a control message that is answered.

It knows brokers and entries, but neither sessions nor tokens: whoever owns it is told of new entries.  How
it works: an entry is published to a channel whose name no client can say.  Every node that lets clients in
is interested in it, so that it hears of each in order, and reads all that is kept when it starts, or when
it may have missed some.  Then a control message goes to all nodes with the same entry; it is answered by
how many connections that closed.  What always holds: an entry is kept before anybody is told that it is;
hearing of one twice does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Protocol

import msgspec

from .auth.revocations import MAX_KEPT, Revocation, Revocations
from .broker import Broker, ChannelOptions, Control, ControlKind
from .errors import BrokerError
from .message.publication import Publication
from .options import NodeOptions

REVOCATIONS: Final = "!revocations"
"""The channel: a name that is no channel's."""

_PAGE: Final = 1000


class Publisher(Protocol):
    """A node, as far as it is needed here."""

    broker: Broker
    options: NodeOptions

    def make_publication(self, data: bytes, *, binary: bool = False) -> Publication:
        """Return a publication that is not numbered yet."""


_log = logging.getLogger("gateway.auth")


def log_options(ttl_s: float) -> ChannelOptions:
    """Return how the log is kept: each entry for `ttl_s`."""
    return ChannelOptions(history_size=MAX_KEPT, history_bytes=0, history_ttl_s=ttl_s)


def pack(entry: Revocation) -> bytes:
    """Return an entry as it travels."""
    return msgspec.msgpack.encode(entry)


def unpack(data: bytes) -> Revocation:
    """Return an entry.  Raises msgspec.MsgspecError when it is none."""
    return msgspec.msgpack.decode(data, type=Revocation)


async def revoke(node: Publisher, entry: Revocation) -> int:
    """Revoke on all nodes; return how many connections that closed.  Raises BrokerError.

    Once it returned every node that can be reached refuses what the entry covers, and others will as soon as
    they can read the log.
    """
    publication = node.make_publication(pack(entry), binary=True)
    options = log_options(node.options.revocation_ttl_s)
    await node.broker.publish(REVOCATIONS, publication, options)
    return await node.broker.control(Control(kind=ControlKind.REVOKE, publication=publication))


async def revoked_now(node: Publisher, now_ms: int) -> list[Revocation]:
    """Return what is refused, the newest first, as the broker's log has it.  Raises BrokerError."""
    kept = Revocations()
    async for page in _pages(node.broker, log_options(node.options.revocation_ttl_s)):
        for entry in _entries_of(page):
            kept.add(entry)
    kept.forget_old(now_ms)
    return sorted(kept, key=lambda entry: entry.at_ms, reverse=True)


async def _pages(broker: Broker, options: ChannelOptions) -> AsyncIterator[list[Publication]]:
    """Yield all that is kept, newest first."""
    before, complete = 0, False
    while not complete:
        page = await broker.history_before(REVOCATIONS, options, before=before, limit=_PAGE)
        yield page.publications
        complete = page.complete or not page.publications
        before = page.publications[0].offset if page.publications else 0


def _entries_of(publications: Iterable[Publication]) -> Iterator[Revocation]:
    for publication in publications:
        try:
            yield unpack(publication.data)
        except msgspec.MsgspecError:
            _log.error("an entry of the log of revocations cannot be read, and is left out")


class RevocationLog:
    """What this node hears of the log.  `on_entry` is told of every entry, perhaps more than once."""

    def __init__(
        self,
        broker: Broker,
        *,
        ttl_s: float,
        on_entry: Callable[[Revocation], object],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._broker = broker
        self._options = log_options(ttl_s)
        self._on_entry = on_entry
        self._spawn = spawn
        self._behind = True  # there may be entries that were not heard of
        self._reading = False

    @property
    def behind(self) -> bool:
        """Whether there may be entries that this node has not heard of."""
        return self._behind

    async def start(self) -> None:
        """Hear of entries, and read those that are kept.  Raises BrokerError; `sweep` tries again then."""
        await self._broker.subscribe(REVOCATIONS, self._options)
        await self._read()

    def sweep(self) -> None:
        """Read again where entries may have been missed; to be called about once a second."""
        if self._behind and not self._reading:
            self._spawn(self._read_again())

    def on_publications(self, publications: list[Publication]) -> None:
        """Take new entries."""
        for entry in _entries_of(publications):
            self._on_entry(entry)

    def on_loss(self) -> None:
        """Learn that entries may have been missed."""
        self._behind = True
        self.sweep()

    async def _read_again(self) -> None:
        self._reading = True
        try:
            await self._broker.subscribe(REVOCATIONS, self._options)
            await self._read()
        except BrokerError as problem:
            _log.warning("the log of revocations cannot be read now: %s", problem)
        finally:
            self._reading = False

    async def _read(self) -> None:
        """Read all that is kept, newest first."""
        async for publications in _pages(self._broker, self._options):
            self.on_publications(publications)
        self._behind = False
