"""What the hooks are told.  They know nothing of files and flags.  Times in seconds."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class HookPlace(NamedTuple):
    """Where a hook is: an upstream, and a path there."""

    upstream: str
    path: str


class AskedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which questions are asked where; None is not asked.

    `hash_by` is what keeps requests at one address where an upstream balances by hash: "user", "session",
    "channel", "address" or "header:NAME".
    """

    connect: HookPlace | None = None
    subscribe: HookPlace | None = None
    publish: HookPlace | None = None
    call: HookPlace | None = None
    message: HookPlace | None = None
    forwards: frozenset[str] = frozenset()
    hash_by: str = "user"
    call_timeout_s: float = 10.0
    """Where the client says none."""
    call_timeout_most_s: float = 30.0
