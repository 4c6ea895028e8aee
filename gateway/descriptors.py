"""File descriptors: how many connections the process can hold.

Knows nothing of the gateway.  A process starts with a soft limit that is often 1,024 though
the hard limit is far higher; a gateway needs one descriptor for each client.
"""

from __future__ import annotations

import resource
from typing import Final

RESERVED: Final = 128
"""Descriptors kept back for the internal port, the broker and the process itself."""


def connections_that_fit(wanted: int) -> int:
    """Raise the soft limit as far as `wanted` connections need; return how many the hard limit lets in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, soft - RESERVED))
