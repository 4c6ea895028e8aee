"""One channel: its place in the count, its rings (one for each encoding in use), its subscribers.

It knows codecs and rings, but neither connections nor brokers.  What always holds: every
ring's `newest` is the channel's offset; a client has at most one cursor here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from .._sink import Sink
from ..message.events import Event, Gap
from ..message.publication import Member, Position, Publication
from ._cursor import Cursor
from ._ring import Flusher, HubStats, Ring
from .encoding import Encoding

_RETAIN_BYTES: Final = 64 * 1024


class RingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace's configuration says about its channels' rings.

    `bound_bytes` bounds one ring; `idle_s` is the time without a publication after which its memory is
    given back; with `resumable`, some of what everybody has had is kept until then.
    """

    policy: str = "disconnect"
    bound_bytes: int = 1 << 20
    idle_s: float = 10.0
    resumable: bool = True


class Channel:
    """A channel in which this node has, or had a moment ago, subscribers."""

    __slots__ = (
        "_flusher",
        "_stats",
        "active_at",
        "cursors",
        "name",
        "on_jump",
        "options",
        "position",
        "rings",
    )

    def __init__(
        self,
        name: str,
        position: Position,
        options: RingOptions,
        *,
        now: float,
        flusher: Flusher,
        stats: HubStats,
    ) -> None:
        self.name = name
        self.position = position
        self.options = options
        self.active_at = now
        self.rings: dict[Encoding, Ring] = {}
        self.cursors: dict[str, Cursor] = {}
        self.on_jump: Callable[[], None] | None = None
        """Called after subscribers were told that something was lost on its way here."""
        self._flusher = flusher
        self._stats = stats

    def attach(self, client: str, sink: Sink, encoding: Encoding) -> Cursor:
        """Subscribe a client: it gets what is published from now on.  Raises ValueError if it is one."""
        if client in self.cursors:
            raise ValueError("a client has one cursor in a channel")
        cursor = self.cursors[client] = self.ring(encoding).attach(sink)
        return cursor

    def ring(self, encoding: Encoding) -> Ring:
        """Return the ring of an encoding, which keeps what is published from now on at the latest."""
        ring = self.rings.get(encoding)
        if ring is None:
            ring = self.rings[encoding] = self._make_ring(encoding)
        return ring

    def _make_ring(self, encoding: Encoding) -> Ring:
        def encode_gap(cursor: Cursor) -> tuple[int, bytes]:
            gap = Gap(channel=self.name, from_=cursor.gap_from, to=cursor.gap_to, reason="slow")
            return encoding.event(gap)

        return Ring(
            bound_bytes=self.options.bound_bytes,
            retain_bytes=_RETAIN_BYTES if self.options.resumable else 0,
            policy=self.options.policy,
            newest=self.position.offset,
            flusher=self._flusher,
            stats=self._stats,
            encode_gap=encode_gap,
        )

    def detach(self, client: str) -> None:
        """End a client's subscription, after what was published before.  Idempotent."""
        cursor = self.cursors.pop(client, None)
        if cursor is not None and cursor.ring is not None:
            cursor.ring.send_pending(cursor)
            cursor.ring.detach(cursor)

    def resume(self, client: str, since: Position) -> bool:
        """Set a subscriber back to `since`, if its ring reaches back that far; tell whether it does."""
        cursor = self.cursors[client]
        if since.epoch != self.position.epoch or cursor.ring is None:
            return False
        return cursor.ring.seek(cursor, since.offset)

    def backfill(self, encoding: Encoding, publications: list[Publication]) -> bool:
        """Put older publications, read from history, in front of a ring.

        What the ring has already is left out.  Returns False when they do not reach up to
        it, or do not fit.
        """
        ring = self.rings[encoding]
        older = [p for p in publications if p.offset <= ring.covered]
        if not older or older[-1].offset != ring.covered:
            return not older
        return ring.prepend([encoding.publication(self.name, p) for p in older])

    def deliver(self, epoch: str, publications: list[Publication], now: float) -> None:
        """Take new publications, in order; send each to every subscriber but the excluded."""
        self.active_at = now
        for publication in publications:
            if epoch != self.position.epoch or publication.offset > self.position.offset + 1:
                self._jump(epoch, publication.offset)
            elif publication.offset and publication.offset <= self.position.offset:
                continue
            for encoding, ring in self.rings.items():
                ring.append(*encoding.publication(self.name, publication), publication.offset)
            self.position = Position(epoch, publication.offset or self.position.offset)
            if publication.exclude:
                self._exclude(publication.exclude)

    def lose(self, epoch: str, offset: int, now: float) -> None:
        """Take that whatever did not come up to this position never will; tell everybody, if it is any."""
        if epoch != self.position.epoch or offset > self.position.offset:
            self.active_at = now
            self._jump(epoch, offset + 1)

    def _exclude(self, client: str) -> None:
        cursor = self.cursors.get(client)
        if cursor is not None:
            cursor.skip_newest()

    def _jump(self, epoch: str, offset: int) -> None:
        """Go on at `offset` after publications that never reached this node; say so to everybody."""
        before = max(offset - 1, 0)
        renewed = epoch != self.position.epoch
        first = 1 if renewed else self.position.offset + 1
        # How much of the old count was lost nobody knows: from 0 to 0 where nothing of the new one was.
        lost = (first, before) if first <= before else (0, 0)
        gap = Gap(channel=self.name, from_=lost[0], to=lost[1], epoch=epoch if renewed else "", reason="lost")
        for encoding, ring in self.rings.items():
            if ring.cursor_count:
                ring.append(*encoding.event(gap))
            ring.rebase(before)
        self.position = Position(epoch, before)
        if self.on_jump is not None:
            self.on_jump()

    def announce(self, event: Event, now: float) -> None:
        """Tell every subscriber something that is not numbered."""
        self.active_at = now
        for encoding, ring in self.rings.items():
            if ring.cursor_count:
                ring.append(*encoding.event(event))

    def deliver_presence(self, member: Member, *, joined: bool, now: float) -> None:
        """Tell every subscriber that a member came or went."""
        self.active_at = now
        for encoding, ring in self.rings.items():
            if ring.cursor_count:
                ring.append(*encoding.presence(self.name, member, joined=joined))

    def tidy(self, now: float) -> bool:
        """Give memory back that is not needed; tell whether the channel could be forgotten."""
        idle = now - self.active_at >= self.options.idle_s
        for encoding, ring in list(self.rings.items()):
            if ring.tidy(idle) and idle and not ring.cursor_count:
                del self.rings[encoding]
        return idle and not self.cursors
