"""Where ours is stricter than wsproto 1.3.2, one by one, and its known crashes, which are refusals here.

The rows of `STRICTER` are the table of `docs/decisions/0003-handshake.md`.  Each is first shown to be
something that wsproto lets in, so that a row goes when wsproto catches up.
"""

from __future__ import annotations

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request as WsprotoRequest
from wsproto.extensions import PerMessageDeflate

from gateway.connection import handshake
from gateway.connection.handshake import Accepted, DeflateOptions, RouteOptions
from gateway.connection.wsproto_verdict import Verdict, judge

from .handshake_requests import ACCEPT, KEY, judged_every_way, label_of, request, status_of

MANY = [b"A: b"] * 100
STRICTER = {
    "Content-Length on an upgrade": (request(extra=[b"Content-Length: 5"]), 400, "body_on_upgrade"),
    "empty body announced on an upgrade": (request(extra=[b"Content-Length: 0"]), 400, "body_on_upgrade"),
    "Transfer-Encoding on an upgrade": (request(extra=[b"Transfer-Encoding: chunked"]), 400,
    "body_on_upgrade"),
    "repeated key": (request(extra=[b"Sec-WebSocket-Key: " + KEY]), 400, "bad_key"),
    "malformed key": (request(changed={b"Sec-WebSocket-Key": b"x"}), 400, "bad_key"),
    "repeated version": (request(extra=[b"Sec-WebSocket-Version: 13"]), 400, "no_version"),
    "repeated Origin": (request(extra=[b"Origin: http://example.com:8000"]), 403, "origin"),
    "HTTP/1.0": (request(b"GET /ws HTTP/1.0"), 400, "http_version"),
    "HTTP/2.0": (request(b"GET /ws HTTP/2.0"), 400, "http_version"),
    "bare line feeds": (request().replace(b"\r\n", b"\n"), 400, "bad_header"),
    "one bare line feed": (request().replace(b"\r\nPragma", b"\nPragma"), 400, "bad_header"),
    "folded line": (request(extra=[b"X: y", b" z"]), 400, "bad_header"),
    "control character in a value": (request(extra=[b"X: \x01"]), 400, "bad_header"),
    "delete character in a value": (request(extra=[b"X: \x7f"]), 400, "bad_header"),
    "empty Host": (request(changed={b"Host": b"", b"Origin": None}), 400, "bad_host"),
    "malformed Host": (request(changed={b"Host": b"a/b", b"Origin": None}), 400, "bad_host"),
    "Host longer than a name can be": (
        request(changed={b"Host": b"a" * 260, b"Origin": None}), 400, "bad_host"),
    "fragment in the target": (request(b"GET /ws#x HTTP/1.1"), 400, "bad_target"),
    "target of another form": (request(b"GET ws HTTP/1.1"), 400, "bad_target"),
    "target for another host": (request(b"GET http://other/ws HTTP/1.1"), 400, "bad_target"),
    "extensions that break the grammar": (
        request(changed={b"Sec-WebSocket-Extensions": b"permessage-deflate; =1"}), 400, "bad_extensions"),
    "extensions longer than 2 KiB": (
        request(changed={b"Sec-WebSocket-Extensions": b"permessage-deflate," * 108}), 431, "head_too_large"),
    "page of another host": (request(changed={b"Origin": b"http://evil.com"}), 403, "origin"),
    "path that is not served": (request(b"GET /other HTTP/1.1"), 404, "not_found"),
    "too many headers": (request(extra=MANY), 431, "head_too_large"),
    "line too long": (request(extra=[b"A: " + b"b" * 9000]), 431, "head_too_large"),
    "head too large": (request(extra=[b"A: " + b"b" * 7000] * 5), 431, "head_too_large"),
}  # fmt: skip
CRASHES = {
    "Host that is no punycode": (b"Host", b"xn--0", "bad_host"),
    "Host that is not ASCII": (b"Host", b"ex\xe4mple.com", "bad_host"),
    "subprotocol that is not ASCII": (b"Sec-WebSocket-Protocol", b"\xff", "bad_subprotocol"),
    "extensions that are not ASCII": (b"Sec-WebSocket-Extensions", b"\xff", "bad_extensions"),
    "Connection that is not ASCII": (b"Connection", b"\xff, Upgrade", "bad_connection"),
}


