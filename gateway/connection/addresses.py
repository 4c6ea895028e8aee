"""Addresses of peers: read strictly, compared with trusted networks, and made into keys for limits.

It knows nothing of sockets and headers.  What always holds: one address has one text, however it was
written: an IPv4 address inside an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address, zones are refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, TypeAlias

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX: Final = "unix"
"""In place of a network: peers of Unix sockets."""

_MAX_BYTES: Final = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")
_WITH_PORT: Final = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
_PREFIX_BITS: Final = 64  # what one customer of a network has at least


def parse_ip(text: str) -> Ip | None:
    """Return the address that a text is, or None; an IPv4 address in an IPv6 one is unwrapped."""
    if len(text) > _MAX_BYTES or "%" in text:
        return None
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def parse_node(text: str) -> tuple[Ip, int] | None:
    """Return address and port (0: none given) of `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, or None.

    An IPv6 address in brackets may have a port; without them it is the address alone.
    """
    if len(text) > _MAX_BYTES:
        return None
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        ip = parse_ip(text)
        return None if ip is None else (ip, 0)
    port = int(match[3] or 0)
    ip = parse_ip(match[1] or match[2])
    if ip is None or port > 65535 or (match[2] and ":" not in match[2]):
        return None
    return ip, port


def shown(ip: Ip, port: int) -> str:
    """Return how logs and lists show an address; without a port where it is 0."""
    if not port:
        return str(ip)
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def limit_key(ip: Ip) -> str:
    """Return under which name an address is counted: itself, or the /64 of an IPv6 address.

    A single customer has 2^64 addresses of IPv6, and could be a new one with every connection.
    """
    if ip.version == 4:
        return str(ip)
    prefix = int(ip) >> (128 - _PREFIX_BITS) << (128 - _PREFIX_BITS)
    return f"{ipaddress.IPv6Address(prefix)}/{_PREFIX_BITS}"


class TrustedNetworks:
    """The networks of proxies whose word is taken.  Raises ValueError for a text that is no network."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = tuple(texts)
        self.unix = UNIX in texts
        self._networks = [ipaddress.ip_network(text) for text in texts if text != UNIX]

    def __bool__(self) -> bool:
        return self.unix or bool(self._networks)

    def __contains__(self, ip: Ip | None) -> bool:
        """Tell whether an address is trusted; None is that of a peer at a Unix socket."""
        if ip is None:
            return self.unix
        return any(ip in network for network in self._networks)
