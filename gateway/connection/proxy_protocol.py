"""The PROXY protocol, versions 1 and 2: from the first bytes of a connection to the client's address.

A pure function of bytes; whoever calls it has decided that the peer is a trusted proxy that must begin
so: nothing here guesses whether there is a header (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
Stricter than that text: one space between fields, addresses of the stated family, no numbers with leading
zeros, TCP only, version 2 of at most `MAX_V2_BYTES`.  Extensions (TLVs) of version 2 are passed over, their
checksum too.

What always holds: while `header_end` is None every byte so far belongs to the header.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Final, NamedTuple

from .addresses import Ip, parse_ip

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_V1_BYTES: Final = 107
MAX_V2_BYTES: Final = 2048  # extensions included; certificates' names fit
_V1: Final = b"PROXY "
_V2_HEAD: Final = struct.Struct("!12sBBH")
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_ADDRESS: Final = re.compile(rb"[0-9a-fA-F:.]{2,45}")
_LOCAL: Final = 0
_PROXY: Final = 1


class BadHeaderError(ValueError):
    """The bytes are no PROXY header.  The text says why, and holds nothing of them."""


class Source(NamedTuple):
    """Where a connection came from, as the proxy tells; `ip` is None where it does not tell.

    Then the connection is the proxy's own (a health check), or not of TCP over IP: what is known of the peer
    holds.
    """

    ip: Ip | None
    port: int = 0


_UNTOLD: Final = Source(None)


def header_end(data: bytes) -> int | None:
    """Return how many of the bytes received so far are the header, or None when all of them are, and more is
    needed.

    Linear in `MAX_V2_BYTES` for each call.  Raises BadHeaderError as soon as no header can come of it.
    """
    if data.startswith(SIGNATURE):
        return _end_of_v2(data)
    if not SIGNATURE.startswith(data) and data[: len(_V1)] != _V1[: len(data)]:
        raise BadHeaderError("no PROXY header")
    end = data.find(b"\n", 0, MAX_V1_BYTES) if data[:1] == b"P" else -1
    if end >= 0 and data[end - 1 : end] != b"\r":
        raise BadHeaderError("a line that ends badly")
    if end < 0 and len(data) >= MAX_V1_BYTES:
        raise BadHeaderError("a line that is too long")
    return None if end < 0 else end + 1


def _end_of_v2(data: bytes) -> int | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    if command >> 4 != 2 or command & 15 not in (_LOCAL, _PROXY):
        raise BadHeaderError("an unknown version or command")
    if family >> 4 > 3 or family & 15 > 2:
        raise BadHeaderError("an unknown family or protocol")
    end = _V2_HEAD.size + int(length)
    if end > MAX_V2_BYTES:
        raise BadHeaderError("too long")
    return end if len(data) >= end else None


def source_of(data: bytes) -> Source:
    """Return what a whole header says.  Raises BadHeaderError."""
    return _source_v1(data) if data.startswith(_V1) else _source_v2(data)


def _source_v1(data: bytes) -> Source:
    fields = data[:-2].split(b" ")
    if len(fields) > 1 and fields[1] == b"UNKNOWN":
        return _UNTOLD  # "the receiver must ignore anything presented before the CRLF"
    if len(fields) != 6 or fields[1] not in (b"TCP4", b"TCP6"):
        raise BadHeaderError("a malformed line")
    version = 4 if fields[1] == b"TCP4" else 6
    ports = [_port(text) for text in fields[4:]]
    source, _ = [_address(text, version) for text in fields[2:4]]
    return Source(source, ports[0])


def _port(text: bytes) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 65535:
        raise BadHeaderError("a malformed port")
    return int(text)


def _address(text: bytes, version: int) -> Ip:
    """Return an address of a family; one of IPv4 inside IPv6 is unwrapped."""
    try:
        raw = ipaddress.ip_address(text.decode("ascii")) if _ADDRESS.fullmatch(text) else None
    except ValueError:
        raw = None
    ip = None if raw is None or raw.version != version else parse_ip(str(raw))
    if ip is None:
        raise BadHeaderError("a malformed address")
    return ip


def _source_v2(data: bytes) -> Source:
    _, command, family, length = _V2_HEAD.unpack_from(data)
    if command & 15 == _LOCAL or family == 0:
        return _UNTOLD
    kind, protocol = family >> 4, family & 15
    if protocol != 1 or kind == 0:
        raise BadHeaderError("not of a stream")
    address_bytes = {1: 4, 2: 16, 3: 108}[kind]
    if length < 2 * address_bytes + (4 if kind != 3 else 0):
        raise BadHeaderError("too short for its addresses")
    if kind == 3:
        return _UNTOLD
    start = _V2_HEAD.size
    ip = parse_ip(str(ipaddress.ip_address(data[start : start + address_bytes])))
    (port,) = struct.unpack_from("!H", data, start + 2 * address_bytes)
    return Source(ip, int(port))
