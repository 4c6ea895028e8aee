"""Kinds of values that say which WebSockets are passed through, and to whom."""

from __future__ import annotations

import re
from typing import Any, Final

from .kinds import Kind, ValueRefusedError, quote

_ROUTE = re.compile(r"/(?:[A-Za-z0-9._~!$&'()+,;=:@%\-]+/)*(?:[A-Za-z0-9._~!$&'()+,;=:@%\-]+|\*)?")
_UPSTREAM = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_STAYS_WITH = re.compile(
    r"address|user|session|path|header:[A-Za-z0-9\-]{1,64}|(?:cookie|query):[A-Za-z0-9_.\-]{1,64}"
)
_MOST: Final = 512


class RoutePath(Kind):
    """A path of the edge port, or `/prefix/*` for all below a prefix; empty for none."""

    name = "path"
    metavar = "PATH"

    def _allowed(self) -> str:
        return 'a path such as "/chat", or "/app/*" for all below "/app/"'

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or len(value) > _MOST or (value and not _ROUTE.fullmatch(value)):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


class UpstreamName(Kind):
    """The name of an `[upstream.NAME]` table; empty for none."""

    name = "name of an upstream"
    metavar = "NAME"

    def _allowed(self) -> str:
        return "the name of an [upstream.NAME] table"

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or (value and not _UPSTREAM.fullmatch(value)):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


class StaysWith(Kind):
    """What of a client decides which address it gets, where an upstream's balance is a hash."""

    name = "key of a hash"
    metavar = "KEY"

    def _allowed(self) -> str:
        return '"address", "user", "session", "path", "header:NAME", "cookie:NAME" or "query:NAME"'

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or not _STAYS_WITH.fullmatch(value):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))
