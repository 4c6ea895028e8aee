"""Names of services looked up, again and again: which endpoints an upstream has now.

It knows nothing of requests.  What always holds: an address that is an IP is never looked up; a look-up
that fails changes nothing, so that a name server that is down takes nobody out; an IP to which the name may
not lead (`reach`) is not used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from .options import ServiceAddress
from .reach import Reach
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
    """The endpoints of several addresses.  What `before` found holds until the first look-up of its own."""

    def __init__(
        self,
        addresses: Sequence[ServiceAddress],
        resolve: Resolve,
        reach: Reach | None = None,
        before: Names | None = None,
    ) -> None:
        self._resolve = resolve
        self._reach = reach or Reach()
        self.refused: int = 0 if before is None else before.refused
        """How often a look-up gave an IP to which its name may not lead."""
        known = {} if before is None else {(a.host, a.port): ips for a, ips in before._found.items()}
        self._found: dict[ServiceAddress, tuple[str, ...]] = {
            address: (address.host,)
            if _is_ip(address.host)
            else tuple(
                ip
                for ip in known.get((address.host, address.port), ())
                if self._reach.allows(address.host, ip)
            )
            for address in addresses
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
        allowed = self._allowed(address.host, ips)
        if len(allowed) == len(ips):
            self._failing.discard(address.host)
        if not allowed:
            return False
        # In an order of our own: name servers rotate theirs, and that is no change.
        found = tuple(sorted(allowed)[:_MOST_OF_A_NAME])
        if found == self._found[address]:
            return False
        self._found[address] = found
        return True

    def _allowed(self, host: str, ips: Sequence[str]) -> list[str]:
        """Return the IPs to which a name may lead; tell of the others."""
        allowed = [ip for ip in ips if self._reach.allows(host, ip)]
        if len(allowed) < len(ips):
            self.refused += len(ips) - len(allowed)
            if host not in self._failing:
                wrong = ", ".join(ip for ip in ips if ip not in allowed)
                text = "a service's name leads where it may not, which is left out: %s: %s (see `networks`)"
                _logger.warning(text, host, wrong)
            self._failing.add(host)
        return allowed
