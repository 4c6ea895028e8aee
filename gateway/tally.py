"""What the supervisor counts for all its workers: connections of users and addresses, and what users spent.

It knows workers only as keys, and no sockets.  What always holds: a worker that is gone is counted no more.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from .limits import Spent
from .meters import Allowance, Meters

_SWEEP = 20_000


class Tally:
    """Counts for all workers.  `user` is what one user may spend in a second."""

    def __init__(self, user: Allowance) -> None:
        self.user = user
        self._meters = Meters()
        self._counts: dict[str, int] = {}
        self._clients: dict[Hashable, dict[str, list[str]]] = {}  # by worker: each client's keys

    def enter(self, worker: Hashable, client: str, keys: Sequence[tuple[str, int]]) -> str:
        """Count a client's connection under each key; return the key of which there are enough, or ""."""
        for key, most in keys:
            if self._counts.get(key, 0) >= most:
                return key
        clients = self._clients.setdefault(worker, {})
        if client in clients:
            return ""
        clients[client] = [key for key, _ in keys]
        for key, _ in keys:
            self._counts[key] = self._counts.get(key, 0) + 1
        return ""

    def leave(self, worker: Hashable, client: str) -> None:
        """Count a connection no more.  Idempotent."""
        clients = self._clients.get(worker, {})
        for key in clients.pop(client, ()):
            left = self._counts[key] - 1
            if left:
                self._counts[key] = left
            else:
                del self._counts[key]
        if not clients:
            self._clients.pop(worker, None)

    def forget(self, worker: Hashable) -> None:
        """Count nothing of a worker any more."""
        for client in list(self._clients.get(worker, ())):
            self.leave(worker, client)

    def spend(self, spent: Iterable[Spent], now: float) -> list[Spent]:
        """Add what users spent; return their levels."""
        levels = []
        for user, messages, size_bytes in spent:
            meter = self._meters.get(user, self.user, now)
            meter.spend(self.user, messages, size_bytes)
            levels.append(Spent(user, meter.messages, meter.bytes))
        self._meters.sweep(self.user, now, _SWEEP)
        return levels

    def __len__(self) -> int:
        """Return the number of things that are remembered."""
        return len(self._meters) + len(self._counts) + len(self._clients)
