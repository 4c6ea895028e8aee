"""The answers of the opening handshake, what a request gives to later code, and what calling it costs."""

from __future__ import annotations

import time

import pytest

from gateway.connection import handshake
from gateway.connection.answers import HEALTHY, REFUSALS, Refusal, refuse
from gateway.connection.handshake import (
    Accepted,
    DeflateOptions,
    HeadLimits,
    Plain,
    Request,
    RouteOptions,
    head_is_decidable,
    parse_request,
    respond,
    unavailable,
    upgrade,
)
from gateway.connection.request import redact_target

from .handshake_requests import ACCEPT, ROUTES, judged_every_way, label_of, plain, request, status_of


def accepted(data: bytes, options: RouteOptions | None = None) -> Accepted:
    outcome = judged_every_way(data, {"/ws": options or RouteOptions()})
    assert isinstance(outcome, Accepted)
    return outcome


def test_browser_upgrade_is_answered_as_the_rfc_says() -> None:
    outcome = accepted(request(), RouteOptions(("ringgate.v1.json",)))
    assert outcome.response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )
    assert (outcome.subprotocol, outcome.deflate) == ("", None)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (b"b", "b"),
        (b"a, b", "a"),
        (b"b, a", "b"),  # the client's preference counts
        (b"x,\tb ,a2", "b"),
        (b"x", ""),
        (b"A", ""),
        (b"", ""),
        (b"aa, bb", ""),
        (b'"a"', ""),
        (b"x, a;q=1", ""),
        (None, ""),
    ],
)
def test_subprotocol_is_the_first_of_ours_that_is_offered(offered: bytes | None, selected: str) -> None:
    data = request(changed={b"Sec-WebSocket-Protocol": offered})
    outcome = accepted(data, RouteOptions(("a", "b")))
    assert outcome.subprotocol == selected
    line = b"\r\nSec-WebSocket-Protocol: " + selected.encode() + b"\r\n"
    assert (line in outcome.response) == bool(selected)
    assert accepted(data).subprotocol == ""


@pytest.mark.parametrize("label", REFUSALS)
def test_every_refusal_is_a_complete_http_answer_that_closes(label: str) -> None:
    refusal = refuse(label) if label != "unavailable" else unavailable(7)
    head, _, body = refusal.response.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    headers = {name: value for name, _, value in (line.partition(b": ") for line in lines)}
    assert status_line.split(b" ")[:2] == [b"HTTP/1.1", str(refusal.status).encode()]
    assert headers[b"Content-Length"] == str(len(body)).encode()
    assert headers[b"Connection"].split(b", ")[0] == b"close"
    assert body.endswith((b".\n", b"?\n"))
    assert headers.get(b"Allow") == (b"GET" if refusal.status == 405 else None)
    assert headers.get(b"Upgrade") == (b"websocket" if refusal.status == 426 else None)
    assert headers.get(b"Retry-After") == (b"7" if refusal.status == 503 else None)
    has_version = refusal.status == 426 or label == "no_version"
    assert headers.get(b"Sec-WebSocket-Version") == (b"13" if has_version else None)


def test_statuses_are_those_that_the_documentation_lists() -> None:
    assert {info.status for info in REFUSALS.values()} == {400, 403, 404, 405, 413, 426, 429, 431, 500, 503}


CAUSES = {
    "not_http": b"\x16\x03\x01",
    "bad_request_line": request(b"GET /ws"),
    "bad_target": request(b"GET * HTTP/1.1"),
    "http_version": request(b"GET /ws HTTP/3.0"),
    "bad_header": request(extra=[b"nonsense"]),
    "bad_host": request(changed={b"Host": None}),
    "bad_framing": plain(b"GET /ws HTTP/1.1", b"Content-Length: x"),
    "body_on_upgrade": request(extra=[b"Content-Length: 1"]),
    "bad_connection": request(changed={b"Connection": b"close"}),
    "bad_upgrade": request(changed={b"Upgrade": b"websocket2"}),
    "no_version": request(changed={b"Sec-WebSocket-Version": None}),
    "bad_version": request(changed={b"Sec-WebSocket-Version": b"8"}),
    "bad_key": request(changed={b"Sec-WebSocket-Key": None}),
    "bad_subprotocol": request(changed={b"Sec-WebSocket-Protocol": b"\xff"}),
    "bad_extensions": request(changed={b"Sec-WebSocket-Extensions": b";"}),
    "origin": request(changed={b"Origin": b"null"}),
    "not_found": request(b"GET / HTTP/1.1"),
    "method": request(b"POST /ws HTTP/1.1"),
    "body": plain(b"GET /ws HTTP/1.1", b"Content-Length: 1"),
    "upgrade_required": plain(b"GET /ws HTTP/1.1"),
    "head_too_large": b"x" * 40000,
}


