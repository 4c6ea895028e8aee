"""Over 1,200 variants of a handshake, each fed whole, byte by byte, and with bytes behind it."""

from __future__ import annotations

import string
from collections.abc import Iterator

import pytest

from .handshake_requests import BROWSER, KEY, judged_every_way, label_of, plain, request, status_of

TOKEN = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
HANDSHAKE = (b"Host", b"Connection", b"Upgrade", b"Sec-WebSocket-Version", b"Sec-WebSocket-Key")
Case = tuple[str, bytes, int | None]


def with_value(name: bytes, value: bytes | None) -> bytes:
    return request(changed={name: value})


def methods() -> Iterator[Case]:
    yield "GET", request(), 101
    for (
        method
    ) in b"POST PUT DELETE OPTIONS HEAD TRACE PATCH CONNECT PRI get Get gET GETT G M-SEARCH a!b X|Y".split():
        yield repr(method), request(method + b" /ws HTTP/1.1"), 405
    for method in (
        b"",
        b" GET",
        b"\tGET",
        b"GET ",
        b"GET\t",
        b"G\xc9T",
        b"GE(T",
        b"GET,",
        b'"GET"',
        b"GET/",
        b"[GET]",
    ):
        yield repr(method), request(method + b" /ws HTTP/1.1"), 400


def versions() -> Iterator[Case]:
    yield "HTTP/1.1", request(b"GET /ws HTTP/1.1"), 101
    for version in (
        b"HTTP/1.0 HTTP/0.9 HTTP/2.0 HTTP/1.2 HTTP/1.9 HTTP/3 HTTP/2 HTTP/11 HTTP/1.10 HTTP/01.1 HTTP/1. "
        b"HTTP/.1 HTTP/ HTTP http/1.1 Http/1.1 HTTPS/1.1 HTTP/1,1 HTTP/1.1x xHTTP/1.1 HTTP/-1.1 "
        b"HTTP/1.-1 HTTP\\1.1 SIP/2.0 RTSP/1.0 1.1"
    ).split():
        yield repr(version), request(b"GET /ws " + version), 400
    for line in (b"GET /ws", b"GET /ws ", b"GET", b"/ws HTTP/1.1", b"GET  /ws HTTP/1.1", b"GET /ws  HTTP/1.1",
                 b"GET /ws HTTP/1.1 ", b"GET /ws x HTTP/1.1", b"GET\t/ws\tHTTP/1.1", b"GET /ws\tHTTP/1.1",
                 b"GET /ws HTTP/1.1\t", b"GET /w s HTTP/1.1", b"GET  HTTP/1.1",
                 b"GET /ws HTTP/1.1\x00"):  # fmt: skip
        yield repr(line), request(line), 400


def targets() -> Iterator[Case]:
    for target in (b"/ws", b"/ws?", b"/ws?token=a", b"/ws?a=b&c", b"/ws??", b"/ws?/../x", b"/ws?%00",
                   b"http://example.com:8000/ws",
                   b"HTTP://EXAMPLE.com:8000/ws?x", b"ws://example.com:8000/ws",
                   b"https://example.com:8000/ws"):  # fmt: skip
        yield repr(target), request(b"GET " + target + b" HTTP/1.1"), 101
    for target in (b"/", b"/ws/", b"//ws", b"/WS", b"/w", b"/wss", b"/ws;x", b"/ws%3F", b"/%77s", b"/./ws",
                   b"/x/../ws", b"/ws/../ws",
                   b"/ws%00", b"/ws%2f", b"/\\ws", b"/admin", b"/metrics", b"/api/publish", b"/health",
                   b"/health/ready",
                   b"/health/live/", b"http://example.com:8000/", b"http://example.com:8000",
                   b"/ws&x"):  # fmt: skip
        yield repr(target), request(b"GET " + target + b" HTTP/1.1"), 404
    for target in (b"ws", b"*", b"?", b"?/ws", b"example.com:80", b"http:///ws", b"http://other.com/ws",
                   b"http://example.com/ws",
                   b"http://user@example.com:8000/ws", b"ftp://example.com:8000/ws", b"/ws#", b"/ws#x",
                   b"#/ws", b"/#/ws", b"\\ws",
                   b"http:/ws", b"http:/example.com:8000/ws", b"//example.com:8000#/ws", b"javascript:/ws",
                   b"/ws?a#b"):  # fmt: skip
        yield repr(target), request(b"GET " + target + b" HTTP/1.1"), 400


def spellings_of_names() -> Iterator[Case]:
    for name, value in BROWSER:
        for spelling in (name.lower(), name.upper(), name.swapcase(), name.capitalize(), name.title()):
            lines = request(changed={name: None}, extra=[spelling + b": " + value])
            yield f"name {spelling!r}", lines, 101


