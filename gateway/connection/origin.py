"""Which web pages may connect: the origin policy of a route (RFC 6455 section 10.2).

Knows nothing of requests.  Without entries a page may connect only to the host it came from:
the origin's host and port are those of the Host header, where a missing port is the default of
the origin's scheme.  Entries make an exact list; the entry `*` allows everything.  A request
without an Origin header does not come from a browser and is always allowed.  What is
not one well-formed origin, `null` included, is refused unless everything is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..errors import UsageError

_ORIGIN: Final = re.compile(
    rb"([a-z][a-z0-9+.-]*)://([a-z0-9_](?:[a-z0-9_.~-]*)|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE
)
_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}


def _split(origin: bytes) -> tuple[bytes, bytes, int] | None:
    """Return scheme, host and port (0: none and no default) in lower case, or None when malformed."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return None
    scheme, host, port = match.groups()
    scheme = scheme.lower()
    return scheme, host.lower(), int(port) if port else _DEFAULT_PORTS.get(scheme, 0)


class OriginPolicy:
    """Decides on Origin headers.

    `entries`: nothing (same host only), origins such as `https://example.com` or `http://localhost:3000`,
    or `*`.  `sibling_ports` are ports of the same host whose pages are ours too, such as the demo's.
    Raises UsageError for an entry that is none of these; `null` cannot be listed.
    """

    __slots__ = ("_allowed", "_siblings", "allows_any")

    def __init__(self, entries: Iterable[str] = (), sibling_ports: Iterable[int] = ()) -> None:
        listed = list(entries)
        self._siblings = frozenset(sibling_ports)
        self.allows_any = "*" in listed
        self._allowed: set[tuple[bytes, bytes, int]] = set()
        for entry in listed:
            parts = _split(entry.encode()) if entry != "*" else None
            if parts is not None:
                self._allowed.add(parts)
            elif entry != "*":
                raise UsageError(f"{entry!r} is not an origin such as https://example.com, and not *")

    def allows(self, origin: bytes, host: bytes) -> bool:
        """Tell whether the page of `origin` may connect; `host` is the Host header, found well-formed."""
        if self.allows_any:
            return True
        if not self._allowed and origin.endswith(host) and origin[: -len(host)] in (b"http://", b"https://"):
            return True
        parts = _split(origin)
        if parts is None:
            return False
        scheme, name, port = parts
        here = _split(scheme + b"://" + host) if scheme in _DEFAULT_PORTS else None
        if here is not None and name == here[1] and port in self._siblings:
            return True
        return parts in self._allowed if self._allowed else here == parts
