"""W3C Trace Context (https://www.w3.org/TR/trace-context/): the header that joins a request to its trace.

A client's own `traceparent`, where its handshake had one and it is forwarded, gives the trace; else each
request begins one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

TRACEPARENT: Final = "traceparent"
_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?")


def child_of(traceparent: str, random_bytes: Callable[[int], bytes]) -> str:
    """Return the header of a request that belongs to a trace, or begins one where there is none."""
    match = _VALID.fullmatch(traceparent)
    trace, flags = (match[1], match[2]) if match else (_hex(random_bytes, 16), "01")
    return f"00-{trace}-{_hex(random_bytes, 8)}-{flags}"


def _hex(random_bytes: Callable[[int], bytes], count: int) -> str:
    """Return random digits that are not all zero."""
    return f"{int.from_bytes(random_bytes(count), 'big') or 1:0{2 * count}x}"