def spaces() -> Iterator[Case]:
    for name, value in BROWSER:
        for around in (b"%s", b" %s", b"   %s", b"\t%s", b" \t %s", b" %s ", b"%s\t", b" %s \t "):
            line = name + b":" + around % value
            yield f"space {line!r}", request(changed={name: None}, extra=[line]), 101
        for line in (name + b" : " + value, name + b"\t:" + value, b" " + name + b": " + value,
                     b"\t" + name + b": " + value,
                     name + b"\r\n : " + value, name, name + b" " + value, name + b";" + value):  # fmt: skip
            yield f"space {line!r}", request(changed={name: None}, extra=[line]), 400


def bytes_in_name_value_and_query() -> Iterator[Case]:
    for code in range(256):
        byte = bytes((code,))
        is_text = byte == b"\t" or (code >= 0x20 and code != 0x7F)
        in_name = byte in (b":", *(bytes((token,)) for token in TOKEN))
        yield f"name {byte!r}", request(extra=[b"X-Na" + byte + b"me: value"]), 101 if in_name else 400
        yield f"value {byte!r}", request(extra=[b"X-Name: val" + byte + b"ue"]), 101 if is_text else 400
        in_query = 0x21 <= code <= 0x7E and byte != b"#"
        yield f"query {byte!r}", request(b"GET /ws?a" + byte + b"b HTTP/1.1"), 101 if in_query else 400


