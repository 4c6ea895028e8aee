"""Which channels are occupied, by whom, and which are about to be vacated, as this process knows.

Pure: it is told the time, in seconds.  What always holds: between two times that a channel was found
vacated it was found occupied once.
"""

from __future__ import annotations


class Occupancy:
    """Channels and their owners."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._owners: dict[str, set[str]] = {}
        self._due: dict[str, float] = {}  # in the order of the times

    def __len__(self) -> int:
        return len(self._owners) + len(self._due)

    def occupy(self, channel: str, owner: str) -> bool:
        """Take that an owner has subscribers there; tell whether that is news."""
        owners = self._owners.get(channel)
        if owners is not None:
            owners.add(owner)
            return False
        self._owners[channel] = {owner}
        return self._due.pop(channel, None) is None

    def vacate(self, channel: str, owner: str, now: float) -> None:
        """Take that an owner has none there.  Idempotent."""
        owners = self._owners.get(channel)
        if owners is None or owner not in owners:
            return
        owners.discard(owner)
        if not owners:
            del self._owners[channel]
            self._due[channel] = now + self._grace_s

    def forget(self, owner: str, now: float) -> None:
        """Take that an owner is gone."""
        for channel in [name for name, owners in self._owners.items() if owner in owners]:
            self.vacate(channel, owner, now)

    def vacated(self, now: float) -> list[str]:
        """Return the channels that were empty for the grace time, each once."""
        found = []
        for channel, due in self._due.items():
            if due > now:
                break
            found.append(channel)
        for channel in found:
            del self._due[channel]
        return found

    def next_due(self) -> float | None:
        """Return when `vacated` may have something to tell; None if there is nothing."""
        return next(iter(self._due.values()), None)