@pytest.mark.parametrize(("label", "data"), CAUSES.items())
def test_every_cause_has_its_own_label(label: str, data: bytes) -> None:
    assert label_of(judged_every_way(data)) == label


def test_every_label_has_a_cause_but_those_without_a_request() -> None:
    assert set(REFUSALS) - set(CAUSES) == {"internal", "unavailable", "bad_handshake", "address_limit"}


def test_answer_to_head_has_no_body() -> None:
    outcome = judged_every_way(plain(b"HEAD /ws HTTP/1.1"))
    assert isinstance(outcome, Refusal)
    assert outcome.response.endswith(b"\r\n\r\n")
    assert b"\r\nAllow: GET\r\n" in outcome.response


def test_health_is_answered_with_ok() -> None:
    outcome = judged_every_way(plain())
    assert outcome is HEALTHY
    assert isinstance(outcome, Plain)
    assert outcome.response.endswith(b"\r\n\r\nok\n")


def test_nothing_of_the_request_comes_back_in_a_refusal() -> None:
    for data in CAUSES.values():
        outcome = respond(data.replace(b"example", b"canary42"), ROUTES)
        assert outcome is not None
        assert b"canary42" not in outcome.response


def test_a_fault_of_ours_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(handshake, "scan_upgrade", fail)
    assert label_of(respond(request(), ROUTES)) == "internal"
    monkeypatch.setattr(handshake, "scan_upgrade", lambda *_: None)
    monkeypatch.setattr(handshake, "_route", fail)
    assert label_of(respond(request(), ROUTES)) == "internal"


def test_upgrade_alone_keeps_the_rules_that_respond_keeps() -> None:
    for data, label in (
        (request(b"POST /ws HTTP/1.1"), "method"),
        (request(extra=[b"Content-Length: 0"]), "body_on_upgrade"),
        (plain(b"GET /ws HTTP/1.1"), "upgrade_required"),
    ):
        parsed = parse_request(data)
        assert isinstance(parsed, Request)
        assert label_of(upgrade(parsed, RouteOptions())) == label


def test_request_gives_what_later_code_needs() -> None:
    data = request(
        b"GET /ws?token=a%20b&x=%3F? HTTP/1.1", extra=[b"authorization:  Bearer abc ", b"X-A: 1", b"x-a: 2"]
    )
    parsed = parse_request(data + b"\x81\x80")
    assert isinstance(parsed, Request)
    assert (parsed.method, parsed.path, parsed.query) == ("GET", "/ws", "token=a%20b&x=%3F?")
    assert parsed.target == "/ws?token=a%20b&x=%3F?"
    assert parsed.header(b"authorization") == b"Bearer abc"
    assert parsed.header(b"x-a") == b"1"
    assert parsed.values(b"x-a") == [b"1", b"2"]
    assert parsed.repeated == {b"x-a"}
    assert parsed.header(b"missing") is None
    assert parsed.headers[0] == (b"host", b"example.com:8000")
    assert parsed.consumed == len(data)
    assert parsed.websocket
    assert parsed.safe_target == "/ws?token=[redacted]&x=%3F?"


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/ws", "/ws"),
        ("/ws?", "/ws?"),
        ("/ws?token=", "/ws?token=[redacted]"),
        ("/ws?token=SECRET", "/ws?token=[redacted]"),
        ("/ws?token=SECRET&token=SECRET", "/ws?token=[redacted]&token=[redacted]"),
        ("/ws?a=1&token=SECRET&b=2", "/ws?a=1&token=[redacted]&b=2"),
        ("/ws?TOKEN=SECRET", "/ws?TOKEN=[redacted]"),
        ("/ws?%74o%6Ben=SECRET", "/ws?%74o%6Ben=[redacted]"),
        ("/ws?+token+=SECRET", "/ws?+token+=[redacted]"),
        ("/ws?token=SECRET=SECRET?SECRET", "/ws?token=[redacted]"),
        ("/ws?a;token=SECRET;SECRET&b", "/ws?a;token=[redacted]&b"),
        ("/ws?a=b;token=SECRET", "/ws?a=b;token=[redacted]"),
        ("/ws?&&token=SECRET", "/ws?&&token=[redacted]"),
        ("/ws??token=SECRET", "/ws??token=[redacted]"),
        ("/ws?x?token=SECRET", "/ws?x?token=[redacted]"),
        ("/ws?tokens=1&mytoken=2&token", "/ws?tokens=1&mytoken=2&token"),
        ("/token=1", "/token=1"),
        ("/a\nb?c\r\x00\x7f\x1b", "/a\\nb?c\\r\\x00\\x7f\\x1b"),
        ("/ä€\ud800", "/\\xe4\\u20ac\\ud800"),
    ],
)
def test_target_is_redacted_and_escaped_for_logs(target: str, safe: str) -> None:
    assert redact_target(target) == safe


