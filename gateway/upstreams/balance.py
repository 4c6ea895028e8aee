"""Which target gets the next request: round robin, least pending, or a consistent hash.

Pure: time, targets and key are handed in.  A balancer is only given targets that may be used.

* Round robin is nginx's smooth one: shares by weight, spread as evenly as can be.
* Least pending takes what has least under way for its weight; of equals, round robin decides.
* The hash is rendezvous hashing with weights (highest random weight): a key stays with its target, and when
  a target goes, only its keys move.  Bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): a target whose
  pending requests exceed its share of all by the bound is passed over for the key's next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil, log
from typing import Final, Protocol

from .target import Target

_NUMBERS: Final = 2.0**52


class Balancer(Protocol):
    """Chooses."""

    def choose(self, targets: Sequence[Target], now: float, key: str) -> Target:
        """Return one of at least one target; `key` is empty where nothing is to stay together."""


class RoundRobin:
    """Smooth weighted round robin."""

    def choose(self, targets: Sequence[Target], now: float, key: str) -> Target:
        """Return the target whose turn it is."""
        total, chosen = 0.0, targets[0]
        for target in targets:
            weight = target.weight(now)
            total += weight
            target.current += weight
            if target.current > chosen.current:
                chosen = target
        chosen.current -= total
        return chosen


class LeastPending:
    """Least under way for its weight."""

    def __init__(self) -> None:
        self._among_equals = RoundRobin()

    def choose(self, targets: Sequence[Target], now: float, key: str) -> Target:
        """Return the least busy target."""
        loads = [(target.pending + 1) / target.weight(now) for target in targets]
        least = min(loads)
        equals = [target for target, load in zip(targets, loads, strict=True) if load <= least * 1.000001]
        return self._among_equals.choose(equals, now, key)


class BoundedHash:
    """Consistent hash; a target has at most `bound` times its share of what is under way, or `few`."""

    def __init__(self, bound: float, few: int = 0) -> None:
        self._bound = bound
        self._few = few
        self._without_key = LeastPending()

    def choose(self, targets: Sequence[Target], now: float, key: str) -> Target:
        """Return the key's target, or its next one where that has too much to do."""
        if not key:
            return self._without_key.choose(targets, now, key)
        ranked = sorted(targets, key=lambda target: _score(target, key), reverse=True)
        weights = sum(target.weight(now) for target in targets)
        pending = sum(target.pending for target in targets) + 1
        for target in ranked:
            most = ceil(self._bound * pending * target.weight(now) / weights)
            if target.pending < max(most, self._few):
                return target
        return ranked[0]


def _score(target: Target, key: str) -> float:
    """Return the weighted rendezvous score; it depends on nothing but endpoint, configured weight and key."""
    text = f"{target.endpoint.address}|{target.endpoint.ip}|{key}"
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 12
    return -target.endpoint.address.weight / log((number + 0.5) / _NUMBERS)  # neither 0 nor 1 as a float


def make_balancer(name: str, hash_bound: float, few: int = 0) -> Balancer:
    """Return the balancer of a name.  Raises KeyError.  A hash passes over nobody who has less than `few`."""
    if name == "hash":
        return BoundedHash(hash_bound, few)
    makers: dict[str, Callable[[], Balancer]] = {"round_robin": RoundRobin, "least_pending": LeastPending}
    return makers[name]()
