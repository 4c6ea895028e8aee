"""The gateway's own opening handshake with an upstream, for a client's (RFC 6455 section 4.1).

Pure: a request as bytes, and a reader of the answer, without sockets.  h11 writes and reads the HTTP.
What always holds: the upstream is told of subprotocols and extensions only what the client offered, and the
client only what the upstream chose of them; nothing that says who the client is comes from the client.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final, NamedTuple

import h11

from ..connection.request import Request
from ..errors import GatewayError

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MOST_ANSWER_BYTES: Final = 16 * 1024
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


class UpstreamHandshake:
    """One handshake with one upstream: `request` goes out, `receive` takes what comes until it is decided."""

    def __init__(self, client: Request, facts: ClientFacts) -> None:
        self._offered = {name: b", ".join(client.values(name)) for name in _OFFERS}
        self._key = base64.b64encode(secrets.token_bytes(16))
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_ANSWER_BYTES)
        self.request: bytes = self._http.send(
            h11.Request(method="GET", target=facts.target, headers=self._headers(client, facts))
        )

    def _headers(self, client: Request, facts: ClientFacts) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"Host", client.fields[b"host"]),
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", self._key),
            (b"Sec-WebSocket-Version", b"13"),
        ]
        headers += [(name.title(), offered) for name, offered in self._offered.items() if offered]
        listed = {
            name.strip().lower() for value in client.values(b"connection") for name in value.split(b",")
        }
        headers += [(name, value) for name, value in client.headers if name not in listed and _may_pass(name)]
        headers += [
            (b"X-Forwarded-For", facts.address.encode()),
            (b"X-Forwarded-Proto", facts.scheme.encode()),
            (b"X-Forwarded-Host", client.fields[b"host"]),
        ]
        if facts.user:
            headers.append((b"X-Ringgate-User", facts.user.encode()))
        return headers

    def receive(self, data: bytes) -> Agreed | None:
        """Take bytes of the answer; None until its head is whole.  Raises UpstreamRefusedError."""
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            while isinstance(event, h11.InformationalResponse) and event.status_code != _SWITCHING:
                event = self._http.next_event()
        except h11.RemoteProtocolError as problem:
            raise UpstreamRefusedError(502, f"the upstream's answer is not HTTP/1.1: {problem}") from None
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.InformationalResponse):
            return self._agreed(event)
        if isinstance(event, h11.Response):
            raise UpstreamRefusedError(
                _status_for_client(event.status_code), f"the upstream answered {event.status_code}"
            )
        raise UpstreamRefusedError(502, "the upstream hung up before it answered")

    def _agreed(self, answer: h11.InformationalResponse) -> Agreed:
        fields: dict[bytes, bytes] = {}
        for name, value in answer.headers:
            if name in fields and name.startswith(b"sec-websocket-"):
                raise UpstreamRefusedError(502, f"the upstream sent {name.decode()} twice")
            fields[name] = value
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        if fields.get(b"upgrade", b"").lower() != b"websocket" or accept != fields.get(
            b"sec-websocket-accept"
        ):
            raise UpstreamRefusedError(502, "the upstream's handshake is wrong")
        subprotocol = fields.get(b"sec-websocket-protocol", b"")
        extensions = fields.get(b"sec-websocket-extensions", b"")
        if subprotocol and subprotocol not in _names(self._offered[b"sec-websocket-protocol"]):
            raise UpstreamRefusedError(502, "the upstream chose a subprotocol that was not offered")
        if not _names(extensions) <= _names(self._offered[b"sec-websocket-extensions"]):
            raise UpstreamRefusedError(502, "the upstream chose an extension that was not offered")
        return Agreed(subprotocol, extensions, self._http.trailing_data[0])


def _may_pass(name: bytes) -> bool:
    return name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)


def _names(offers: bytes) -> set[bytes]:
    return {offer.split(b";", 1)[0].strip() for offer in offers.split(b",")} - {b""}


def _status_for_client(status: int) -> int:
    """A refusal of the client's request is passed on; what is the upstream's own trouble is 502, or 503."""
    if status in {400, 401, 403, 404, 410, 429, 503}:
        return status
    return 502
