"""Several independent Redis deployments: which channel is on which.

It knows names only.  How it works: rendezvous hashing.  Every shard has a score for a channel, a hash of both
names, and the highest score has it.  What always holds: every gateway that is given the same shards, in
whatever order, finds the same one; when one is added or taken away, only the channels of that one change
their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Generic, TypeVar

from ...errors import ConfigError

_REMEMBERED: Final = 65536
Shard = TypeVar("Shard")


class Sharding(Generic[Shard]):
    """Shards by name.  Raises ConfigError when there is none, or when two have the same name."""

    def __init__(self, shards: Sequence[tuple[str, Shard]]) -> None:
        if not shards:
            raise ConfigError("there has to be at least one Redis")
        names = [name for name, _ in shards]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two shards are called {name}: each Redis may be named once")
        self.shards: tuple[Shard, ...] = tuple(shard for _, shard in shards)
        self._hashes = [blake2b(name.encode() + b"\0", digest_size=8) for name in names]
        self._find_again = lru_cache(_REMEMBERED)(self._find)

    def shard_of(self, channel: str) -> Shard:
        """Return the shard that a channel is on."""
        if len(self.shards) == 1:
            return self.shards[0]
        return self._find_again(channel)

    def _find(self, channel: str) -> Shard:
        encoded = channel.encode()
        best = b""
        found = self.shards[0]
        for shard, begun in zip(self.shards, self._hashes, strict=True):
            hashed = begun.copy()
            hashed.update(encoded)
            score = hashed.digest()
            if score > best:
                best, found = score, shard
        return found
