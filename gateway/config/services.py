"""Kinds of values that say where app services are, and what they are told: URLs, shares, paths, headers.

Addresses of services come from the configuration alone; nothing that a client sends ever gets into one.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from .kinds import Kind, ValueRefusedError, quote
from .lists import ListKind

_URL = re.compile(r"(?:https?|wss?)://(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._\-]{1,253})(?::[0-9]{1,5})?/?")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?\-]{0,511}")
_PLACE = re.compile(r"[A-Za-z0-9_\-]{1,64}/[A-Za-z0-9._~!$&'()*+,;=:@%/?\-]{0,511}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]{1,64}")
_OURS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
        "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "webhook-id", "webhook-signature",
        "webhook-timestamp", "x-request-id",
    }
)  # fmt: skip
_MOST: Final = 256
_MOST_WEIGHT: Final = 1000


class ServiceUrls(ListKind):
    """Base URLs of services, such as "http://10.0.0.1:9000": no path, no user."""

    name = "list of URLs"
    metavar = "URL[,URL...]"

    def _allowed(self) -> str:
        return f'a list of at most {_MOST} URLs such as "http://10.0.0.1:9000" or "https://app.internal"'

    def _from_toml(self, value: object) -> object:
        urls = self._items(value)
        if len(urls) > _MOST:
            raise ValueRefusedError
        if len(set(urls)) < len(urls):
            raise ValueRefusedError("an address stands there twice: it can have a weight instead")
        return urls

    def _item(self, text: str) -> object:
        if not _URL.fullmatch(text):
            raise ValueRefusedError(
                "an address is http://, https://, ws:// or wss://, a host and perhaps a port: no path"
            )
        try:
            port = urlsplit(text).port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueRefusedError("a port is a number from 1 to 65535")
        return text.removesuffix("/")

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(url) for url in value) + "]"


class Weights(ListKind):
    """Whole numbers, one for each address."""

    name = "list of integers"
    metavar = "N[,N...]"

    def _allowed(self) -> str:
        return f"a list of whole numbers from 1 to {_MOST_WEIGHT}, one for each address"

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueRefusedError
        if not all(type(item) is int and 1 <= item <= _MOST_WEIGHT for item in value):
            raise ValueRefusedError
        return tuple(value)

    def _from_text(self, text: str) -> object:
        return self._from_toml([self._item(part.strip()) for part in text.split(",") if part.strip()])

    def _item(self, text: str) -> object:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueRefusedError
        return int(text)

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(map(str, value)) + "]"


class RequestPath(Kind):
    """The path of a request, with a query perhaps; empty for none."""

    name = "request path"
    metavar = "PATH"

    def _allowed(self) -> str:
        return 'a path such as "/health", or "" for none'

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or (value and not _PATH.fullmatch(value)):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


def split_place(place: str) -> tuple[str, str]:
    """Return the upstream and the path of a hook's place, which is not empty."""
    upstream, slash, rest = place.partition("/")
    return upstream, slash + rest


class HookPlace(Kind):
    """An upstream's name and a path, such as "app/hooks/connect"; empty for none."""

    name = "hook"
    metavar = "UPSTREAM/PATH"

    def _allowed(self) -> str:
        return 'an upstream and a path such as "app/hooks/connect", or "" for none'

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or (value and not _PLACE.fullmatch(value)):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


class NoticeKinds(ListKind):
    """What notices can be about."""

    name = "list of words"
    metavar = "WORD[,WORD...]"
    words = (
        "channel_occupied",
        "channel_vacated",
        "disconnect",
        "notices_lost",
        "subscribed",
        "unsubscribed",
    )

    def _allowed(self) -> str:
        return f"a list of the words {', '.join(self.words)}"

    def _item(self, text: str) -> object:
        if text not in self.words:
            raise ValueRefusedError
        return text

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(word) for word in value) + "]"


class HeaderNames(ListKind):
    """Names of headers that may be passed on, kept in lower case."""

    name = "list of headers"
    metavar = "NAME[,NAME...]"

    def _allowed(self) -> str:
        return 'a list of names of headers such as "cookie" or "authorization"'

    def _item(self, text: str) -> object:
        if not _HEADER.fullmatch(text):
            raise ValueRefusedError("this is no name of a header")
        if text.lower() in _OURS or text.lower().startswith("sec-websocket-"):
            raise ValueRefusedError(
                f"{text.lower()} is the gateway's own to set, or means this one connection"
            )
        return text.lower()

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(name) for name in value) + "]"


class HashBy(Kind):
    """What of a client decides where its requests go."""

    name = "word"
    metavar = "user|session|channel|address|header:NAME"

    def _allowed(self) -> str:
        return '"user", "session", "channel", "address", or "header:NAME" with one of hooks.headers'

    def _from_toml(self, value: object) -> object:
        if value in ("user", "session", "channel", "address"):
            return value
        name = value.removeprefix("header:") if isinstance(value, str) else ""
        if name == value or not _HEADER.fullmatch(name):
            raise ValueRefusedError
        return f"header:{name.lower()}"

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))
