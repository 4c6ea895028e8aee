"""The opening handshake: from the bytes received to the bytes to send (RFC 6455 section 4.2).

Pure functions without I/O; knows nothing of sockets, deadlines, sessions or channels.  `respond` does it all.
The common well-formed upgrade takes a direct path, the most common one is read in one pass (`_upgrade`);
everything else that is not refused by a rule of ours is judged by wsproto itself, and property tests hold
both short ways to wsproto's verdict.
What always holds: whatever wsproto refuses is refused; every answer is complete; no
exception leaves `respond`.  The rules that are stricter than wsproto's are listed in
`docs/decisions/0003-handshake.md`.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Final, NamedTuple

from ._upgrade import scan_upgrade
from .accepted import Accepted
from .answers import HEALTHY, Plain, Refusal, refuse, unavailable, without_body
from .negotiate import (
    DeflateOptions,
    DeflateParameters,
    negotiate_deflate,
    parse_extensions,
    select_subprotocol,
)
from .origin import OriginPolicy
from .request import DEFAULT_LIMITS, HeadLimits, Request, body_refusal, head_is_decidable, parse_request
from .wsproto_verdict import judge

__all__ = [
    "DEFAULT_LIMITS",
    "HEALTH_PATH",
    "Accepted",
    "DeflateOptions",
    "DeflateParameters",
    "HeadLimits",
    "Plain",
    "Refusal",
    "Request",
    "RouteOptions",
    "head_is_decidable",
    "parse_request",
    "respond",
    "unavailable",
    "upgrade",
]

HEALTH_PATH: Final = "/health/live"
_MAX_EXTENSIONS_BYTES: Final = 2048  # offers are dear to take apart; a browser sends 46 bytes
_ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_JUDGED_WHEN_REPEATED: Final = frozenset(
    (b"connection", b"upgrade", b"sec-websocket-protocol", b"sec-websocket-extensions")
)
_SINGLE: Final = {
    b"sec-websocket-key": "bad_key",
    b"sec-websocket-version": "no_version",
    b"origin": "origin",
}
_COMMON_OFFERS: Final = (
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits",
    b"permessage-deflate; client_max_window_bits=15",
    b"permessage-deflate; client_max_window_bits; server_max_window_bits=15",
    b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
)


class Negotiated(NamedTuple):
    """The outcome of extension negotiation: what was agreed on, and the header value that says so."""

    deflate: DeflateParameters | None
    header_value: bytes


_NO_EXTENSION: Final = Negotiated(None, b"")


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """What one WebSocket path accepts.

    `subprotocols`: names in the server's order of preference; none is selected when a client offers none of
    them.  `origins`, `sibling_ports`: see `OriginPolicy`.  `deflate`: None negotiates no extension.
    Raises UsageError for a malformed origin.
    """

    subprotocols: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    deflate: DeflateOptions | None = None
    sibling_ports: tuple[int, ...] = ()
    origin_policy: OriginPolicy = field(init=False, repr=False, compare=False)
    subprotocol_names: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    common_offers: dict[bytes, Negotiated] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every handshake needs: the policy, the names in bytes, answers to the usual offers."""
        object.__setattr__(self, "origin_policy", OriginPolicy(self.origins, self.sibling_ports))
        names = tuple(name.encode("ascii") for name in self.subprotocols)
        object.__setattr__(self, "subprotocol_names", names)
        offers = {offer: _negotiate(offer, self.deflate) or _NO_EXTENSION for offer in _COMMON_OFFERS}
        object.__setattr__(self, "common_offers", offers)


def respond(
    data: bytes | bytearray, routes: Mapping[str, RouteOptions], limits: HeadLimits = DEFAULT_LIMITS
) -> Accepted | Refusal | Plain | None:
    """Return what to do about the bytes received so far, or None when the head is not complete yet.

    `routes` maps the exact paths of WebSocket endpoints to their options.  Call it as `parse_request`
    says.  After anything but Accepted and None the answer is sent and the connection closed.
    """
    try:
        accepted = scan_upgrade(data, routes, limits)
        if accepted is not None:
            return accepted
        request = parse_request(data, limits)
        if not isinstance(request, Request):
            return request
        answer = _route(request, routes)
        return without_body(answer) if isinstance(answer, Refusal) and request.method == "HEAD" else answer
    except Exception:  # noqa: BLE001  a fault of ours must not leave a protocol callback; fuzzing looks for it
        return refuse("internal")


def _route(request: Request, routes: Mapping[str, RouteOptions]) -> Accepted | Refusal | Plain:
    """Answer a request: what contradicts itself first, then the path, the method, the body, the upgrade."""
    body = body_refusal(request)
    if body is not None and body != "body":
        return refuse(body)
    options = routes.get(request.path)
    if options is None and request.path != HEALTH_PATH:
        return refuse("not_found")
    if request.method != "GET":
        return refuse("method")
    if body is not None:
        return refuse(body)
    return HEALTHY if options is None else upgrade(request, options)


