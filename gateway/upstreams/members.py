"""The targets of one group: made from its addresses, kept while addresses and options change.

It knows names and targets, and sends nothing.  What always holds: a target that goes while something is under
way there is remembered until that has ended, so that it is the same one if it comes back; an address that an
operator drained is so wherever its name leads, until it is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .names import Names, Resolve
from .options import ServiceAddress, UpstreamOptions, parse_address
from .reach import Reach
from .target import Endpoint, Target

_ANY_IP: Final = ""


class Members:
    """The targets of one group.  `clock` is the loop's time."""

    def __init__(self, options: UpstreamOptions, resolve: Resolve, clock: Callable[[], float]) -> None:
        self._options = options
        self._resolve = resolve
        self._clock = clock
        self._drained: set[tuple[str, str]] = set()
        self._leaving: list[Target] = []
        self.names = Names(options.addresses, resolve, Reach(options.networks))
        self.targets: list[Target] = [Target(endpoint, options) for endpoint in self.names.endpoints]

    @property
    def leaving(self) -> list[Target]:
        """Those that are no members any more, and where something is still under way."""
        self._leaving = [target for target in self._leaving if target.pending]
        return list(self._leaving)

    @property
    def drained(self) -> list[tuple[str, str]]:
        """What is drained: addresses, each with an IP, or "" for all that its name leads to."""
        return sorted(self._drained)

    async def look_up(self) -> bool:
        """Look every name up; tell whether the targets changed.  It does not raise."""
        if not await self.names.look_up():
            return False
        self._renew()
        return True

    def names_for(self, options: UpstreamOptions) -> Names:
        """Return the names of other options, with what is known of those that are in both."""
        return Names(options.addresses, self._resolve, Reach(options.networks), self.names)

    def change(self, options: UpstreamOptions, names: Names) -> None:
        """Use other options, and the names of their addresses, from now on."""
        self._options, self.names = options, names
        configured = {_text(address) for address in options.addresses}
        self._drained = {place for place in self._drained if place[0] in configured}
        self._renew()

    def _renew(self) -> None:
        there = bool(self.targets)
        known = {_place(target.endpoint): target for target in (*self.leaving, *self.targets)}
        fresh = []
        for endpoint in self.names.endpoints:
            target = known.pop(_place(endpoint), None)
            if target is None:
                target = Target(endpoint, self._options)
                if there:
                    target.warm_up(self._clock())
            else:
                target.change(endpoint, self._options)
            target.draining = self._is_drained(endpoint)
            fresh.append(target)
        self.targets = fresh
        self._leaving = list(known.values())
        for target in self._leaving:
            target.draining = True

    def drain(self, address: str, ip: str, *, draining: bool) -> list[Target]:
        """Have an address get nothing new from now on, or something again; return its targets.

        `ip` "" is every IP that the address leads to.  Raises KeyError where there is no such address.
        """
        wanted = _text(parse_address(address))
        if wanted not in map(_text, self._options.addresses):
            raise KeyError(address)
        found = [
            t for t in self.targets if _text(t.endpoint.address) == wanted and ip in (_ANY_IP, t.endpoint.ip)
        ]
        if ip and not found:
            raise KeyError(ip)
        if draining:
            self._drained.add((wanted, ip))
        elif ip:
            self._drained -= {(wanted, ip)}
        else:
            self._drained = {place for place in self._drained if place[0] != wanted}
        for target in found:
            was, target.draining = target.draining, self._is_drained(target.endpoint)
            if was and not target.draining:
                target.warm_up(self._clock())
        return found

    def _is_drained(self, endpoint: Endpoint) -> bool:
        if not self._drained:
            return False
        text = _text(endpoint.address)
        return (text, _ANY_IP) in self._drained or (text, endpoint.ip) in self._drained


def _text(address: ServiceAddress) -> str:
    """Return an address as it is named: its weight is no part of that."""
    return str(address)


def _place(endpoint: Endpoint) -> tuple[str, str]:
    return _text(endpoint.address), endpoint.ip
