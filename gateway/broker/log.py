"""One channel's log: its epoch, its count, and the newest publications, bounded three ways.

Knows nothing of names, interest, keys or clocks: the time is an argument, in monotonic seconds.

How it works: publications sit in a deque with the times of their arrival beside them, so
that whichever options a call brings (a configuration may be reloaded) are applied to what
is there.  Only the oldest are ever dropped, so the kept ones are always the
last of the count, without a hole: what is kept begins just after `top - len(log)`.

What always holds: after `append` or `trim`, no bound of the options is exceeded at that
time.  A publication that alone exceeds the bound on bytes is numbered but not kept, and
neither is anything before it, since nobody could read across the hole.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from ..message.publication import Publication
from .interface import ChannelOptions

# What a kept publication costs beside its data, counted against `history_bytes`.  CPython 3.11
# measured 425 bytes where id, client and user were strings of their own.
ENTRY_BYTES: Final = 400

# What every log that keeps nothing shares, since even an empty deque of its own takes 760 bytes.
# They have no room, so nothing can ever be put into them.
_NOTHING: Final[deque[Publication]] = deque(maxlen=0)
_NO_TIMES: Final[deque[float]] = deque(maxlen=0)


class LogTotals:
    """What all logs of a broker hold together, and all states; kept up to date by whoever changes them."""

    __slots__ = ("history_bytes", "publications", "state_bytes")

    def __init__(self) -> None:
        self.publications = 0
        self.state_bytes = 0
        self.history_bytes = 0


class ChannelLog:
    """The publications of one life of a channel.  `top` is the offset of the newest, 0 before the first."""

    __slots__ = ("_arrived_s", "_kept", "_kept_bytes", "_totals", "epoch", "top")

    def __init__(self, epoch: str, totals: LogTotals) -> None:
        self.epoch = epoch
        self.top = 0
        self._kept = _NOTHING
        self._arrived_s = _NO_TIMES
        self._kept_bytes = 0
        self._totals = totals

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, publication: Publication, now_s: float, options: ChannelOptions) -> None:
        """Take the next publication, whose offset must be `top + 1`, and drop what is now too much."""
        self.top = publication.offset
        if options.history_size <= 0 and not self._kept:
            return
        if self._kept is _NOTHING:
            self._kept, self._arrived_s = deque(), deque()
        size = len(publication.data) + ENTRY_BYTES
        self._kept.append(publication)
        self._arrived_s.append(now_s)
        self._kept_bytes += size
        self._totals.publications += 1
        self._totals.history_bytes += size
        self.trim(now_s, options)

    def trim(self, now_s: float, options: ChannelOptions) -> None:
        """Drop the oldest publications until number, bytes and age are within the options."""
        kept = self._kept
        over_count = len(kept) - options.history_size
        ttl_s = options.history_ttl_s
        bound = options.history_bytes
        while kept and (
            over_count > 0 or self._arrived_s[0] + ttl_s <= now_s or 0 < bound < self._kept_bytes
        ):
            self._drop_oldest()
            over_count -= 1
        if not kept:
            self._kept, self._arrived_s = _NOTHING, _NO_TIMES

    def oldest_expires_s(self, options: ChannelOptions) -> float | None:
        """Return when the oldest kept publication is too old, or None when none is kept."""
        return self._arrived_s[0] + options.history_ttl_s if self._arrived_s else None

    def after(self, offset: int, limit: int) -> list[Publication] | None:
        """Return every publication after `offset`, or None when that is not possible.

        It is not when `offset` was never reached, when some of them are no longer kept, or
        when they are more than `limit`.
        """
        count = self.top - offset
        if count < 0 or count > len(self._kept) or count > limit:
            return None
        return self._newest(count, 0)

    def before(self, offset: int, limit: int) -> tuple[list[Publication], bool]:
        """Return the `limit` newest publications below `offset` (0: of all); true when none older is kept."""
        skipped = 0 if offset <= 0 else min(max(self.top + 1 - offset, 0), len(self._kept))
        there = len(self._kept) - skipped
        count = max(0, min(limit, there))
        return self._newest(count, skipped), count == there

    def _newest(self, count: int, skipped: int) -> list[Publication]:
        page = list(islice(reversed(self._kept), skipped, skipped + count))
        page.reverse()
        return page

    def _drop_oldest(self) -> None:
        size = len(self._kept.popleft().data) + ENTRY_BYTES
        self._arrived_s.popleft()
        self._kept_bytes -= size
        self._totals.publications -= 1
        self._totals.history_bytes -= size
