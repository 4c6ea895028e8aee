"""From a URL to an address in numbers and a complete upgrade request (RFC 6455 section 4.1).

All connections of a run send the same Sec-WebSocket-Key, so that the answer is checked by comparing bytes;
servers do not remember keys.  TLS is not spoken.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import GatewayError
from ._load import Target

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PORTS: Final = {"ws": 80, "http": 80}


class BenchError(GatewayError):
    """The measurement cannot be made, or failed; the text is the one line that the user sees."""


class Place(NamedTuple):
    """A URL, taken apart.  `path` includes the query; `socket_path` is that of a Unix socket, or empty."""

    scheme: str
    host: str
    port: int
    path: str
    socket_path: str

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def split(url: str, schemes: Sequence[str] = ("ws",)) -> Place:
    """Take a URL apart; `ws+unix:/run/x.sock:/path` names a Unix socket.  Raises BenchError."""
    if url.startswith("ws+unix:"):
        socket_path, _, path = url.removeprefix("ws+unix:").partition(":")
        return Place("ws", "localhost", 80, path or "/", socket_path)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme in {"wss", "https"}:
        raise BenchError(f"{parts.scheme}:// is not spoken by the load tool: measure without TLS")
    if parts.scheme not in schemes or not parts.hostname or not url.isascii() or not url.isprintable():
        allowed = " or ".join(f"{scheme}://HOST:PORT/PATH" for scheme in schemes)
        raise BenchError(f'"{ascii(url)[1:-1]}" is not a URL to measure; allowed: {allowed}')
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, unquote(parts.hostname), port or _PORTS[parts.scheme], path, "")


def upgrade_target(place: Place, headers: Sequence[str] = ()) -> Target:
    """Return a target that upgrades to WebSocket; `headers` are whole lines.  Raises BenchError."""
    key = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    lines = [
        f"GET {place.path} HTTP/1.1",
        f"Host: {place.authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
        *checked(headers),
    ]
    return Target(
        _numeric(place),
        place.port,
        path=place.socket_path,
        request="\r\n".join([*lines, "", ""]).encode(),
        accept=accept,
    )


def bare_target(place: Place) -> Target:
    """Return a target that is ready when it is connected.  Raises BenchError."""
    return Target(_numeric(place), place.port, path=place.socket_path)


def checked(headers: Sequence[str]) -> Sequence[str]:
    """Return header lines as they came.  Raises BenchError when one is none."""
    for line in headers:
        name, colon, _ = line.partition(":")
        if not (colon and name and line.isascii() and line.isprintable()) or " " in name:
            raise BenchError(f'"{ascii(line)[1:-1]}" is not a header; allowed: NAME: VALUE')
    return headers


def _numeric(place: Place) -> str:
    if place.socket_path:
        return ""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BenchError(f"no address for {place.host}: {error.strerror}") from None
    return str(found[0][4][0])