def upgrade(request: Request, options: RouteOptions) -> Accepted | Refusal:
    """Answer a request for a WebSocket endpoint (RFC 6455 section 4.2.2).

    What asks for no upgrade to WebSocket gets 426, a malformed handshake 400, another version than 13
    gets 426, and a page that may not connect 403.
    """
    label = _refused_by_us(request)
    if label is not None:
        return refuse(label)
    fields = request.fields
    verdict = None if _is_common(request) else judge(_head_for_wsproto(request))
    if isinstance(verdict, int):
        return refuse(_label_of(request, verdict))
    origin = fields.get(b"origin")
    if origin is not None and not options.origin_policy.allows(origin, fields[b"host"]):
        return refuse("origin")
    offered = _joined(request, b"sec-websocket-extensions")
    if len(offered) > _MAX_EXTENSIONS_BYTES:
        return refuse("head_too_large")
    negotiated = options.common_offers.get(offered) or _negotiate(offered, options.deflate)
    if negotiated is None:
        return refuse("bad_extensions")
    protocols = _joined(request, b"sec-websocket-protocol")
    subprotocol = select_subprotocol(protocols, options.subprotocol_names) if protocols else b""
    if verdict is not None:
        response = verdict.response(subprotocol.decode(), negotiated.header_value)
    else:
        response = _switching_protocols(fields[b"sec-websocket-key"], subprotocol, negotiated.header_value)
    return Accepted(response, subprotocol.decode(), negotiated.deflate, request)


def _refused_by_us(request: Request) -> str | None:
    """Return the label of the rule of ours that the request breaks, or None."""
    if not request.websocket:
        return "upgrade_required"
    if request.method != "GET":
        return "method"
    if not request.http_1_1:
        return "http_version"
    if request.repeated:
        for name, label in _SINGLE.items():
            if name in request.repeated:
                return label
    key = request.fields.get(b"sec-websocket-key")
    if key is not None and (len(key) != 24 or key[22:] != b"==" or key.translate(None, _BASE64) != b"=="):
        return "bad_key"
    return body_refusal(request)


def _is_common(request: Request) -> bool:
    """Tell whether wsproto is certain to accept: each header of the handshake once, and in its plain form."""
    fields = request.fields
    if request.repeated and not _JUDGED_WHEN_REPEATED.isdisjoint(request.repeated):
        return False
    if fields[b"upgrade"].lower() != b"websocket" or fields.get(b"sec-websocket-version") != b"13":
        return False
    if b"sec-websocket-key" not in fields or b"xn--" in fields[b"host"].lower():
        return False
    connection = fields.get(b"connection", b"")
    if connection != b"Upgrade" and not _names_upgrade(connection):
        return False
    protocols = fields.get(b"sec-websocket-protocol", b"")
    return protocols.isascii() and fields.get(b"sec-websocket-extensions", b"").isascii()


def _names_upgrade(connection: bytes) -> bool:
    return connection.isascii() and any(
        token.strip() == b"upgrade" for token in connection.lower().split(b",")
    )


def _head_for_wsproto(request: Request) -> bytes:
    """Return the head that wsproto is asked about: as it came, save for the port of some hosts.

    wsproto 1.3 decodes the Host header port and all, and so takes the port of `xn--p1ai:8000` for punycode.
    """
    name, colon, _ = request.fields[b"host"].partition(b":")
    if not colon or b"xn--" not in name.lower():
        return request.head
    lines = [request.head.partition(b"\r\n")[0], b"host: " + name]
    lines += [found + b": " + value for found, value in request.headers if found != b"host"]
    return b"\r\n".join([*lines, b"", b""])


def _label_of(request: Request, status: int) -> str:
    """Return the label for a refusal of wsproto's, by looking for its cause in wsproto's order."""
    fields = request.fields
    connections = request.values(b"connection")
    if not all(value.isascii() for value in request.values(b"sec-websocket-protocol")):
        return "bad_subprotocol"
    if not all(value.isascii() for value in request.values(b"sec-websocket-extensions")):
        return "bad_extensions"
    if not connections or not _names_upgrade(connections[-1]):
        return "bad_connection"
    if status == 426:
        return "bad_version"
    if not fields.get(b"sec-websocket-version"):
        return "no_version"
    if b"sec-websocket-key" not in fields:
        return "bad_key"
    if request.values(b"upgrade")[-1].lower() != b"websocket":
        return "bad_upgrade"
    return "bad_host" if b"xn--" in fields[b"host"].lower() else "bad_handshake"


def _joined(request: Request, name: bytes) -> bytes:
    """Return the header `name` as one list, however many lines it came in (RFC 9110 section 5.3)."""
    if name in request.repeated:
        return b", ".join(request.values(name))
    return request.fields.get(name, b"")


def _negotiate(offered: bytes, options: DeflateOptions | None) -> Negotiated | None:
    """Return what an extensions header leads to, or None where it breaks the grammar, wanted or not."""
    if not offered:
        return _NO_EXTENSION
    offers = parse_extensions(offered)
    if offers is None:
        return None
    deflate = negotiate_deflate(offers, options) if options is not None else None
    return Negotiated(deflate, deflate.header_value()) if deflate is not None else _NO_EXTENSION


def _switching_protocols(key: bytes, subprotocol: bytes, extensions: bytes) -> bytes:
    accept = b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
    response = _ACCEPTED + accept
    if subprotocol:
        response += b"\r\nSec-WebSocket-Protocol: " + subprotocol
    if extensions:
        response += b"\r\nSec-WebSocket-Extensions: " + extensions
    return response + b"\r\n\r\n"
