"""The gateway's own opening handshake with an upstream, for a client's (RFC 6455 section 4.1).

Pure: a request as bytes, and a judge of the answer, without sockets.
What always holds: the upstream is told of subprotocols and extensions only what the client offered, and the
client only what the upstream chose of them; nothing that says who the client is comes from the client.
"""

from __future__ import annotations

import os
from binascii import b2a_base64
from collections.abc import Collection
from hashlib import sha1
from typing import Final, NamedTuple

from ..connection.request import Request
from ..errors import GatewayError
from .answer import AnswerHead, AnswerReader, BadAnswerError

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UPGRADE: Final = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
)
_KEY_BYTES: Final = 16
_KEYS_AT_ONCE: Final = 256
_SWITCHING: Final = 101
_DEFLATE: Final = b"permessage-deflate"

# Not the client's to say to an upstream: the connection's own (RFC 9110 section 7.6.1), and who it is.
_DROPPED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-real-ip",
    )
)
_DROPPED_PREFIXES: Final = (b"proxy-", b"sec-websocket-", b"x-forwarded-", b"x-ringgate-")
# Of an answer: what may stand there once, and what no 101 has (RFC 9110 section 8.6, RFC 9112 section 6.1).
_ONCE: Final = frozenset(
    (
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"upgrade",
    )
)
_BODY: Final = frozenset((b"content-length", b"transfer-encoding"))
_OFFERS: Final = (b"sec-websocket-protocol", b"sec-websocket-extensions")


class UpstreamRefusedError(GatewayError):
    """The upstream answered, but not with a WebSocket; `status` is what the client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Agreed(NamedTuple):
    """What an upstream agreed to: header values for the client's answer, and what came behind the head."""

    subprotocol: bytes
    extensions: bytes
    early: bytes

    @property
    def reserved_bits(self) -> int:
        """The reserved bits that frames may have: RSV1 for compression (RFC 7692), all for others."""
        if not self.extensions:
            return 0
        names = {offer.split(b";", 1)[0].strip() for offer in self.extensions.split(b",")}
        return 0x40 if names == {_DEFLATE} else 0x70


class ClientFacts(NamedTuple):
    """What the gateway knows of a client, and tells the upstream: path and query, the rest in headers."""

    address: str
    scheme: str
    target: str
    user: str = ""


class HandshakeKeys:
    """Gives values for Sec-WebSocket-Key: 16 random bytes each, in base64 (RFC 6455 section 4.1)."""

    def __init__(self) -> None:
        self._random = b""
        self._at = 0

    def next(self) -> bytes:
        """Return a value that was never returned before."""
        at = self._at
        if at >= len(self._random):
            self._random, at = os.urandom(_KEYS_AT_ONCE * _KEY_BYTES), 0  # one system call for many
        self._at = at + _KEY_BYTES
        return b2a_base64(self._random[at : at + _KEY_BYTES], newline=False)


class UpstreamHandshake:
    """One handshake with one upstream: `request` goes out, `receive` takes what comes until it is decided."""

    __slots__ = ("_answer", "_client", "_key", "request")

    def __init__(self, client: Request, facts: ClientFacts, key: bytes) -> None:
        self._client = client
        self._key = key
        self._answer = AnswerReader()
        self.request = _request(client, facts, key)

    def receive(self, data: bytes) -> Agreed | None:
        """Take bytes of the answer; None until its head is whole.  Raises UpstreamRefusedError."""
        try:
            answered = self._answer.receive(data)
        except BadAnswerError as problem:
            raise UpstreamRefusedError(502, f"the upstream's answer is wrong: {problem}") from None
        if answered is None:
            return None
        head, early = answered
        if head.status != _SWITCHING:
            raise UpstreamRefusedError(
                _status_for_client(head.status), f"the upstream answered {head.status}"
            )
        return self._agreed(head, early)

    def _agreed(self, head: AnswerHead, early: bytes) -> Agreed:
        fields = dict(head.fields)
        if len(fields) != len(head.fields):
            fields[b"connection"] = b",".join(value for name, value in head.fields if name == b"connection")
            names = [name for name, _ in head.fields]
            for name in _ONCE.intersection(names):
                if names.count(name) > 1:
                    raise UpstreamRefusedError(502, f"the upstream sent {name.decode()} twice")
        if not _BODY.isdisjoint(fields):
            raise UpstreamRefusedError(502, "the upstream announced a body behind its handshake")
        accept = b2a_base64(sha1(self._key + _GUID, usedforsecurity=False).digest(), newline=False)
        if (
            fields.get(b"sec-websocket-accept") != accept
            or fields.get(b"upgrade", b"").lower() != b"websocket"
            or b"upgrade" not in _names(fields.get(b"connection", b"").lower())
        ):
            raise UpstreamRefusedError(502, "the upstream's handshake is wrong")
        subprotocol = fields.get(b"sec-websocket-protocol", b"")
        extensions = fields.get(b"sec-websocket-extensions", b"")
        if subprotocol and subprotocol not in _names(_offered(self._client, b"sec-websocket-protocol")):
            raise UpstreamRefusedError(502, "the upstream chose a subprotocol that was not offered")
        if extensions and not _names(extensions) <= _names(
            _offered(self._client, b"sec-websocket-extensions")
        ):
            raise UpstreamRefusedError(502, "the upstream chose an extension that was not offered")
        return Agreed(subprotocol, extensions, early)


def may_pass(name: bytes) -> bool:
    """Tell whether a client's header, by its lower-case name, may reach an upstream."""
    return name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)


def _request(client: Request, facts: ClientFacts, key: bytes) -> bytes:
    """Return the request.  Its fields are those of a head that was checked, or the gateway's own."""
    host, connection = client.fields[b"host"], client.fields[b"connection"]
    lines = [b"GET %s HTTP/1.1\r\nHost: %s" % (facts.target.encode(), host), _UPGRADE + key]
    lines += [b"%s: %s" % (name.title(), _offered(client, name)) for name in _OFFERS if name in client.fields]
    listed: Collection[bytes] = ()  # headers that are of this connection (RFC 9110 section 7.6.1)
    if connection.lower() != b"upgrade":
        listed = {name.lower() for value in client.values(b"connection") for name in _names(value)}
    for name, value in client.headers:
        if name not in listed and may_pass(name):
            lines.append(b"%s: %s" % (name, value))
    told = (facts.address.encode(), facts.scheme.encode(), host)
    lines.append(b"X-Forwarded-For: %s\r\nX-Forwarded-Proto: %s\r\nX-Forwarded-Host: %s" % told)
    if facts.user:
        lines.append(b"X-Ringgate-User: " + facts.user.encode())
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _offered(client: Request, name: bytes) -> bytes:
    """Return a list that may have come in several lines (RFC 9110 section 5.3)."""
    return b", ".join(client.values(name)) if name in client.repeated else client.fields.get(name, b"")


def _names(offers: bytes) -> set[bytes]:
    return {offer.split(b";", 1)[0].strip() for offer in offers.split(b",")} - {b""}


def _status_for_client(status: int) -> int:
    """A refusal of the client's request is passed on; what is the upstream's own trouble is 502, or 503."""
    if status in {400, 401, 403, 404, 410, 429, 503}:
        return status
    return 502
