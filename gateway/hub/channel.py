"""One channel: its place in the count, its rings (one for each encoding in use), its subscribers.

It knows codecs and rings, but neither connections nor brokers.  What always holds: every
ring's `newest` is the channel's offset; a client has at most one cursor here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from math import inf
from typing import Any, Final

import msgspec

from .._sink import Sink
from ..message.events import Event, Gap
from ..message.filters import MARK
from ..message.publication import Member, Position, Publication
from ._cursor import Cursor
from ._ring import Flusher, HubStats, Ring
from .ages import Marks, fresh_after, mark
from .encoding import Encoding

_RETAIN_BYTES: Final = 64 * 1024
_NO_MARKS: Final[Marks] = ()
_NOBODY: Final[dict[int, str]] = {}  # of all channels that exclude nobody; never changed


class RingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace's configuration says about its channels' rings.

    `bound_bytes` bounds one ring; `idle_s` is the time without a publication after which its memory is
    given back; with `resumable`, some of what everybody has had is kept until then, and served to who
    comes back for `keep_s` seconds after it was published.
    """

    policy: str = "disconnect"
    bound_bytes: int = 1 << 20
    idle_s: float = 10.0
    resumable: bool = True
    keep_s: float = inf


class Channel:
    """A channel in which this node has, or had a moment ago, subscribers."""

    __slots__ = (
        "_excluded",
        "_flusher",
        "_marks",
        "_stats",
        "active_at",
        "cursors",
        "kept_from",
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
        self.kept_from: Callable[[str], Iterable[str]] | None = None
        """Called with a publication's terms; returns the clients from whom their filters keep it."""
        self._flusher = flusher
        self._stats = stats
        self._marks: Marks = (now, position.offset) if options.resumable else _NO_MARKS
        self._excluded = _NOBODY  # by offset: who must not get what is still in a ring

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

    def standing(self, client: str) -> Position:
        """Return up to where a subscriber has had everything, or will before it is told anything else."""
        return Position(self.position.epoch, self.cursors[client].had_offset)

    def serves(self, encoding: Encoding, offset: int, now: float) -> bool:
        """Tell whether a ring has everything behind an offset, and none of that is too old to be served."""
        if self.ring(encoding).covered > offset:
            return False
        if not self.options.resumable or offset >= self.position.offset:
            return True
        fresh = fresh_after(self._marks, now, self.options.keep_s)
        return fresh is not None and offset >= fresh

    def resume(self, client: str, since: Position, was: Collection[str] = ()) -> bool:
        """Set a subscriber back to `since`, if its ring reaches back that far; tell whether it does.

        It gets nothing that excludes it, or one of `was`, the clients that it was before.
        """
        cursor = self.cursors[client]
        if since.epoch != self.position.epoch or cursor.ring is None:
            return False
        if not cursor.ring.seek(cursor, since.offset):
            return False
        for offset, excluded in self._excluded.items():
            if offset > since.offset and (excluded == client or excluded in was):
                cursor.skip(offset)
        return True

    def backfill(self, encoding: Encoding, publications: list[Publication]) -> bool:
        """Put older publications, read from history, in front of a ring.

        What the ring has already is left out.  Returns False when they do not reach up to
        it, or do not fit.
        """
        ring = self.rings[encoding]
        older = [p for p in publications if p.offset <= ring.covered]
        if not older or older[-1].offset != ring.covered:
            return not older
        if not ring.prepend([encoding.publication(self.name, p) for p in older]):
            return False
        excluded = {p.offset: p.exclude for p in older if p.exclude}
        if excluded:
            self._excluded = dict(sorted({**excluded, **self._excluded}.items()))
        return True

    def deliver(self, epoch: str, publications: list[Publication], now: float) -> None:
        """Take new publications, in order; send each to every subscriber but the excluded."""
        self.active_at = now
        name = self.name
        life, at = self.position  # a local one: a new Position for each would cost as much as a ring
        ways: list[tuple[int, Any, Any]] = [
            (*_way_to(encoding), ring.append) for encoding, ring in self.rings.items()
        ]
        try:
            for publication in publications:
                offset = publication.offset
                if epoch != life or offset > at + 1:
                    self.position = Position(life, at)
                    self._jump(epoch, offset)
                    life, at = self.position
                elif offset and offset <= at:
                    continue
                for opcode, encode, append in ways:
                    if opcode:
                        append(opcode, encode(name, publication), offset)
                    else:
                        append(*encode(name, publication), offset)
                at = offset or at
                if publication.exclude:
                    self._exclude(publication)
        finally:
            self.position = Position(life, at)

    def lose(self, epoch: str, offset: int, now: float) -> None:
        """Take that whatever did not come up to this position never will; tell everybody, if it is any."""
        if epoch != self.position.epoch or offset > self.position.offset:
            self.active_at = now
            self._jump(epoch, offset + 1)

    def _exclude(self, publication: Publication) -> None:
        """Keep a publication from one client, also when that has another name later, or from the filtered."""
        if publication.exclude.startswith(MARK):
            if self.kept_from is not None:
                for client in self.kept_from(publication.exclude):
                    self.cursors[client].skip_newest()
            return
        cursor = self.cursors.get(publication.exclude)
        if cursor is not None:
            cursor.skip_newest()
        if not self.rings or not publication.offset:
            return
        if self._excluded is _NOBODY:
            self._excluded = {}
        self._excluded[publication.offset] = publication.exclude
        # Two are looked at for each that comes, so what no ring holds any more does not pile up.
        held = min(ring.covered for ring in self.rings.values())
        for offset in [offset for offset in islice(self._excluded, 2) if offset <= held]:
            del self._excluded[offset]

    def _jump(self, epoch: str, offset: int) -> None:
        """Go on at `offset` after publications that never reached this node; say so to everybody."""
        before = max(offset - 1, 0)
        renewed = epoch != self.position.epoch
        if renewed:
            self._marks, self._excluded = _NO_MARKS, _NOBODY
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
        empty = True
        for encoding, ring in list(self.rings.items()):
            if not ring.tidy(idle):
                empty = False
            elif idle and not ring.cursor_count:
                del self.rings[encoding]
        if idle and empty:
            self._marks, self._excluded = _NO_MARKS, _NOBODY
        elif self.options.resumable:
            self._marks = mark(self._marks, now, self.position.offset, self.options.keep_s)
        return idle and not self.cursors


def _way_to(encoding: Encoding) -> tuple[int, Callable[[str, Publication], object]]:
    """Return what makes a publication's payload, and the opcode; 0 where it makes both."""
    if encoding.straight:
        return encoding.codec.opcode, encoding.codec.encode_publication
    return 0, encoding.publication
