"""An operator's wish that an address of an upstream is left, or used again, and what came of it.

Plain data, which goes from the API to the upstreams of every process.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from .errors import CommandError


class Drain(msgspec.Struct, frozen=True, array_like=True):
    """`address` as it is configured; `ip` "" for all that it leads to.  `draining` false takes it back."""

    upstream: str
    address: str
    ip: str = ""
    draining: bool = True


class Drained(NamedTuple):
    """How many targets that were, and what is under way there."""

    targets: int
    pending: int


def no_such_upstream(drain: Drain) -> Drained:
    """Raise CommandError: no upstream is configured."""
    raise CommandError("bad_request", f"there is no upstream `{drain.upstream}`")