def line_ends() -> Iterator[Case]:
    good = request()
    lines = good[:-4].split(b"\r\n")
    for number in range(len(lines)):
        for wrong in (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x00\r\n", b"\x0b", b"\r\n ", b"\r\n\t"):
            start, rest = b"\r\n".join(lines[: number + 1]), b"\r\n".join(lines[number + 1 :])
            if rest:
                yield f"line {number} ended by {wrong!r}", start + wrong + rest + b"\r\n\r\n", 400
    for blank in (b"\n\n", b"\n\r\n", b"\r\n\n", b"\r\r\n\n"):
        yield f"blank line {blank!r}", b"\r\n".join(lines) + blank, 400
    for before in (
        b"\r\n",
        b"\n",
        b" ",
        b"\t",
        b"\x00",
        b"\x16\x03\x01\x02\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b'"',
        b"(",
        b"{}",
    ):
        yield f"before the request {before!r}", before + good, 400
    for cut in (1, 3, 5, 16, 20, 100, len(good) - 4, len(good) - 3, len(good) - 2, len(good) - 1):
        yield f"cut at {cut}", good[:cut], None
    yield "nothing", b"", None


def repeated() -> Iterator[Case]:
    outcomes = {b"Host": 400, b"Sec-WebSocket-Version": 400, b"Sec-WebSocket-Key": 400, b"Origin": 403}
    for name, value in BROWSER:
        for line in (name + b": " + value, name.lower() + b":" + value, name.upper() + b":\t" + value):
            yield f"twice {line!r}", request(extra=[line]), outcomes.get(name, 101)
    for name in (b"Connection", b"Upgrade"):  # wsproto goes by the last one
        yield f"two {name!r}, last other", request(extra=[name + b": other"]), 400
        first_other = request(
            changed={name: None}, extra=[name + b": other", name + b": " + dict(BROWSER)[name]]
        )
        yield f"two {name!r}, last good", first_other, 101


def missing_and_empty() -> Iterator[Case]:
    missing = {
        b"Host": 400,
        b"Connection": 400,
        b"Upgrade": 426,
        b"Sec-WebSocket-Version": 400,
        b"Sec-WebSocket-Key": 400,
    }
    empty = missing | {b"Upgrade": 426, b"Origin": 403}
    for name, _ in BROWSER:
        yield f"without {name!r}", with_value(name, None), missing.get(name, 101)
        yield f"empty {name!r}", with_value(name, b""), empty.get(name, 101)
        yield f"blank {name!r}", with_value(name, b" \t "), empty.get(name, 101)
    for first in HANDSHAKE:
        for second in HANDSHAKE:
            if first != second:
                lacking = request(changed={first: None, second: None})
                without_upgrade = b"Upgrade" in (first, second) and b"Host" not in (first, second)
                yield f"without {first!r} and {second!r}", lacking, 426 if without_upgrade else 400


def connections() -> Iterator[Case]:
    for value in (b"upgrade", b"UPGRADE", b"keep-alive, Upgrade", b"Upgrade, keep-alive",
                  b"keep-alive,Upgrade", b",Upgrade",
                  b"Upgrade,", b"a, b, c,\tupgrade", b"Upgrade,,", b"close, Upgrade", b"Upgrade, Upgrade",
                  b"uPgRaDe , x"):  # fmt: skip
        yield f"Connection {value!r}", with_value(b"Connection", value), 101
    for value in (b"close", b"keep-alive", b"Upgraded", b"xUpgrade", b"Up grade", b"Upgrade;", b'"Upgrade"',
                  b"Upgrade keep-alive",
                  b"Upgrade=1", b",", b"websocket", b"Upgr\xe1de", b"Upgrade, \xff",
                  b"\xffUpgrade"):  # fmt: skip
        yield f"Connection {value!r}", with_value(b"Connection", value), 400


def upgrades() -> Iterator[Case]:
    for value in (b"WebSocket", b"WEBSOCKET", b"webSocket", b" websocket "):
        yield f"Upgrade {value!r}", with_value(b"Upgrade", value), 101
    for value in (b"websocket, h2c", b"h2c, websocket", b"websocket/13", b"websockets", b"xwebsocket",
                  b'"websocket"', b"websocket,",
                  b"websocket\xff", b"websocket;q=1"):  # fmt: skip
        yield f"Upgrade {value!r}", with_value(b"Upgrade", value), 400
    for value in (b"h2c", b"TLS/1.0", b"web socket", b"foo", b"\xff", b"websocke", b"HTTP/2.0"):
        yield f"Upgrade {value!r}", with_value(b"Upgrade", value), 426


def websocket_versions() -> Iterator[Case]:
    for value in (
        b"8 7 0 12 14 113 130 13.0 013 +13 0x0d 13; 13,13 13,8 8,13 \xb9\xb3 thirteen "
        b"99999999999999999999 -13 1_3"
    ).split():
        yield f"version {value!r}", with_value(b"Sec-WebSocket-Version", value), 426
    yield "version '13 8'", with_value(b"Sec-WebSocket-Version", b"13 8"), 426


def keys() -> Iterator[Case]:
    for value in (
        KEY,
        b"A" * 22 + b"==",
        b"/" * 21 + b"A==",
        b"+/+/+/+/+/+/+/+/+/+/+w==",
        b"0123456789abcdefghijkl==",
    ):
        yield f"key {value!r}", with_value(b"Sec-WebSocket-Key", value), 101
    for value in (KEY[:-1], KEY[:-2], KEY + b"=", KEY[:-2] + b"AA", b"==" + KEY[:-2], b"=" + KEY[:-1],
                  KEY[:-1] + b"A", b"=" * 24, b"A" * 24,
                  b"A" * 23 + b"=", b"x",
                  b"A" * 21 + b"===", b"A" * 20 + b"==", b"A" * 18 + b"==", b"A" * 26 + b"==", KEY + KEY,
                  KEY + b", " + KEY,
                  b'"' + KEY + b'"', b"-" + KEY[1:], b"_" + KEY[1:], b"\xff" + KEY[1:], b" ".join((KEY[:11],
                  KEY[12:])), KEY[:10] + b"=" + KEY[11:],
                  b"A" * 5000, KEY.decode().encode("utf-16-be").replace(b"\0", b"!"),
                  b"A" * 22 + b"=\xbd"):  # fmt: skip
        yield f"key {value[:40]!r}", with_value(b"Sec-WebSocket-Key", value), 400


def hosts() -> Iterator[Case]:
    for host in (b"example.com", b"EXAMPLE.COM", b"example.com.", b"localhost", b"localhost:8000",
                 b"127.0.0.1:1", b"[::1]", b"[::1]:8000",
                 b"[2001:DB8::1]:443", b"a_b.example", b"_", b"1", b"a" * 200, b"xn--bcher-kva.example",
                 b"xn--p1ai:8000", b"xn--e1afmkfd.xn--p1ai:443", b"a--b.c",
                 b"a..b", b"example.com:65535", b"a" * 259):  # fmt: skip
        yield f"Host {host[:40]!r}", request(changed={b"Host": host, b"Origin": None}), 101
    for host in (b"xn--0", b"xn--\xff", b"a.xn--0", b"xn--0:80", b"ex\xe4mple.com", b"\xff",
                 b"example.com:", b"example.com:x", b"example.com:-1",
                 b"example.com:123456", b"a b", b"a,b", b"a/b", b"http://a", b"user@a", b"a?b", b"a#b",
                 b"a\\b", b"[::1", b"::1", b"[]", b"[g::1]",
                 b"[::1]x", b":80", b".a", b"-a", b"a%41", b"a;b", b"a:1:2", b"*", b"a=b", b"(a)",
                 b"a" * 260, b"xn--" + b"a" * 256, b"a'b", b"a!b", b'"a"', b"<a>"):  # fmt: skip
        yield f"Host {host!r}", request(changed={b"Host": host, b"Origin": None}), 400


def subprotocols() -> Iterator[Case]:
    for value in (b"ringgate.v1.json", b"a", b"a, b", b",", b"a,,b", b"RINGGATE.V1.JSON", b"a b", b'"a"',
                  b"(,)", b"x" * 4000,
                  b"ringgate.v1.json, ringgate.v1.json", b";", b"=", b"a;b=c",
                  b"a,ringgate.v1.msgpack,"):  # fmt: skip
        yield f"protocol {value[:40]!r}", with_value(b"Sec-WebSocket-Protocol", value), 101
    for value in (b"\xff", b"ringgate.v1.json, \xe9", b"\xc3\xa9, a", b"a\x80"):
        yield f"protocol {value!r}", with_value(b"Sec-WebSocket-Protocol", value), 400


def bounds() -> Iterator[Case]:
    def padded(total: int) -> bytes:
        filler = [b"X-%d: " % number + b"y" * 4000 for number in range(8)]
        short = len(request(extra=[*filler, b"X: "]))
        return request(extra=[*filler, b"X: " + b"y" * (total - short)])

    room = 64 - len(BROWSER)
    for count, status in (
        (0, 101),
        (1, 101),
        (room - 1, 101),
        (room, 101),
        (room + 1, 431),
        (room * 2, 431),
        (room * 30, 431),
    ):
        yield f"{count} more headers", request(extra=[b"A: b"] * count), status
        yield (
            f"{count} more headers of their own",
            request(extra=[b"A%d: b" % number for number in range(count)]),
            status,
        )
    for size, status in ((8191, 101), (8192, 101), (8193, 431), (16000, 431), (32000, 431)):
        yield f"header line of {size}", request(extra=[b"X: " + b"y" * (size - 3)]), status
        yield f"name of {size - 1}", request(extra=[b"y" * (size - 1) + b":"]), status
        yield f"request line of {size}", request(b"GET /ws?" + b"y" * (size - 17) + b" HTTP/1.1"), status
    for size, status in ((32766, 101), (32767, 101), (32768, 101), (32769, 431), (32770, 431), (40000, 431)):
        yield f"head of {size}", padded(size), status
    yield "no end in sight", b"GET /ws HTTP/1.1\r\n" + b"A: b\r\n" * 6000, 431
    yield "no line end in sight", b"G" * 32768, 431
    yield "no line end yet", b"G" * 32767, None


def ordinary_requests() -> Iterator[Case]:
    for line in (
        b"GET /health/live HTTP/1.1",
        b"GET /health/live HTTP/1.0",
        b"GET /health/live?x=1 HTTP/1.1",
    ):
        yield repr(line), plain(line), 200
    yield "health without Host in HTTP/1.0", b"GET /health/live HTTP/1.0\r\n\r\n", 200
    yield "health without Host", b"GET /health/live HTTP/1.1\r\n\r\n", 400
    yield "health as an upgrade", request(b"GET /health/live HTTP/1.1"), 200
    for method in (b"POST", b"HEAD", b"PUT", b"OPTIONS", b"DELETE"):
        yield f"{method!r} of health", plain(method + b" /health/live HTTP/1.1"), 405
        yield f"{method!r} of nothing", plain(method + b" /nothing HTTP/1.1"), 404
        yield f"{method!r} of /ws", plain(method + b" /ws HTTP/1.1"), 405
    yield "plain GET of /ws", plain(b"GET /ws HTTP/1.1"), 426
    yield "plain GET of /ws in HTTP/1.0", plain(b"GET /ws HTTP/1.0"), 426
    yield "plain GET of /", plain(b"GET / HTTP/1.1"), 404
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400
    yield "PROXY protocol", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + request(), 400
    yield "hixie-76", request(changed={b"Sec-WebSocket-Version": None, b"Sec-WebSocket-Key": None,
                                       b"Sec-WebSocket-Key1": b"4 @1  46546xW%0l 1 5"}), 400  # fmt: skip


TABLES = (methods, versions, targets, spellings_of_names, spaces, bytes_in_name_value_and_query, line_ends,
          repeated, missing_and_empty,
          connections, upgrades, websocket_versions, keys, hosts, subprotocols, bounds,
          ordinary_requests)  # fmt: skip
CASES = [(f"{table.__name__}: {name}", data, status) for table in TABLES for name, data, status in table()]


def test_there_are_at_least_1200_different_variants() -> None:
    assert len({data for _, data, _ in CASES}) >= 1200


@pytest.mark.parametrize(
    ("data", "status"), [pytest.param(data, status, id=name) for name, data, status in CASES]
)
def test_variant_has_the_same_right_outcome_however_it_arrives(data: bytes, status: int | None) -> None:
    outcome = judged_every_way(data)
    assert (status_of(outcome), label_of(outcome) == "internal") == (status, False)
