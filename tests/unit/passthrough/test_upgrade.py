"""The gateway's handshake with an upstream: what it asks, and which answers it takes."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from gateway.connection.request import Request, parse_request
from gateway.passthrough.paths import PathTable
from gateway.passthrough.upgrade import ClientFacts, HandshakeKeys, UpstreamHandshake, UpstreamRefusedError

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FACTS = ClientFacts("192.0.2.7", "wss", "/room?x=1", "ada")


def handshake(*headers: str, facts: ClientFacts = FACTS) -> UpstreamHandshake:
    lines = [
        "GET /room?x=1&token=secret HTTP/1.1",
        "Host: edge.example",
        "Upgrade: websocket",
        "Connection: Upgrade, X-Hop",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    request = parse_request(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert isinstance(request, Request)
    return UpstreamHandshake(request, facts, HandshakeKeys().next())


def key_of(made: UpstreamHandshake) -> bytes:
    found = re.search(rb"(?i)sec-websocket-key: (\S+)\r\n", made.request)
    assert found is not None
    return found[1]


def answer(
    made: UpstreamHandshake,
    *headers: str,
    accept: bytes = b"",
    status: str = "101 Switching",
    connection: str = "Connection: Upgrade",
) -> bytes:
    right = base64.b64encode(hashlib.sha1(key_of(made) + GUID).digest())  # noqa: S324 RFC 6455 says so
    lines = [
        f"HTTP/1.1 {status}",
        "Upgrade: WebSocket",
        connection,
        f"Sec-WebSocket-Accept: {(accept or right).decode()}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_request_says_who_the_client_is_and_nothing_that_the_client_says_of_it() -> None:
    made = handshake(
        "X-Forwarded-For: 6.6.6.6",
        "x-ringgate-user: root",
        "Forwarded: for=6.6.6.6",
        "X-Hop: of this connection",
        "Keep-Alive: 5",
        "Proxy-Authorization: Basic x",
        "Authorization: Bearer y",
    )
    head, *lines = made.request.decode().split("\r\n")
    assert head == "GET /room?x=1 HTTP/1.1"
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
    assert fields.pop("sec-websocket-key") != "AAAAAAAAAAAAAAAAAAAAAA=="
    assert fields == {
        "host": "edge.example",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "authorization": "Bearer y",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-proto": "wss",
        "x-forwarded-host": "edge.example",
        "x-ringgate-user": "ada",
    }


def test_user_is_not_said_where_it_is_not_known() -> None:
    made = handshake("X-Ringgate-User: root", facts=FACTS._replace(user=""))
    assert b"ringgate" not in made.request.lower()


def test_answer_may_come_in_pieces_after_others_and_with_frames_behind_it() -> None:
    made = handshake("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate; x")
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(
        made, "Sec-WebSocket-Protocol: b", "Sec-WebSocket-Extensions: permessage-deflate"
    )
    for at in range(len(data) - 1):
        assert made.receive(data[at : at + 1]) is None
    agreed = made.receive(data[-1:] + b"\x81\x02hi")
    assert agreed is not None
    assert agreed == (b"b", b"permessage-deflate", b"\x81\x02hi")
    assert agreed.reserved_bits == 0x40


@pytest.mark.parametrize(
    ("headers", "accept", "status"),
    [
        (("Sec-WebSocket-Protocol: c",), b"", ""),
        (("Sec-WebSocket-Extensions: x-other",), b"", ""),
        (("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"), b"", ""),
        ((), base64.b64encode(b"x" * 20), ""),
        (("Upgrade: websocket",), b"", ""),
        (("Content-Length: 0",), b"", ""),
        (("Transfer-Encoding: chunked",), b"", ""),
        (("Sec-WebSocket-Accept: x",), b"", ""),
        ((), b"", "200 OK"),
        ((), b"", "302 Found"),
        ((), b"", "500 Oh"),
    ],
)
def test_answers_that_are_not_taken_are_502(headers: tuple[str, ...], accept: bytes, status: str) -> None:
    made = handshake("Sec-WebSocket-Protocol: a, b")
    with pytest.raises(UpstreamRefusedError) as refused:
        made.receive(answer(made, *headers, accept=accept, status=status or "101 Switching"))
    assert refused.value.status == 502


@pytest.mark.parametrize("line", ["X-Connection: Upgrade", "Connection: keep-alive", "Connection: Upgrades"])
def test_an_answer_whose_connection_is_not_upgraded_is_502(line: str) -> None:
    made = handshake()
    with pytest.raises(UpstreamRefusedError) as refused:
        made.receive(answer(made, connection=line))
    assert refused.value.status == 502


def test_connection_may_be_a_list_in_several_lines() -> None:
    made = handshake()
    assert (
        made.receive(answer(made, "Connection: x, UPGRADE", connection="Connection: keep-alive")) is not None
    )


def test_offers_in_several_lines_are_one_list() -> None:
    made = handshake("Sec-WebSocket-Protocol: a", "sec-websocket-protocol: b", "X-Twice: 1", "X-Twice: 2")
    assert b"\r\nSec-Websocket-Protocol: a, b\r\n" in made.request
    assert b"\r\nx-twice: 1\r\nx-twice: 2\r\n" in made.request
    assert made.receive(answer(made, "Sec-WebSocket-Protocol: b")) == (b"b", b"", b"")


def test_keys_are_16_random_bytes_and_never_the_same() -> None:
    keys = HandshakeKeys()
    given = [keys.next() for _ in range(1000)]
    assert len(set(given)) == 1000
    assert {len(base64.b64decode(key, validate=True)) for key in given} == {16}


def test_paths_match_exactly_or_below_the_longest_prefix() -> None:
    table = PathTable({"/a": 1, "/b/*": 2, "/b/c/*": 3, "/b/c/d": 4})
    asked = ["/a", "/a/", "/b", "/b/", "/b/x", "/b/c/x", "/b/c/d", "/bc", "/b/*"]
    assert [table.get(path) for path in asked] == [1, None, None, 2, 2, 3, 4, None, 2]
