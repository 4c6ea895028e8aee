"""What proxies, and those who would like to be one, write into `X-Forwarded-For` and `Forwarded`.

A row is a header's lines and the client that is believed when they come from a trusted peer; `PEER` where
that is the peer itself.  From any other peer nothing of it is believed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TRUSTED: Final = ("127.0.0.0/24", "10.0.0.0/8", "2001:db8:aa::/48")
PEER: Final = "peer"


class Row(NamedTuple):
    """`header` is an option's value; `client` as logs show it, with the port where one is told."""

    header: str
    lines: tuple[str, ...]
    client: str


def _x(client: str, *lines: str) -> Row:
    return Row("x-forwarded-for", lines, client)


def _f(client: str, *lines: str) -> Row:
    return Row("forwarded", lines, client)


ROWS: Final = (
    # one hop
    _x(PEER),
    _x("203.0.113.7", "203.0.113.7"),
    _x("203.0.113.7", "  203.0.113.7\t"),
    _x("203.0.113.7:4711", "203.0.113.7:4711"),
    _x("2001:db8::1", "2001:db8::1"),
    _x("2001:db8::1", "[2001:db8::1]"),
    _x("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
    _x("2001:db8::1", "2001:0DB8:0:0:0:0:0:1"),
    _x("203.0.113.7", "::ffff:203.0.113.7"),
    _x("203.0.113.7", "::FFFF:cb00:7107"),
    # several: the rightmost that is not trusted
    _x("203.0.113.7", "198.51.100.1, 203.0.113.7"),
    _x("203.0.113.7", "203.0.113.7, 10.0.0.1"),
    _x("203.0.113.7", "1.1.1.1, 203.0.113.7, 10.0.0.1, 10.9.9.9"),
    _x("203.0.113.7", "203.0.113.7,10.0.0.1,127.0.0.1"),
    _x("203.0.113.7", "10.0.0.1, 203.0.113.7, 10.0.0.2"),
    _x("203.0.113.7", "203.0.113.7, 2001:db8:aa::1"),
    _x("203.0.113.7", "203.0.113.7, ::ffff:10.0.0.1"),
    _x("2001:db8:ab::1", "6.6.6.6, 2001:db8:ab::1"),
    _x("10.0.0.3", "10.0.0.3, 10.0.0.2"),
    _x("10.0.0.3", "10.0.0.3"),
    # several lines are one list
    _x("203.0.113.7", "6.6.6.6", "203.0.113.7"),
    _x("203.0.113.7", "203.0.113.7", "10.0.0.1"),
    _x("203.0.113.7", "6.6.6.6, 203.0.113.7", "10.0.0.1, 10.0.0.2"),
    _x("203.0.113.7", "unknown", "203.0.113.7"),
    # what is left of the client may be anything
    _x("203.0.113.7", "<script>, 203.0.113.7"),
    _x("203.0.113.7", "127.0.0.1, 203.0.113.7"),
    _x("203.0.113.7", ",,,, 203.0.113.7"),
    _x("203.0.113.7", "\xff\xfe", "203.0.113.7"),
    # what is no address ends at the proxy that wrote it
    _x(PEER, "unknown"),
    _x(PEER, ""),
    _x(PEER, "203.0.113.7,"),
    _x(PEER, "203.0.113.7, "),
    _x(PEER, "203.0.113.7, unknown"),
    _x(PEER, "localhost"),
    _x(PEER, "example.com"),
    _x(PEER, "203.0.113"),
    _x(PEER, "203.0.113.7.1"),
    _x(PEER, "203.0.113.256"),
    _x(PEER, "203.0.113.07"),
    _x(PEER, "0xcb007107"),
    _x(PEER, "3405803783"),
    _x(PEER, "203.0.113.7:"),
    _x(PEER, "203.0.113.7:65536"),
    _x(PEER, "203.0.113.7:123456"),
    _x(PEER, "203.0.113.7:-1"),
    _x(PEER, "203.0.113.7 4711"),
    _x(PEER, "[203.0.113.7]"),
    _x(PEER, "[203.0.113.7]:80"),
    _x(PEER, "[2001:db8::1"),
    _x(PEER, "2001:db8::1]"),
    _x(PEER, "[2001:db8::1]x"),
    _x(PEER, "2001:db8:::1"),
    _x(PEER, "fe80::1%eth0"),
    _x(PEER, "203.0.113.7/32"),
    _x(PEER, '"203.0.113.7"'),
    _x(PEER, "for=203.0.113.7"),
    _x(PEER, "203.0.113.7; 198.51.100.1"),
    _x(PEER, "203.0.113.7\xa0"),
    _x(PEER, "٢٠٣.0.113.7".encode().decode("latin-1")),
    _x(PEER, "9" * 4000),
    _x("10.0.0.1", "unknown, 10.0.0.1"),
    _x("10.0.0.1", "203.0.113.7, , 10.0.0.1"),
    _x("10.0.0.1", "203.0.113.7, 10.0.0.1" + ", 10.0.0.1" * 40),
    _x("203.0.113.7", "6.6.6.6, " * 600 + "203.0.113.7"),
    # Forwarded (RFC 7239)
    _f(PEER),
    _f("192.0.2.60", "for=192.0.2.60;proto=http;by=203.0.113.43"),
    _f("192.0.2.60", "For=192.0.2.60"),
    _f("192.0.2.60", "proto=https ; FOR=192.0.2.60"),
    _f("192.0.2.60", 'for="192.0.2.60"'),
    _f("192.0.2.60:4711", 'for="192.0.2.60:4711"'),
    _f("[2001:db8:cafe::17]:4711", 'For="[2001:db8:cafe::17]:4711"'),
    _f("2001:db8:cafe::17", 'for="[2001:db8:cafe::17]"'),
    _f("192.0.2.60", 'for="192.0.\\2.60"'),
    _f("198.51.100.17", "for=192.0.2.43, for=198.51.100.17"),
    _f("192.0.2.43", "for=192.0.2.43, for=10.0.0.17"),
    _f("192.0.2.43", "for=6.6.6.6", "for=192.0.2.43, for=10.0.0.17"),
    _f("192.0.2.43", 'for="garbage', "for=192.0.2.43"),
    _f("192.0.2.43", 'for=6.6.6.6;by="a, for=b", for=192.0.2.43'),
    _f(PEER, "for=unknown"),
    _f(PEER, "for=_hidden"),
    _f(PEER, "proto=https"),
    _f(PEER, "for=192.0.2.43, proto=https"),
    _f(PEER, "192.0.2.43"),
    _f(PEER, "for="),
    _f(PEER, "for=192.0.2.43;"),
    _f(PEER, "for=192.0.2.43,"),
    _f(PEER, "for =192.0.2.43"),
    _f(PEER, "for= 192.0.2.43"),
    _f(PEER, "for=192.0.2.43;for=192.0.2.44"),
    _f(PEER, 'for="192.0.2.43'),
    _f(PEER, 'for="192.0.2.43\\"'),
    _f(PEER, 'by="6, for=192.0.2.43'),
    _f(PEER, 'for=6.6.6.6;by=", for="192.0.2.43"'),
    _f(PEER, "for=[2001:db8::1]"),
    _f(PEER, 'for="2001:db8::1%25eth0"'),
    _f(PEER, "for=192.0.2.43 for=192.0.2.44"),
    _f(PEER, 'for="192.0.2.43\xff"'),
    _f("10.0.0.17", "for=_x, for=10.0.0.17"),
    # the other header is not looked at
    Row("x-forwarded-for", (), PEER),
)
