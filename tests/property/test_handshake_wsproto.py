"""Generated requests: the handshake is held to wsproto's verdict.

Whenever ours accepts, wsproto accepts the same bytes, reads the same request and would answer the same;
whenever wsproto refuses or raises, ours refuses.  The one exception is the port of an internationalized
host, which wsproto cannot decode and which is not generated (`docs/decisions/0003-handshake.md`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.events import Request as WsprotoRequest
from wsproto.extensions import PerMessageDeflate

from gateway.connection import handshake
from gateway.connection._upgrade import scan_upgrade
from gateway.connection.handshake import Accepted, DeflateOptions, DeflateParameters, RouteOptions, respond
from gateway.connection.negotiate import negotiate_deflate, parse_extensions
from gateway.connection.request import DEFAULT_LIMITS

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
SUBPROTOCOLS = ("ringgate.v1.json", "b")
ROUTES = {"/ws": RouteOptions(SUBPROTOCOLS, origins=("*",), deflate=DeflateOptions(15, takeover=True))}

JUNK = st.binary(max_size=12) | st.text(alphabet="aA1-_.,;= \t\"'\x00\r\n\x7f", max_size=12).map(str.encode)
BITS = st.sampled_from([b"", b"=8", b"=9", b"=10", b"=15", b"=16", b"=09", b"=abc", b'="12"', b"=", b" = 11"])
PARAMETER = st.one_of(
    st.tuples(st.sampled_from([b"client_max_window_bits", b"server_max_window_bits"]), BITS).map(b"".join),
    st.sampled_from([b"client_no_context_takeover", b"server_no_context_takeover", b"unknown", b"a=b", b""]),
)
OFFER = st.tuples(
    st.sampled_from([b"permessage-deflate"] * 4 + [b"mux", b""]), st.lists(PARAMETER, max_size=3)
)
EXTENSIONS = (
    st.lists(OFFER.map(lambda offer: b"; ".join([offer[0], *offer[1]])), max_size=3).map(b", ".join) | JUNK
)
SEPARATOR = st.sampled_from([b", ", b",", b" ,\t"])
PROTOCOL = st.sampled_from([b"ringgate.v1.json", b"b", b"B", b"x", b"", b"a b", b"\xff", b'"b"'])


def joined(parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(SEPARATOR, st.lists(parts, min_size=1, max_size=4)).map(
        lambda pair: pair[0].join(pair[1])
    )


VALUES: dict[bytes, st.SearchStrategy[bytes]] = {
    b"Host": st.sampled_from(
        [b"example.com", b"h:80", b"[::1]:8000", b"xn--bcher-kva.de", b"xn--0", b"a..b", b"\xe4", b""]
    ),
    b"Connection": joined(
        st.sampled_from([b"Upgrade", b"upgrade", b"keep-alive", b"close", b"", b"Upgraded", b"\xff"])
    ),
    b"Upgrade": st.sampled_from(
        [b"websocket", b"WebSocket", b"h2c", b"websocket, h2c", b"websocket/13", b""]
    ),
    b"Sec-WebSocket-Version": st.sampled_from([b"13", b"8", b"13, 8", b"013", b""]),
    b"Sec-WebSocket-Key": st.sampled_from([KEY, KEY[:-1], b"A" * 24, b"", KEY + b"," + KEY]),
    b"Sec-WebSocket-Protocol": joined(PROTOCOL),
    b"Sec-WebSocket-Extensions": EXTENSIONS,
    b"Origin": st.sampled_from([b"http://example.com", b"null", b""]),
    b"Content-Length": st.sampled_from([b"0", b"5", b"x"]),
    b"Transfer-Encoding": st.sampled_from([b"chunked", b"gzip"]),
    b"Cookie": st.sampled_from([b"a=b", b"a=\xc3\xa4", b"\x01", b""]),
}
USUAL = {b"Host": b"example.com", b"Connection": b"Upgrade", b"Upgrade": b"websocket",
b"Sec-WebSocket-Version": b"13",
         b"Sec-WebSocket-Key": KEY}  # fmt: skip
LINE = st.sampled_from([b"GET /ws HTTP/1.1"] * 12 + [b"GET /ws HTTP/1.0", b"POST /ws HTTP/1.1",
b"GET /ws?x HTTP/1.1",
                       b"GET /ws", b"get /ws HTTP/1.1", b"GET http://example.com/ws HTTP/1.1",
                       b"GET /ws HTTP/1.2"])  # fmt: skip
GOOD_COLON = st.sampled_from([b": ", b":", b":\t "])
COLON = st.sampled_from([b": "] * 10 + [b":", b":\t ", b" : ", b""])
END = st.sampled_from([b"\r\n"] * 40 + [b"\n", b"\r\n "])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request near an upgrade: usual headers, some of them changed, left out, doubled or moved."""
    broken = draw(st.integers(0, 7)) == 7
    colon, end = (COLON, END) if broken else (GOOD_COLON, st.just(b"\r\n"))
    headers = dict(USUAL)
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3)):
        headers[name] = draw(VALUES[name])
    for name in (
        draw(st.lists(st.sampled_from(sorted(USUAL)), max_size=1)) if draw(st.integers(0, 3)) == 3 else []
    ):
        headers.pop(name, None)
    lines = list(headers.items())
    doubled = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=2))
    lines += [(name, draw(VALUES[name])) for name in doubled]
    if draw(st.integers(0, 9)) == 9:
        lines.append((draw(JUNK), draw(JUNK)))
    spelled = [
        (draw(st.sampled_from([name, name.lower(), name.upper()])), value)
        for name, value in draw(st.permutations(lines))
    ]
    ended = [name + draw(colon) + value + draw(end) for name, value in spelled]
    return draw(LINE) + draw(end) + b"".join(ended) + b"\r\n"


