"""Names of services looked up, again and again: which endpoints an upstream has now.

It knows nothing of requests.  What always holds: an address that is an IP is never looked up; a look-up
that fails changes nothing, so that a name server that is down takes nobody out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from .options import ServiceAddress
from .target import Endpoint

_MOST_OF_A_NAME: Final = 64

_logger = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Return the IPs of a host, best first.  Raises OSError."""


def system_resolver(loop: asyncio.AbstractEventLoop) -> Resolve:
    """Return look-ups by the system's own means."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    return resolve


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Names:
    """The endpoints of several addresses."""

    def __init__(self, addresses: Sequence[ServiceAddress], resolve: Resolve) -> None:
        self._resolve = resolve
        self._found: dict[ServiceAddress, tuple[str, ...]] = {
            address: (address.host,) if _is_ip(address.host) else () for address in addresses
        }
        self._failing: set[str] = set()

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints as far as they are known, in the order of the addresses."""
        return [Endpoint(address, ip) for address, ips in self._found.items() for ip in ips]

    @property
    def has_names(self) -> bool:
        """Tell whether anything has to be looked up at all."""
        return any(not _is_ip(address.host) for address in self._found)

    async def look_up(self) -> bool:
        """Look every name up; tell whether the endpoints changed.  It does not raise."""
        names = [address for address in self._found if not _is_ip(address.host)]
        changed = await asyncio.gather(*(self._look_up(address) for address in names))
        return any(changed)

    async def _look_up(self, address: ServiceAddress) -> bool:
        try:
            ips = await self._resolve(address.host, address.port)
        except OSError as problem:
            if address.host not in self._failing:  # once, not every few seconds
                _logger.warning("a service's name cannot be looked up: %s: %s", address.host, problem)
            self._failing.add(address.host)
            return False
        self._failing.discard(address.host)
        # In an order of our own: name servers rotate theirs, and that is no change.
        found = tuple(sorted(ips)[:_MOST_OF_A_NAME])
        if not found or found == self._found[address]:
            return False
        self._found[address] = found
        return True
