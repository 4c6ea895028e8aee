"""Kept sessions: the records of lost connections, each until it is taken or its time is over.

Knows nothing of what a record says.  Times are seconds on the caller's clock.

What always holds: a record is handed out at most once, and never at or after its end.
"""

from __future__ import annotations

from .deadlines import Deadlines


class KeptSessions:
    """Session records by session id."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[float, bytes]] = {}
        self._deadlines: Deadlines[str] = Deadlines()

    def __len__(self) -> int:
        """Return the number of records in memory; those whose time is over count until they are purged."""
        return len(self._records)

    def save(self, session: str, record: bytes, until_s: float) -> None:
        """Keep `record` until `until_s`, in place of an earlier one."""
        self._records[session] = (until_s, record)
        self._deadlines.add(until_s, session)

    def take(self, session: str, now_s: float) -> bytes | None:
        """Return and forget the record, or None when there is none now."""
        kept = self._records.pop(session, None)
        if kept is None or kept[0] <= now_s:
            return None
        return kept[1]

    def purge(self, now_s: float, limit: int) -> int:
        """Forget records whose time is over, looking at no more than `limit`; return how many that were."""
        for looked_at in range(limit):
            due = self._deadlines.pop_due(now_s)
            if due is None:
                return looked_at
            kept = self._records.get(due[1])
            if kept is not None and kept[0] <= now_s:
                del self._records[due[1]]
        return limit

    def any_due(self, now_s: float) -> bool:
        """Tell whether `purge` has something to do."""
        return self._deadlines.any_due(now_s)

    def clear(self) -> None:
        """Forget every record."""
        self._records.clear()
        self._deadlines = Deadlines()
