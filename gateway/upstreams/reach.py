"""Which IPs a service's name may lead to: whoever can answer for a name must not choose among our machines.

It knows names and IPs, and looks nothing up.  Addresses that are configured as IPs are not its affair.
What always holds: an IP that is not allowed gets no connection, wherever its name led before, since
connections are made to IPs that were looked at here: there is no second look-up that could say another.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

IP = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach:
    """What one upstream may reach by names: `networks`, or where there are none what is usual.

    Usual is everything but this machine (for names that do not say so themselves), link-local addresses,
    where clouds keep credentials, multicast, and addresses that are nobody's.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def allows(self, host: str, ip: str) -> bool:
        """Tell whether a name may lead to an IP."""
        address = _unmapped(ip)
        if address is None:
            return False
        if self._networks:
            return any(address in network for network in self._networks)
        if address.is_loopback:
            return is_localhost(host)
        return not (
            address.is_unspecified or address.is_link_local or address.is_multicast or address.is_reserved
        )


def is_localhost(host: str) -> bool:
    """Tell whether a name is one of this machine's own (RFC 6761 section 6.3)."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _unmapped(ip: str) -> IP | None:
    """Return an address, an IPv4 one also where it comes inside of IPv6; None for what is none."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address.sixtofour or address
    return address
