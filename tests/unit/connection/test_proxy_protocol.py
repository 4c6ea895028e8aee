"""PROXY headers of both versions: whole, byte by byte, with trailing bytes, and broken in every way."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from gateway.connection.proxy_protocol import (
    MAX_V2_BYTES,
    SIGNATURE,
    BadHeaderError,
    header_end,
    source_of,
)


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


IP4 = ipaddress.ip_address("203.0.113.7").packed + bytes([10, 0, 0, 1]) + struct.pack("!HH", 4711, 443)
IP6 = ipaddress.ip_address("2001:db8::7").packed + bytes(16) + struct.pack("!HH", 4711, 443)
MAPPED = ipaddress.ip_address("::ffff:203.0.113.7").packed + bytes(16) + struct.pack("!HH", 1, 2)

LAST = b"ffff:" * 7 + b"ffff"
GOOD = [
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7", 4711),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535),
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 0 0\r\n", "203.0.113.7", 0),
    (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "2001:db8::7", 4711),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 443\r\n", "203.0.113.7", 4711),
    (b"PROXY TCP6 " + LAST + b" " + LAST + b" 65535 65535\r\n", LAST.decode(), 65535),
    (b"PROXY UNKNOWN\r\n", None, 0),
    (b"PROXY UNKNOWN " + LAST + b" " + LAST + b" 65535 65535\r\n", None, 0),
    (v2(0x21, 0x11, IP4), "203.0.113.7", 4711),
    (v2(0x21, 0x11, IP4 + b"\x03\x00\x04\x00\x00\x00\x00"), "203.0.113.7", 4711),
    (v2(0x21, 0x11, IP4 + bytes(MAX_V2_BYTES - 16 - len(IP4))), "203.0.113.7", 4711),
    (v2(0x21, 0x21, IP6), "2001:db8::7", 4711),
    (v2(0x21, 0x21, MAPPED), "203.0.113.7", 1),
    (v2(0x21, 0x31, bytes(216)), None, 0),
    (v2(0x20, 0x00, b""), None, 0),
    (v2(0x20, 0x11, IP4), None, 0),
    (v2(0x21, 0x00, b""), None, 0),
    (v2(0x21, 0x00, bytes(100)), None, 0),
]  # fmt: skip

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00",
    b"proxy TCP4 203.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXYTCP4 203.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXY  TCP4 203.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXY TCP4  203.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2 \r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2 3\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 01 2\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1 65536\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 2\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 +1 2\r\n",
    b"PROXY TCP4 203.0.113.07 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
    b"PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
    b"PROXY TCP4 203.0.113.7\x00 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 \xd9\xa2.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY " + b"x" * 200,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    SIGNATURE[:-1] + b"X" + b"\x21\x11\x00\x0c" + IP4,
    v2(0x11, 0x11, IP4),
    v2(0x31, 0x11, IP4),
    v2(0x22, 0x11, IP4),
    v2(0x2F, 0x11, IP4),
    v2(0x21, 0x41, IP4),
    v2(0x21, 0x13, IP4),
    v2(0x21, 0x12, IP4),
    v2(0x21, 0x10, IP4),
    v2(0x21, 0x01, IP4),
    v2(0x21, 0x11, IP4[:-1]),
    v2(0x21, 0x21, IP4),
    v2(0x21, 0x31, bytes(215)),
    v2(0x21, 0x11, b""),
    v2(0x21, 0x11, IP4, 65535),
    v2(0x20, 0x00, b"", MAX_V2_BYTES - 15),
]


def judged(data: bytes) -> object:
    """Return what comes of bytes: the source and what is left, or None while the header is incomplete."""
    end = header_end(data)
    return None if end is None else (source_of(data[:end]), data[end:])


def byte_by_byte(data: bytes) -> None:
    for n in range(1, len(data) + 1):
        judged(data[:n])


@pytest.mark.parametrize(("header", "ip", "port"), GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", SIGNATURE])
def test_good_header_is_read_to_its_last_byte_and_no_further(
    header: bytes, ip: str | None, port: int, behind: bytes
) -> None:
    end = header_end(header + behind)
    assert end == len(header)
    source = source_of(header)
    assert source.ip == (None if ip is None else ipaddress.ip_address(ip))
    assert source.port == port


@pytest.mark.parametrize("header", [header for header, _, _ in GOOD])
def test_every_part_of_a_good_header_is_incomplete(header: bytes) -> None:
    assert [header_end(header[:n]) for n in range(1, len(header))] == [None] * (len(header) - 1)


@pytest.mark.parametrize("data", BAD)
def test_bad_header_is_refused_at_once_and_byte_by_byte(data: bytes) -> None:
    with pytest.raises(BadHeaderError):
        judged(data)
    with pytest.raises(BadHeaderError):
        byte_by_byte(data)


def test_nothing_of_a_bad_header_is_repeated() -> None:
    for data in BAD:
        with pytest.raises(BadHeaderError) as refused:
            judged(data)
        assert str(refused.value).isascii()
        assert "203" not in str(refused.value)