def test_every_character_below_256_is_harmless_in_a_safe_target() -> None:
    safe = redact_target("/" + "".join(map(chr, range(256))))
    assert safe.isascii()
    assert safe.isprintable()


def test_limits_are_those_given() -> None:
    data = plain(b"GET /health/live HTTP/1.1", b"A: b", b"C: d")
    for limits, status in (
        (HeadLimits(25, 3, len(data)), 200),
        (HeadLimits(24, 3, len(data)), 431),
        (HeadLimits(25, 2, len(data)), 431),
        (HeadLimits(25, 3, len(data) - 1), 431),
        (HeadLimits(25, 1000, len(data)), 200),
    ):
        assert status_of(respond(data, ROUTES, limits)) == status


def test_bytearrays_are_taken_and_left_alone() -> None:
    buffer = bytearray(request() + b"\x81")
    outcome = respond(buffer, ROUTES)
    assert isinstance(outcome, Accepted)
    assert buffer == request() + b"\x81"
    del buffer[:]
    assert isinstance(outcome.request.head, bytes)


def test_head_is_decidable_exactly_when_parsing_decides() -> None:
    for data in (
        *CAUSES.values(),
        request(),
        plain(),
        request().replace(b"\r\n", b"\n"),
        b"GET / HTTP/1.1\r\nA: b\n\n",
    ):
        buffer = bytearray()
        for seen_bytes, byte in enumerate(data[:2000]):
            buffer.append(byte)
            assert head_is_decidable(buffer, seen_bytes) == (parse_request(buffer) is not None)
            if parse_request(buffer) is not None:
                break


class CountingBuffer(bytearray):
    """A buffer that counts how many of its bytes it was asked to search."""

    searched_bytes = 0

    def find(self, what: bytes, start: int = 0) -> int:  # type: ignore[override]
        self.searched_bytes += len(self) - start
        return super().find(what, start)


@pytest.mark.parametrize("read_bytes", [1, 2, 3, 7, 1000])
def test_small_reads_cost_linear_time(read_bytes: int) -> None:
    buffer = CountingBuffer()
    data = b"GET /ws HTTP/1.1\r\n" + b"A: b\r\n" * 5000
    for start in range(0, 30_000, read_bytes):
        seen_bytes = len(buffer)
        buffer += data[start : start + read_bytes]
        assert not head_is_decidable(buffer, seen_bytes)
    assert len(buffer) >= 30_000
    assert buffer.searched_bytes <= 2 * 3 * len(buffer)


BIG = 31_000
WORST = {
    "values of spaces": request(extra=[b"X:" + b" " * 8000] * 3),
    "commas in Connection": request(changed={b"Connection": b"," * 8000}),
    "commas in protocols": request(changed={b"Sec-WebSocket-Protocol": b"," * 8000}),
    "too many offers": request(extra=[b"Sec-WebSocket-Extensions: " + b"permessage-deflate;a," * 380] * 3),
    "offers": request(changed={b"Sec-WebSocket-Extensions": b"permessage-deflate;a," * 97}),
    "parameters": request(changed={b"Sec-WebSocket-Extensions": b"permessage-deflate" + b";a" * 1014}),
    "open quotes": request(changed={b"Sec-WebSocket-Extensions": b'a;b="' + b"\\a" * 1020}),
    "quotes": request(changed={b"Sec-WebSocket-Extensions": b'a;b="c";' * 255}),
    "long host": request(changed={b"Host": b"a." * 4000}),
    "long punycode": request(changed={b"Host": b"xn--" + b"a" * 249, b"Origin": None}),
    "punycode labels": request(changed={b"Host": b"xn--p1ai." * 28, b"Origin": None}),
    "long origin": request(changed={b"Origin": b"http://" + b"a." * 4000 + b"/"}),
    "repeated names": request(extra=[b"A: b"] * 52),
    "line feeds": b"G\n" * (BIG // 2),
    "carriage returns": b"G" + b"\r" * BIG + b"\n\r\n",
    "colons": request(extra=[b":" * 8000] * 3),
    "spaces in the request line": request(b"GET" + b" " * 8000),
}


@pytest.mark.parametrize("data", WORST.values(), ids=WORST.keys())
def test_no_head_within_the_bounds_is_slow(data: bytes) -> None:
    routes = {"/ws": RouteOptions(("a",), deflate=DeflateOptions())}
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        respond(data, routes)
        best = min(best, time.process_time() - start)
    assert best < 0.02  # generous: the slowest takes 2 ms
