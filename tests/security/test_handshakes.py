"""Handshakes that smuggle, forge an origin or flood with headers, sent to the running gateway.

The whole tables (300 attempts to smuggle, 60 origins, 1,200 variants) are in `tests/unit/connection/`; here a
sample of each meets the live port, where what follows a request and whether the connection ends can be seen.
"""

from __future__ import annotations

import pytest

from tests.security.client import Client, answer_to, connect, read_all, upgrade
from tests.security.conftest import Launch, Watch
from tests.security.target import Target
from tests.support.frames import frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SECOND = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
COMMAND = frame(1, b'{"type":"publish","channel":"smuggled","data":1}')
SMUGGLED = [
    ("content-length", {"Content-Length": "5"}, 400, "body_on_upgrade"),
    ("content-length-0", {"Content-Length": "0"}, 400, "body_on_upgrade"),
    ("content-length-of-a-request", {"Content-Length": str(len(SECOND))}, 400, "body_on_upgrade"),
    ("content-length-plus", {"Content-Length": "+5"}, 400, "body_on_upgrade"),
    ("chunked", {"Transfer-Encoding": "chunked"}, 400, "body_on_upgrade"),
    ("chunked-disguised", {"Transfer-Encoding": "\x0bchunked"}, 400, "bad_header"),
    ("both", {"Content-Length": "5", "Transfer-Encoding": "chunked"}, 400, "body_on_upgrade"),
    ("wrong-version", {"Sec-WebSocket-Version": "12"}, 426, "bad_version"),
    ("no-version", {"Sec-WebSocket-Version": ""}, 400, "no_version"),
    ("bad-key", {"Sec-WebSocket-Key": "AAAA"}, 400, "bad_key"),
    ("two-keys", {"Sec-WebSocket-Key": f"{KEY}\r\nSec-WebSocket-Key: {KEY}"}, 400, "bad_key"),
    ("two-versions", {"Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 13"}, 400, "no_version"),
    ("folded", {"X": "a\r\n b"}, 400, "bad_header"),
    ("space-before-colon", {"X ": "a"}, 400, "bad_header"),
    ("nul", {"X": "a\0b"}, 400, "bad_header"),
    ("bare-cr", {"X": "a\rb"}, 400, "bad_header"),
    ("two-hosts", {"Host": "a\r\nHost: b"}, 400, "bad_host"),
    ("no-host", {"Host": ""}, 400, "bad_host"),
    ("no-upgrade", {"Upgrade": ""}, 426, "upgrade_required"),
    ("other-upgrade", {"Upgrade": "h2c"}, 426, "upgrade_required"),
    ("origin", {"Origin": "http://evil.example"}, 403, "origin"),
    ("long-line", {"X": "x" * 9000}, 431, "head_too_large"),
    ("many-headers", {f"X{n}": "x" for n in range(70)}, 431, "head_too_large"),
]  # fmt: skip


def heads(answer: bytes) -> int:
    return answer.count(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("headers", "status", "label"), [row[1:] for row in SMUGGLED], ids=[row[0] for row in SMUGGLED]
)
@pytest.mark.parametrize("together", [True, False], ids=["pipelined", "later"])
def test_what_follows_a_refused_upgrade_is_never_answered(
    shared: Target, headers: dict[str, str], status: int, label: str, together: bool
) -> None:
    request = upgrade(headers=headers)
    behind = SECOND * 3 + COMMAND
    with shared.refuses(label), connect(shared.port) as sock:
        sock.sendall(request + behind if together else request)
        answer = sock.recv(65536)
        if not together:
            sock.sendall(behind)
        answer += read_all(sock)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert heads(answer) == 1
    assert b"\r\nConnection: close" in answer
    assert (status == 426) == (b"Sec-WebSocket-Version: 13\r\n" in answer and label != "no_version")


def test_nothing_smuggled_was_published(shared: Target) -> None:
    for _, headers, _, _ in SMUGGLED:
        answer_to(shared.port, upgrade(headers=headers) + COMMAND)
    status, body = shared.http("GET", "/api/channels/smuggled/history")
    assert status == 200
    assert b'"publications":[]' in body


def test_a_second_request_behind_a_plain_one_is_not_answered_either(shared: Target) -> None:
    answer = answer_to(shared.port, SECOND * 5)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert heads(answer) == 1


def test_an_http_request_behind_an_accepted_upgrade_is_a_bad_frame(shared: Target) -> None:
    with shared.closes(1002), connect(shared.port) as sock:
        sock.sendall(upgrade() + SECOND)
        answer = read_all(sock)
    assert heads(answer) == 1
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\x88" in answer


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"*1\r\n$4\r\nPING\r\n\r\n", 400),
        (b"\0" * 100, 400),
        (b"GET /" + b"x" * 40_000, 431),
        (b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, 431),
        (b"GET /ws HTTP/1.1\r\nX: " + b"y" * 40_000, 431),
    ],
    ids=["tls", "http2", "redis", "zeros", "long-path", "endless-headers", "endless-header"],
)
def test_what_is_no_request_at_all_is_answered_and_ended(shared: Target, first: bytes, status: int) -> None:
    with connect(shared.port) as sock:
        sock.sendall(first)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


# -- cross-site ---------------------------------------------------------------------------------

FOREIGN = (
    "http://evil.example", "https://evil.example", "null", "http://127.0.0.1.evil.example",
    "http://127.0.0.1",
    "http://127.0.0.1:1", "http://localhost", "http://evil.example:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://127.0.0.1:{port}@evil.example", "http://evil.example#127.0.0.1:{port}", "127.0.0.1:{port}",
    "http://127.0.0.1:{port}/", "http://127.0.0.1:{port}, http://evil.example", "file://",
    "http://[::1]:{port}",
    "http://127.1:{port}", "http://0x7f000001:{port}", "http://xn--127-6q0a.0.0.1:{port}", "http://",
)  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_site_may_not_connect(shared: Target, origin: str) -> None:
    headers = {"Origin": origin.format(port=shared.port)}
    with shared.refuses("origin"), pytest.raises(ConnectionRefusedError, match=r"^HTTP/1\.1 403 "):
        Client(shared.port, headers=headers)


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "HTTP://127.0.0.1:{port}"]
)
def test_a_page_of_the_same_host_and_port_may_connect(shared: Target, origin: str) -> None:
    shared.client(headers={"Origin": origin.format(port=shared.port)}).reset()


def test_a_list_of_origins_is_exact(launch: Launch, bystander: Watch) -> None:
    target = launch("--websocket-origins", "https://app.example.com,http://localhost:3000")
    good = (
        "https://app.example.com",
        "https://APP.example.com",
        "https://app.example.com:443",
        "http://localhost:3000",
    )
    bad = (
        *(
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.example",
            "null",
        ),
        *(
            "https://evil-app.example.com",
            "https://x.app.example.com",
            "http://localhost",
            "http://localhost:30000",
        ),
        f"http://127.0.0.1:{target.port}",
    )
    with bystander(target):
        for origin in good:
            target.client(headers={"Origin": origin}).reset()
        for origin in bad:
            with target.refuses("origin"), pytest.raises(ConnectionRefusedError, match=r"^HTTP/1\.1 403 "):
                Client(target.port, headers={"Origin": origin})
