"""What was revoked: tokens by their id, logins by theirs, and all that a user was given up to a moment.

A plain list in memory; how it comes to every node is `gateway.revoking`'s affair.  What always holds: an
entry refuses until its time is over, and is forgotten then; entries may come in any order, and twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from heapq import heappop, heappush
from typing import Final

import msgspec

from .grant import Grant

MAX_KEPT: Final = 100_000


class RevokedKind(StrEnum):
    """What is revoked."""

    TOKEN = "token"  # noqa: S105 a word, not a secret
    LOGIN = "login"
    USER = "user"


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """One entry.  `at_ms` and `until_ms` are in milliseconds since 1970."""

    kind: RevokedKind
    value: str
    at_ms: int
    until_ms: int

    def covers(self, grant: Grant) -> bool:
        """Tell whether it revokes a grant.

        Of a user, what was issued up to then, to the second, since tokens do not say it more closely; a
        token that does not say when is taken for an old one.
        """
        if self.kind is RevokedKind.TOKEN:
            return grant.token == self.value
        if self.kind is RevokedKind.LOGIN:
            return grant.login == self.value
        return grant.user == self.value and grant.issued * 1000 <= self.at_ms


class Revocations:
    """Those that hold now."""

    def __init__(self) -> None:
        self._kept: dict[tuple[RevokedKind, str], Revocation] = {}
        self._ends: list[tuple[int, RevokedKind, str]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(self._kept.values())

    def add(self, entry: Revocation) -> bool:
        """Keep an entry; tell whether it says something new.  Of several for the same the latest holds."""
        place = (entry.kind, entry.value)
        known = self._kept.get(place)
        if known is not None:
            if known.at_ms >= entry.at_ms and known.until_ms >= entry.until_ms:
                return False
            at_ms, until_ms = max(known.at_ms, entry.at_ms), max(known.until_ms, entry.until_ms)
            entry = Revocation(entry.kind, entry.value, at_ms, until_ms)
        self._kept[place] = entry
        heappush(self._ends, (entry.until_ms, *place))
        return True

    def revokes(self, grant: Grant) -> bool:
        """Tell whether a grant was revoked."""
        if not self._kept:
            return False
        return any(
            entry is not None and entry.covers(grant)
            for entry in (
                self._kept.get((RevokedKind.TOKEN, grant.token)) if grant.token else None,
                self._kept.get((RevokedKind.LOGIN, grant.login)) if grant.login else None,
                self._kept.get((RevokedKind.USER, grant.user)) if grant.user else None,
            )
        )

    def forget_old(self, now_ms: int) -> None:
        """Forget what has run out."""
        while self._ends and self._ends[0][0] <= now_ms:
            until_ms, kind, value = heappop(self._ends)
            entry = self._kept.get((kind, value))
            if entry is not None and entry.until_ms <= until_ms:
                del self._kept[kind, value]
