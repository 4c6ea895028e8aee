"""What a client was granted when it showed who it is, and patterns of channels.

Records without behaviour, but for matching.  One grant is shared by all connections that showed the same
token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

NO_CLAIMS: Final[Mapping[str, object]] = {}
NOTHING: Final[Mapping[str, str]] = {}
NO_PATTERNS: Final[Mapping[str, tuple[Pattern, ...]]] = {}
ACTIONS: Final = ("subscribe", "publish", "presence", "history")
"""What can be permitted in a channel."""


class Pattern:
    """A pattern of channel names, in which `*` stands for any characters, also none.

    Matching takes time in proportion to the name for each star.
    """

    __slots__ = ("_first", "_last", "_middle", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parts = text.split("*")
        self._first = parts[0]
        self._middle = tuple(parts[1:-1])
        self._last = parts[-1] if len(parts) > 1 else None

    def matches(self, name: str) -> bool:
        """Tell whether a name is of this pattern."""
        if self._last is None:
            return name == self.text
        if not name.startswith(self._first):
            return False
        at = len(self._first)
        for part in self._middle:
            at = name.find(part, at)
            if at < 0:
                return False
            at += len(part)
        return len(name) - at >= len(self._last) and name.endswith(self._last)

    def covers_prefix(self, prefix: str) -> bool:
        """Tell whether every name that begins with `prefix` is of this pattern, as far as its form shows."""
        return self._last == "" and not self._middle and prefix.startswith(self._first)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Who a client is, and for how long.

    `user` may be empty: let in, but nobody in particular.  `info` is JSON text that others see, or empty.
    `channels` are subscribed to by the server.  `expires` and `issued` are in seconds since 1970, 0: never,
    and not known.  `token` and `login` are the ids of the token (`jti`) and of the login it came from
    (`sid`), by which it can be revoked.  `permissions` are patterns by action; `claims` is all that the
    token said.
    """

    authenticated: bool = False
    user: str = ""
    info: bytes = b""
    channels: tuple[str, ...] = ()
    expires: float = 0.0
    issued: float = 0.0
    token: str = ""
    login: str = ""
    permissions: Mapping[str, tuple[Pattern, ...]] = NO_PATTERNS
    claims: Mapping[str, object] = NO_CLAIMS
    forwarded: Mapping[str, str] = NOTHING
    """Headers of the handshake that app services may see."""


class ChannelGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What a token for a single channel says: who may subscribe, and what others see there of this client.

    `expires` is in seconds since 1970.
    """

    channel: str
    user: str
    info: bytes
    expires: int
    grant: Grant


ANONYMOUS: Final = Grant()
"""Of everybody who showed nothing."""
