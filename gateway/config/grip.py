"""The section [grip], and the types of its values: shared secrets, and what channels' names begin with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from .auth import AuthKey, AuthKeys, ClaimName
from .kinds import Duration, Kind, ValueRefusedError, quote
from .option import option
from .services import HeaderNames

_ALGORITHM: Final = "HS256:"
_PREFIX = re.compile(r"[A-Za-z0-9_\-=,.;:/]{0,64}")
_HOUR: Final = 3600.0


class GripKeys(AuthKeys):
    """Secrets that are shared with services."""

    name = "list of secrets"
    metavar = "KEY[,...]"

    def _allowed(self) -> str:
        return 'a list of secrets of at least 32 bytes: as they are, "base64:...", or "file:/path"'

    def _item(self, text: str) -> object:
        return super()._item(_ALGORITHM + text)

    def _to_toml(self, value: Any) -> str:
        items = (key.written(shown=False).removeprefix(_ALGORITHM) for key in value)
        return "[" + ", ".join(map(quote, items)) + "]"

    def reveal(self, value: Any) -> str:
        """Return the value as TOML with its secrets, for another process of the gateway."""
        items = (key.written(shown=True).removeprefix(_ALGORITHM) for key in value)
        return "[" + ", ".join(map(quote, items)) + "]"


class ChannelPrefix(Kind):
    """What the names of channels begin with."""

    name = "beginning of channels"
    metavar = "TEXT"

    def _allowed(self) -> str:
        return "at most 64 characters of A-Z a-z 0-9 _ - = , . ; : /"

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or not _PREFIX.fullmatch(value):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class GripOptions:
    """Services that speak GRIP (routes with protocol = "grip")."""

    keys: tuple[AuthKey, ...] = option(
        (),
        GripKeys(),
        "secrets shared with the services; the first signs Grip-Sig, each verifies publishers",
        secret=True,
    )
    issuer: str = option("ringgate", ClaimName(), "the iss of Grip-Sig")
    channels: str = option(
        "grip:", ChannelPrefix(), "what the services' channels begin with; empty lets them reach all"
    )
    patience: float = option(
        10.0, Duration(0.0, _HOUR), "how long a connection's events wait for a service that is away"
    )
    response_headers: tuple[str, ...] = option(
        (), HeaderNames(), "headers of the answer to OPEN that clients get"
    )
