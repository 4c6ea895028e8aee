"""What an API key can be for: scopes, and patterns of channels.

It knows neither keys nor requests.  What always holds: what a key is not for in so many words it may not do;
a key that is for some channels may do nothing that concerns others, or no channel in particular.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from ..auth.grant import Pattern
from ..errors import CommandError


class Scope(StrEnum):
    """A part of the API."""

    PUBLISH = "publish"
    READ = "read"
    PRESENCE = "presence"
    HISTORY = "history"
    CONNECTIONS = "connections"
    ADMIN = "admin"


SCOPES: Final[Mapping[Scope, str]] = {
    Scope.PUBLISH: "publish, broadcast, send and update",
    Scope.READ: "look up everything, also what the next two are for",
    Scope.PRESENCE: "see who is in a channel",
    Scope.HISTORY: "read what a channel keeps, and its state",
    Scope.CONNECTIONS: "subscribe, unsubscribe and disconnect connections, revoke tokens",
    Scope.ADMIN: "everything",
}
"""Every scope, and what it allows."""

_PARTS_OF_READ: Final = frozenset({Scope.PRESENCE, Scope.HISTORY})


class ApiCaller(msgspec.Struct, frozen=True):
    """Who asks: the name of the key that was shown, and what it is for; no `patterns`: all channels."""

    name: str
    scopes: frozenset[Scope]
    patterns: tuple[Pattern, ...] = ()

    def lacks(self, needed: Scope) -> bool:
        """Tell whether something of a scope is beyond this key."""
        if needed in self.scopes or Scope.ADMIN in self.scopes:
            return False
        return not (needed in _PARTS_OF_READ and Scope.READ in self.scopes)

    def check_scope(self, needed: Scope) -> None:
        """Raise CommandError unless the key has a scope."""
        if self.lacks(needed):
            raise CommandError("permission_denied", f"the API key {self._shown} lacks the scope `{needed}`")

    def check_channels(self, channels: Iterable[str] | None) -> None:
        """Raise CommandError unless the key is for all of these channels; None: it concerns no channel."""
        if not self.patterns:
            return
        if channels is None:
            raise CommandError(
                "permission_denied", f"the API key {self._shown} is only for what concerns {self._channels}"
            )
        if not all(any(pattern.matches(name) for pattern in self.patterns) for name in channels):
            raise CommandError("permission_denied", f"the API key {self._shown} is only for {self._channels}")

    def check_prefix(self, prefix: str) -> None:
        """Raise CommandError unless the key is for every channel whose name begins so."""
        if self.patterns and not any(pattern.covers_prefix(prefix) for pattern in self.patterns):
            raise CommandError(
                "permission_denied",
                f"the API key {self._shown} may list only {self._channels}: give a `prefix`",
            )

    @property
    def _shown(self) -> str:
        return f"`{self.name}`"

    @property
    def _channels(self) -> str:
        return "the channels " + ", ".join(f"`{pattern.text}`" for pattern in self.patterns)


EVERYTHING: Final = ApiCaller("", frozenset({Scope.ADMIN}))
"""Of every caller where there are no keys."""


def merged(callers: Collection[ApiCaller]) -> ApiCaller:
    """Return what a key that stands in several of the old lists is for."""
    first, *others = callers
    return ApiCaller(first.name, first.scopes.union(*(other.scopes for other in others)), first.patterns)
