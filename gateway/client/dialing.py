"""Where a client connects to, and how: a URL becomes an address, a request, and an open socket."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from wsproto.events import Request

from ..errors import UsageError
from .link import Link

_PORTS: Final = {"ws": 80, "wss": 443}


class Address(NamedTuple):
    """A URL, taken apart."""

    host: str
    port: int
    secure: bool
    target: str

    @property
    def authority(self) -> str:
        """What is asked for in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["wss" if self.secure else "ws"] else f"{host}:{self.port}"


def read_url(url: str) -> Address:
    """Take a URL apart; without a path it is `/ws`.  Raises UsageError for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    good = url.isascii() and url.isprintable() and " " not in url and parts.username is None
    if not good or parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"{url!r} is not the URL of a gateway, such as ws://HOST:PORT/ws or wss://HOST/ws")
    target = urlunsplit(("", "", parts.path or "/ws", parts.query, ""))
    secure = parts.scheme == "wss"
    return Address(parts.hostname, _PORTS[parts.scheme] if port is None else port, secure, target)


def request_for(address: Address, subprotocol: str, token: str) -> Request:
    """Return the upgrade; the token goes into the Authorization header, which no log has."""
    headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
    return Request(
        host=address.authority, target=address.target, subprotocols=[subprotocol], extra_headers=headers
    )


async def dial(link: Link, address: Address, tls: ssl.SSLContext | None) -> None:
    """Connect the link.  Raises OSError (ssl.SSLError is one)."""
    context = (tls or ssl.create_default_context()) if address.secure else None
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: link, address.host, address.port, ssl=context)
