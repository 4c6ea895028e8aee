"""The kind of the option that names the broker: "memory", or where Redis is.

Of Redis it knows only what a URL may look like.
"""

from __future__ import annotations

from typing import Any, Final

from ..broker.redis.url import parse_url
from ..errors import ConfigError
from .kinds import Kind, ValueRefusedError, quote
from .lists import HIDDEN

MEMORY: Final = "memory"


class BrokerUrls(Kind):
    """The word memory, or URLs of Redis separated by spaces; the value is the text."""

    name = "broker"
    metavar = "memory|URL"

    def _allowed(self) -> str:
        return (
            '"memory", or the URL of a Redis or Valkey such as "redis://127.0.0.1:6379"; '
            "several, separated by spaces, share the channels"
        )

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or not value.split():
            raise ValueRefusedError
        urls = value.split()
        if urls == [MEMORY]:
            return MEMORY
        try:
            parsed = [parse_url(url) for url in urls]
        except ConfigError as problem:
            raise ValueRefusedError(str(problem)) from None
        if len({url.name for url in parsed}) < len(parsed):
            raise ValueRefusedError("one Redis stands there twice")
        return " ".join(urls)

    def _to_toml(self, value: Any) -> str:
        return quote(HIDDEN if self.hides(value) else value)

    def hides(self, value: Any) -> bool:
        """Tell whether there is a password in a value."""
        if value == MEMORY:
            return False
        parsed = [parse_url(url) for url in value.split()]
        return any(url.login.password or url.sentinel_login.password for url in parsed)


def shown_broker(value: str) -> str:
    """Return the value of the option as anybody may see it: without credentials."""
    if value == MEMORY:
        return value
    return " ".join(f"{url.partition('://')[0]}://{parse_url(url).name}" for url in value.split())
