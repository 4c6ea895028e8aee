"""The plain HTTP answers of the edge port: every refusal, and the answer of the health path.

One table says which refusals exist, with which status and text; everything else names a
refusal by its label, which is also the value of the metric's label.  Knows nothing of
requests or sockets.  What always holds: an answer is complete (status line,
`Content-Length`, body), says `Connection: close`, and repeats nothing that the peer sent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple


class Refusal(NamedTuple):
    """A complete HTTP answer to a request that is turned away; the connection is closed after it.

    `reason_label` is one of the keys of `REFUSALS`: few and fixed, so fit for a metric.
    `response` holds the bytes to send.
    """

    status: int
    reason_label: str
    response: bytes


class Plain(NamedTuple):
    """A complete HTTP answer to an ordinary request that is no upgrade; the connection is closed after it."""

    status: int
    response: bytes


class RefusalInfo(NamedTuple):
    """One row of the table: what is answered, and what it tells the reader."""

    status: int
    text: str


REFUSALS: Final[dict[str, RefusalInfo]] = {
    "not_http": RefusalInfo(400, "This port speaks plain HTTP/1.1 and WebSocket."),
    "bad_request_line": RefusalInfo(400, "The request line is malformed."),
    "bad_target": RefusalInfo(400, "The request target is not one that is served here."),
    "http_version": RefusalInfo(400, "The HTTP version has to be 1.1."),
    "bad_header": RefusalInfo(400, "A header line is malformed."),
    "bad_host": RefusalInfo(400, "Exactly one valid Host header is needed."),
    "bad_framing": RefusalInfo(400, "The length of the body is not clear from the headers."),
    "body_on_upgrade": RefusalInfo(400, "An upgrade has neither Content-Length nor Transfer-Encoding."),
    "bad_connection": RefusalInfo(400, "Connection has to name Upgrade; a proxy may have removed it."),
    "bad_upgrade": RefusalInfo(400, "The Upgrade header has to be websocket."),
    "no_version": RefusalInfo(400, "Exactly one Sec-WebSocket-Version header is needed."),
    "bad_version": RefusalInfo(426, "The only WebSocket version is 13."),
    "bad_key": RefusalInfo(400, "Exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed."),
    "bad_subprotocol": RefusalInfo(400, "The Sec-WebSocket-Protocol header is malformed."),
    "bad_extensions": RefusalInfo(400, "The Sec-WebSocket-Extensions header is malformed."),
    "bad_handshake": RefusalInfo(400, "The WebSocket handshake is malformed."),
    "origin": RefusalInfo(403, "This origin may not connect."),
    "not_found": RefusalInfo(404, "There is nothing here."),
    "method": RefusalInfo(405, "The method has to be GET."),
    "body": RefusalInfo(413, "Requests have no body here."),
    "upgrade_required": RefusalInfo(
        426, "This is a WebSocket endpoint; did a proxy remove the Upgrade header?"
    ),
    "address_limit": RefusalInfo(429, "This address has as many connections as it may have."),
    "head_too_large": RefusalInfo(431, "The request line or headers are too large."),
    "internal": RefusalInfo(500, "An error inside the gateway."),
    "unavailable": RefusalInfo(503, "No more connections are taken at the moment."),
}

_EXTRA_HEADERS: Final[dict[int, bytes]] = {
    405: b"Allow: GET\r\n",
    426: b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
}


def answer(status: int, text: str, *, extra_headers: bytes = b"") -> bytes:
    """Return a complete HTTP/1.1 answer that closes the connection, with `text` and a line feed as body.

    `extra_headers` are whole lines, each ended by CRLF.  A 426 also names `Upgrade` in
    `Connection`, as RFC 9110 section 7.8 asks of whoever sends an Upgrade header.
    """
    body = text.encode() + b"\n"
    lines = (
        b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
        extra_headers + b"Connection: " + (b"close, Upgrade" if status == 426 else b"close"),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        b"",
        body,
    )
    return b"\r\n".join(lines)


def _build(label: str, info: RefusalInfo) -> Refusal:
    extra = _EXTRA_HEADERS.get(info.status, b"")
    if label == "no_version":
        extra = b"Sec-WebSocket-Version: 13\r\n"
    return Refusal(info.status, label, answer(info.status, info.text, extra_headers=extra))


_PREPARED: Final = {label: _build(label, info) for label, info in REFUSALS.items()}
HEALTHY: Final = Plain(200, answer(200, "ok", extra_headers=b"Cache-Control: no-store\r\n"))


def refuse(label: str) -> Refusal:
    """Return the prepared refusal with this label.  Raises KeyError for a label that is not in `REFUSALS`."""
    return _PREPARED[label]


def without_body(refusal: Refusal) -> Refusal:
    """Return `refusal` as the answer to a HEAD request: the same head, no body (RFC 9110 section 9.3.2)."""
    head, blank, _ = refusal.response.partition(b"\r\n\r\n")
    return refusal._replace(response=head + blank)


def too_many(retry_after_s: int = 5) -> Refusal:
    """Return the 429 for a connection of an address that has too many, asking to come back after seconds."""
    info = REFUSALS["address_limit"]
    extra = b"Retry-After: %d\r\n" % retry_after_s
    return Refusal(info.status, "address_limit", answer(info.status, info.text, extra_headers=extra))


def unavailable(retry_after_s: int = 5) -> Refusal:
    """Return the 503 for a connection that finds no room, asking to come back after whole seconds."""
    info = REFUSALS["unavailable"]
    extra = b"Retry-After: %d\r\n" % retry_after_s
    return Refusal(info.status, "unavailable", answer(info.status, info.text, extra_headers=extra))
