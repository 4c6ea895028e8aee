"""Fuzz the opening handshake with atheris: `python fuzz/handshake.py -max_total_time=60 [corpus folder]`.

Half of the inputs are raw bytes, half are an upgrade into which fuzzed pieces are put.  A finding is an
exception, the refusal `internal`, an acceptance that wsproto does not share, a head that is decided before it
is complete, or a token that would reach a log.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gateway.connection", "wsproto", "h11"]):
    from wsproto import ConnectionType, WSConnection

    from gateway.connection.handshake import (
        Accepted,
        DeflateOptions,
        Refusal,
        RouteOptions,
        head_is_decidable,
        respond,
    )
    from gateway.connection.request import redact_target

ROUTES = {
    "/ws": RouteOptions(("ringgate.v1.json", "b"), deflate=DeflateOptions()),
    "/any": RouteOptions(origins=("*",)),
    "/list": RouteOptions(origins=("https://example.com",), deflate=DeflateOptions(15, takeover=True)),
}
NAMES = (
    b"Host: ",
    b"Origin: ",
    b"Connection: ",
    b"Upgrade: ",
    b"Sec-WebSocket-Extensions: permessage-deflate; ",
    b"Sec-WebSocket-Extensions: ",
    b"Sec-WebSocket-Protocol: ",
    b"Sec-WebSocket-Key: ",
    b"Sec-WebSocket-Version: ",
    b"Content-Length: ",
    b"Transfer-Encoding: ",
    b"",
)
UPGRADE = (
    b" HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def build(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return raw fuzzed bytes, or an upgrade with fuzzed lines."""
    if provider.ConsumeBool():
        return bytes(provider.ConsumeBytes(4096))
    path = (b"/ws", b"/any", b"/list", b"/ws?" + provider.ConsumeBytes(20))[provider.ConsumeIntInRange(0, 3)]
    lines = b""
    for _ in range(provider.ConsumeIntInRange(0, 3)):
        name = NAMES[provider.ConsumeIntInRange(0, len(NAMES) - 1)]
        lines += name + provider.ConsumeBytes(provider.ConsumeIntInRange(0, 60)) + b"\r\n"
    return b"GET " + path + UPGRADE + lines + b"\r\n"


class FindingError(Exception):
    """The handshake did what it must never do."""


def expect(holds: bool, what: str) -> None:
    """Raise FindingError unless it holds."""
    if not holds:
        raise FindingError(what)


def check(data: bytes) -> None:
    """Raise FindingError, or whatever was raised, when the handshake is wrong about `data`."""
    outcome = respond(data, ROUTES)
    expect(head_is_decidable(data, 0) == (outcome is not None), "asked too early or too late")
    if isinstance(outcome, Refusal):
        expect(outcome.reason_label != "internal", "an exception inside")
    if isinstance(outcome, Accepted):
        head = outcome.request.head
        expect(data.startswith(head), "wrong extent")
        expect(respond(head[:-1], ROUTES) is None, "decided before the head was complete")
        if b"xn--" not in head:  # with a port, wsproto cannot decode such a host
            WSConnection(ConnectionType.SERVER).receive_data(head)


def run(data: bytes) -> None:
    """Check one input of the fuzzer."""
    request = build(atheris.FuzzedDataProvider(data))
    check(request)
    secret = request.decode("latin-1").replace("&", "").replace("?", "")
    logged = redact_target("/ws?a=" + secret.replace(";", "") + "&token=" + secret)
    expect(logged.endswith("&token=[redacted]"), "a token in a log")


def main() -> None:
    """Fuzz until a finding or until the time given on the command line is over."""
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
