"""The common upgrade, read in one pass: which requests are, and which are left to those who look closely."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest

from gateway.connection._upgrade import scan_upgrade
from gateway.connection.accepted import Accepted
from gateway.connection.handshake import DeflateOptions, RouteOptions
from gateway.connection.request import DEFAULT_LIMITS, HeadLimits
from tests.support.edges import request as bare
from tests.unit.connection.handshake_requests import ROUTES, request

WITH_DEFLATE = {"/ws": RouteOptions(("b", "a"), deflate=DeflateOptions(15, takeover=True))}
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def scan(data: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> Accepted | None:
    return scan_upgrade(data, ROUTES, limits)


@pytest.mark.parametrize(
    "data",
    [
        request(),
        bare(),
        request(b"GET /ws?user=alice HTTP/1.1"),
        request(changed={b"Connection": b"keep-alive, Upgrade"}),
        request(changed={b"Connection": b"\t upgrade\t,x", b"Upgrade": b"WebSocket"}),
        request(changed={b"Host": b"example.com", b"Origin": b"http://example.com"}),
        request(changed={b"Origin": None, b"Cookie": b"a=\xc3\xa4"}),
        request(extra=[b"X-A: 1", b"X-A: 2"]),
        request(changed={b"Sec-WebSocket-Protocol": b"ringgate.v1.json, x"}),
    ],
)
def test_common_upgrades_are_accepted_in_one_pass(data: bytes) -> None:
    accepted = scan(data)
    assert accepted is not None
    assert accepted.request.consumed == len(data)
    assert scan(data + b"\x81\x00GET")[:3] == accepted[:3]  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        request()[:-1],
        request(b"HEAD /ws HTTP/1.1"),
        request(b"GET /ws HTTP/1.0"),
        request(b"GET /ws  HTTP/1.1"),
        request(b"GET /nothing HTTP/1.1"),
        request(b"GET /ws#a HTTP/1.1"),
        request(b"GET /ws\x7f HTTP/1.1"),
        request(b"GET http://example.com:8000/ws HTTP/1.1"),
        request(changed={b"Host": None}),
        request(changed={b"Host": b""}),
        request(changed={b"Host": b".example.com", b"Origin": None}),
        request(changed={b"Host": b"h:", b"Origin": None}),
        request(changed={b"Host": b"h:123456", b"Origin": None}),
        request(changed={b"Host": b"h:8x", b"Origin": None}),
        request(changed={b"Host": b"[::1]:80", b"Origin": None}),
        request(changed={b"Host": b"a.XN--p1ai", b"Origin": None}),
        request(changed={b"Host": b"h" * 260, b"Origin": None}),
        request(changed={b"Upgrade": b"websocket/13"}),
        request(changed={b"Connection": b"Upgraded"}),
        request(changed={b"Connection": b"Upgrade, \xe4"}),
        request(changed={b"Connection": b"close"}),
        request(changed={b"Sec-WebSocket-Version": b"8"}),
        request(changed={b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ="}),
        request(changed={b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25j!Q=="}),
        request(changed={b"Sec-WebSocket-Protocol": b"\xff"}),
        request(changed={b"Sec-WebSocket-Extensions": b"permessage-deflate; strange"}),
        request(changed={b"Origin": b"http://elsewhere.example"}),
        request(extra=[b"Content-Length: 0"]),
        request(extra=[b"transfer-encoding: chunked"]),
        request(extra=[b"Host: example.com:8000"]),
        request(extra=[b"Upgrade: websocket"]),
        request(extra=[b" folded"]),
        request(extra=[b"X : 1"]),
        request(extra=[b"X: \x01"]),
        request(extra=[b"X: a\nY: b"]),
        request(extra=[b"X"]),
        request(extra=[b"X: 1"] * 64),
    ],
)
def test_what_is_not_whole_unusual_or_wrong_is_left_to_others(data: bytes) -> None:
    assert scan(data) is None


def test_bounds_are_those_of_the_limits() -> None:
    data = bare()
    assert scan(data, HeadLimits(8192, 5, 32768)) is not None
    assert scan(data, HeadLimits(8192, 4, 32768)) is None
    assert scan(data, HeadLimits(8192, 64, len(data))) is not None
    assert scan(data, HeadLimits(8192, 64, len(data) - 1)) is None
    assert scan(data, HeadLimits(len(data) - 1, 64, 32768)) is None


def test_answer_holds_what_was_agreed_on() -> None:
    data = bare("/ws", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate")
    accepted = scan_upgrade(data, WITH_DEFLATE, DEFAULT_LIMITS)
    assert accepted is not None
    assert (accepted.subprotocol, accepted.deflate is not None) == ("b", True)
    assert accepted.response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )


def test_accept_is_the_hash_of_the_key() -> None:
    dice = random.Random(1)  # noqa: S311 not for secrets
    for _ in range(200):
        key = base64.b64encode(dice.randbytes(16))
        accepted = scan(bare().replace(b"dGhlIHNhbXBsZSBub25jZQ==", key))
        assert accepted is not None
        digest = hashlib.sha1(key + GUID, usedforsecurity=False).digest()
        assert b"\r\nSec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n" in accepted.response


def test_rest_of_the_request_is_there_when_it_is_asked_for() -> None:
    accepted = scan(request(b"GET /ws?a=b HTTP/1.1"))
    assert accepted is not None
    known = accepted.request
    assert (known.path, known.query, known.target, known.method) == ("/ws", "a=b", "/ws?a=b", "GET")
    assert known.header(b"pragma") == b"no-cache"
    assert known.websocket
    with pytest.raises(AttributeError):
        known.nothing  # type: ignore[attr-defined]  # noqa: B018
