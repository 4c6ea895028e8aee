"""Idempotency keys: which publish was done already, and with what result.

Knows nothing of publications or logs; a key belongs to a channel, by name.  Times are
seconds on the caller's clock.

What always holds: a key is known for exactly the time it was promised at its first use,
never shorter: neither other keys nor the overall bound push it out, and using it again does
not prolong it.  What the bound refuses is a new key.
"""

from __future__ import annotations

from .deadlines import Deadlines
from .interface import PublishResult

# How many outdated keys one call removes at the most, so that no call takes long.
_PURGE_BATCH = 1000


class IdempotencyKeys:
    """The keys of all channels of a broker, at most `max_keys` at a time."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._known: dict[tuple[str, str], tuple[float, PublishResult]] = {}
        self._deadlines: Deadlines[tuple[str, str]] = Deadlines()

    def __len__(self) -> int:
        """Return the number of keys in memory; those whose time is over count until they are purged."""
        return len(self._known)

    def find(self, channel: str, key: str, now_s: float) -> PublishResult | None:
        """Return the first use's result, marked as a duplicate, or None when the key is not known now."""
        entry = self._known.get((channel, key))
        if entry is None or entry[0] <= now_s:
            return None
        return entry[1]

    def has_room(self, now_s: float) -> bool:
        """Tell whether one more key can be remembered; outdated ones give way first."""
        while len(self._known) >= self._max_keys:
            if not self._deadlines.any_due(now_s):
                return False
            self.purge(now_s, _PURGE_BATCH)
        return True

    def remember(self, channel: str, key: str, result: PublishResult, until_s: float) -> None:
        """Know the key until `until_s`."""
        name = (channel, key)
        self._known[name] = (until_s, PublishResult(result.epoch, result.offset, duplicate=True))
        self._deadlines.add(until_s, name)

    def purge(self, now_s: float, limit: int) -> int:
        """Forget keys whose time is over, looking at no more than `limit`; return how many that were."""
        for looked_at in range(limit):
            due = self._deadlines.pop_due(now_s)
            if due is None:
                return looked_at
            entry = self._known.get(due[1])
            if entry is not None and entry[0] <= now_s:
                del self._known[due[1]]
        return limit

    def any_due(self, now_s: float) -> bool:
        """Tell whether `purge` has something to do."""
        return self._deadlines.any_due(now_s)

    def clear(self) -> None:
        """Forget every key."""
        self._known.clear()
        self._deadlines = Deadlines()
