"""Requests for the tests of the handshake, and the three ways in which each of them is fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.connection.handshake import (
    Accepted,
    DeflateOptions,
    Plain,
    Refusal,
    RouteOptions,
    head_is_decidable,
    respond,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3, for that key
ROUTES: Mapping[str, RouteOptions] = {
    "/ws": RouteOptions(("ringgate.v1.json", "ringgate.v1.msgpack")),
    "/deflate": RouteOptions(deflate=DeflateOptions(window_bits=15, takeover=True)),
    "/any": RouteOptions(origins=("*",)),
}
BROWSER: Sequence[tuple[bytes, bytes]] = (
    (b"Host", b"example.com:8000"),
    (b"Connection", b"Upgrade"),
    (b"Pragma", b"no-cache"),
    (b"Cache-Control", b"no-cache"),
    (
        b"User-Agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0",
    ),
    (b"Upgrade", b"websocket"),
    (b"Origin", b"http://example.com:8000"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    (b"Accept-Language", b"en-US,en;q=0.9"),
    (b"Sec-WebSocket-Key", KEY),
    (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
)
TRAILERS = (b"\x81\x85\x01\x02\x03\x04ijomn", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 40)

Outcome = Accepted | Refusal | Plain | None


def request(
    line: bytes = b"GET /ws HTTP/1.1",
    *,
    changed: Mapping[bytes, bytes | None] | None = None,
    extra: Sequence[bytes] = (),
) -> bytes:
    """Return a browser's upgrade with some headers changed (None: left out) and whole lines added."""
    changes = changed or {}
    fields = [(name, changes.get(name, value)) for name, value in BROWSER]
    fields += [(name, value) for name, value in changes.items() if name not in dict(BROWSER)]
    lines = [name + b": " + value for name, value in fields if value is not None]
    return b"\r\n".join([line, *lines, *extra, b"", b""])


def plain(line: bytes = b"GET /health/live HTTP/1.1", *extra: bytes) -> bytes:
    """Return an ordinary request with a Host header and further lines."""
    return b"\r\n".join([line, b"Host: example.com", *extra, b"", b""])


def status_of(outcome: Outcome) -> int | None:
    """Return the HTTP status of an outcome; None while the head is incomplete."""
    if outcome is None:
        return None
    return 101 if isinstance(outcome, Accepted) else outcome.status


def label_of(outcome: Outcome) -> str | None:
    """Return the label of a refusal, and None for everything else."""
    return outcome.reason_label if isinstance(outcome, Refusal) else None


def fed_byte_by_byte(data: bytes, routes: Mapping[str, RouteOptions] = ROUTES) -> Outcome:
    """Feed one byte a read, as the edge does: asking first whether anything can be decided."""
    buffer = bytearray()
    for seen_bytes, byte in enumerate(data):
        buffer.append(byte)
        if head_is_decidable(buffer, seen_bytes):
            outcome = respond(buffer, routes)
            if outcome is not None:
                return outcome
    return None


def judged_every_way(data: bytes, routes: Mapping[str, RouteOptions] = ROUTES) -> Outcome:
    """Return the outcome for `data`, the same whole, byte by byte and with more behind."""
    outcome = respond(data, routes)
    trickled = fed_byte_by_byte(data, routes)
    assert same(trickled, outcome)
    if outcome is not None:
        for trailer in TRAILERS:
            followed = respond(data + trailer, routes)
            assert same(followed, outcome)
            if isinstance(followed, Accepted):
                assert (data + trailer)[followed.request.consumed :] == trailer
    return outcome


def same(one: Outcome, other: Outcome) -> bool:
    """Tell whether two outcomes are equal, requests compared by their heads."""
    if isinstance(one, Accepted) and isinstance(other, Accepted):
        return one[:3] == other[:3] and one.request.head == other.request.head
    return one == other