def wsproto_reads(data: bytes) -> WsprotoRequest:
    """Return the request as wsproto reads it; whatever wsproto raises comes through."""
    connection = WSConnection(ConnectionType.SERVER)
    connection.receive_data(data)
    event = next(connection.events())
    assert isinstance(event, WsprotoRequest)
    return event


@pytest.mark.parametrize(("data", "status", "label"), STRICTER.values(), ids=STRICTER.keys())
def test_what_wsproto_lets_in_is_refused_by_a_rule_of_ours(data: bytes, status: int, label: str) -> None:
    assert isinstance(wsproto_reads(data), WsprotoRequest)
    outcome = judged_every_way(data)
    assert (status_of(outcome), label_of(outcome)) == (status, label)


@pytest.mark.parametrize(("name", "value", "label"), CRASHES.values(), ids=CRASHES.keys())
def test_what_makes_wsproto_raise_anything_is_a_plain_refusal(name: bytes, value: bytes, label: str) -> None:
    data = request(changed={name: value, b"Origin": None})
    with pytest.raises(UnicodeError):
        wsproto_reads(data)
    outcome = judged_every_way(data)
    assert (status_of(outcome), label_of(outcome)) == (400, label)


@pytest.mark.parametrize("value", [b"abc", b"", b"1.5", b"\xb2"])
def test_window_bits_that_make_wsproto_raise_are_declined_or_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|codec"):
        PerMessageDeflate().accept("permessage-deflate; client_max_window_bits=" + value.decode("ascii"))
    changed: dict[bytes, bytes | None] = {
        b"Sec-WebSocket-Extensions": b"permessage-deflate; client_max_window_bits=" + value
    }
    outcome = judged_every_way(request(changed=changed), {"/ws": RouteOptions(deflate=DeflateOptions())})
    if value in {b"", b"\xb2"}:
        assert (status_of(outcome), label_of(outcome)) == (400, "bad_extensions")
    else:
        assert isinstance(outcome, Accepted)
        assert outcome.deflate is None


def test_internationalized_host_with_a_port_is_accepted_although_wsproto_cannot_decode_it() -> None:
    data = request(
        changed={b"Host": b"xn--e1afmkfd.xn--p1ai:8000", b"Origin": b"http://xn--e1afmkfd.xn--p1ai:8000"}
    )
    with pytest.raises(UnicodeError):
        wsproto_reads(data)
    assert status_of(judged_every_way(data)) == 101


UNUSUAL = {
    "two Connection headers": [b"Connection: Upgrade"],
    "two Upgrade headers": [b"Upgrade: WebSocket"],
    "two Sec-WebSocket-Protocol headers": [
        b"Sec-WebSocket-Protocol: x",
        b"Sec-WebSocket-Protocol: ringgate.v1.json",
    ],
    "two Sec-WebSocket-Extensions headers": [b"Sec-WebSocket-Extensions: mux"],
}


@pytest.mark.parametrize("extra", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_handshake_is_judged_and_answered_by_wsproto(
    extra: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def judge_and_note(head: bytes) -> Verdict | int:
        asked.append(head)
        return judge(head)

    monkeypatch.setattr(handshake, "judge", judge_and_note)
    outcome = judged_every_way(
        request(extra=extra), {"/ws": RouteOptions(("ringgate.v1.json",), deflate=DeflateOptions())}
    )
    assert asked
    assert isinstance(outcome, Accepted)
    assert outcome.response.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n" in outcome.response
    assert outcome.subprotocol == ("ringgate.v1.json" if b"Protocol" in extra[0] else "")
    assert outcome.deflate is not None
    assert outcome.deflate.header_value() in outcome.response


def test_common_handshake_is_not_shown_to_wsproto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(handshake, "judge")
    assert status_of(judged_every_way(request())) == 101