def wsproto_reads(data: bytes) -> tuple[WSConnection, WsprotoRequest] | None:
    """Return what wsproto makes of the bytes, or None where it refuses or raises anything at all."""
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.receive_data(data)
        read = next(connection.events(), None)
    except Exception:  # noqa: BLE001  every kind of failure is a refusal
        return None
    return (connection, read) if isinstance(read, WsprotoRequest) else None


def header_of(response: bytes, name: bytes) -> bytes:
    """Return a header of an answer, without regard to case, or b""."""
    for line in response.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return b""


def test_the_strategy_yields_all_three_kinds() -> None:
    seen: set[str] = set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(requests())
    def look(data: bytes) -> None:
        outcome = respond(data, ROUTES)
        read = wsproto_reads(data)
        seen.add(
            "accepted"
            if isinstance(outcome, Accepted)
            else "ours refuses"
            if read is not None
            else "both refuse"
        )

    look()
    assert seen == {"accepted", "ours refuses", "both refuse"}


@settings(max_examples=400, deadline=None)
@given(requests())
@example(
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    b"\r\nSec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Protocol: b,ringgate.v1.json\r\n\r\n"
)
def test_ours_accepts_only_what_wsproto_accepts_and_answers_the_same(data: bytes) -> None:
    outcome = respond(data, ROUTES)
    read = wsproto_reads(data)
    if not isinstance(outcome, Accepted):
        event("refused")
        assert outcome is None or outcome.status != 500
        return
    event("accepted")
    assert read is not None
    connection, request = read
    assert request.target == outcome.request.target
    assert request.host == outcome.request.fields[b"host"].decode("idna")
    offered = [name for name in request.subprotocols if name in SUBPROTOCOLS]
    assert outcome.subprotocol == (offered[0] if offered else "")
    answer = connection.send(AcceptConnection(subprotocol=outcome.subprotocol or None))
    assert outcome.response.startswith(b"HTTP/1.1 101 ")
    for name in (b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol"):
        assert header_of(outcome.response, name) == header_of(answer, name)


@settings(max_examples=150, deadline=None)
@given(requests())
def test_direct_path_and_wsproto_path_come_to_the_same_outcome(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handshake, "scan_upgrade", lambda *_: None)
        direct = respond(data, ROUTES)
        patch.setattr(handshake, "_is_common", lambda _: False)
        judged = respond(data, ROUTES)
    if isinstance(direct, Accepted) and isinstance(judged, Accepted):
        assert (direct.subprotocol, direct.deflate) == (judged.subprotocol, judged.deflate)
    else:
        assert direct == judged


@settings(max_examples=400, deadline=None)
@given(requests())
def test_what_is_accepted_in_one_pass_is_accepted_all_the_same_when_it_is_taken_apart(data: bytes) -> None:
    scanned = scan_upgrade(data, ROUTES, DEFAULT_LIMITS)
    if scanned is None:
        event("left to others")
        return
    event("accepted in one pass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handshake, "scan_upgrade", lambda *_: None)
        direct = respond(data, ROUTES)
    assert isinstance(direct, Accepted)
    assert scanned[:3] == direct[:3]
    assert (scanned.request.path, scanned.request.query) == (direct.request.path, direct.request.query)
    assert (scanned.request.head, scanned.request.headers) == (direct.request.head, direct.request.headers)


def meaning(header: bytes) -> DeflateParameters:
    """Return what an answer of wsproto's says, by RFC 7692 section 7.1."""
    flags: dict[str, bool] = {}
    bits: dict[str, int] = {}
    for part in header.decode().split("; "):
        name, equals, value = part.partition("=")
        if equals:
            bits[name] = int(value)
        elif name:
            flags[name] = True
    return DeflateParameters(
        bits.get("server_max_window_bits", 15),
        bits.get("client_max_window_bits", 15),
        flags.get("server_no_context_takeover", False),
        flags.get("client_no_context_takeover", False),
    )


def wsproto_accepts(offer: str) -> DeflateParameters | None:
    try:
        answer = PerMessageDeflate().accept(offer)
    except ValueError:
        return None
    return meaning(answer.encode()) if isinstance(answer, str) else None


@settings(max_examples=300, deadline=None)
@given(st.lists(PARAMETER, max_size=4))
@example([b"client_max_window_bits"])
@example([b"server_max_window_bits=10", b"client_max_window_bits=9"])
def test_offer_that_is_accepted_means_to_wsproto_what_it_means_to_us(parameters: Sequence[bytes]) -> None:
    value = b"; ".join([b"permessage-deflate", *parameters])
    offers = parse_extensions(value)
    if offers is None or b'"' in value:  # wsproto does not know quoted values
        return
    ours = negotiate_deflate(offers, DeflateOptions(15, takeover=True))
    if ours is not None:
        assert wsproto_accepts(value.decode()) == ours


@settings(max_examples=250, deadline=None)
@given(st.binary(max_size=200) | st.lists(JUNK, max_size=12).map(b"\r\n".join) | requests(), st.data())
def test_any_bytes_have_the_same_outcome_whole_and_cut(data: bytes, draw: st.DataObject) -> None:
    whole = respond(data, ROUTES)
    assert whole is None or isinstance(whole, Accepted) or whole.status != 500
    cut = draw.draw(st.integers(0, len(data)))
    first = respond(data[:cut], ROUTES)
    if first is None:
        return
    assert isinstance(first, Accepted) == isinstance(whole, Accepted)
    if not isinstance(first, Accepted):
        assert first == whole
