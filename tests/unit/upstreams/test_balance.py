"""Balancers: shares, what stays together, and what moves when a target goes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.balance import BoundedHash, LeastPending, RoundRobin, make_balancer
from gateway.upstreams.options import ServiceAddress, UpstreamOptions
from gateway.upstreams.target import Endpoint, Target

OPTIONS = UpstreamOptions(addresses=(), slow_start_s=10.0)


def make_targets(*weights: int) -> list[Target]:
    hosts = [f"10.0.0.{n}" for n in range(1, len(weights) + 1)]
    return [
        Target(Endpoint(ServiceAddress("http", host, 80, weight), host), OPTIONS)
        for host, weight in zip(hosts, weights, strict=True)
    ]


def test_round_robin_spreads_weights_smoothly() -> None:
    targets, balancer = make_targets(5, 1, 1), RoundRobin()
    order = "".join("abc"[targets.index(balancer.choose(targets, 0.0, ""))] for _ in range(7))
    assert order == "aabacaa"  # the sequence that nginx documents for these weights


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_round_robin_gives_each_exactly_its_share(weights: list[int]) -> None:
    targets, balancer = make_targets(*weights), RoundRobin()
    chosen = Counter(id(balancer.choose(targets, 0.0, "")) for _ in range(3 * sum(weights)))
    assert [chosen[id(target)] for target in targets] == [3 * weight for weight in weights]


def test_least_pending_takes_what_has_least_for_its_weight() -> None:
    a, b, c = targets = make_targets(1, 2, 1)
    a.pending, b.pending, c.pending = 2, 3, 3
    assert LeastPending().choose(targets, 0.0, "") is b
    b.pending = 7
    assert LeastPending().choose(targets, 0.0, "") is a


def test_least_pending_of_equals_takes_turns() -> None:
    targets, balancer = make_targets(1, 1, 1), LeastPending()
    assert len({id(balancer.choose(targets, 0.0, "")) for _ in range(3)}) == 3


@given(st.text(min_size=1, max_size=20), st.integers(0, 4))
def test_hash_moves_only_the_keys_of_a_target_that_goes(key: str, gone: int) -> None:
    targets, balancer = make_targets(1, 2, 3, 1, 1), BoundedHash(1000.0)
    before = balancer.choose(targets, 0.0, key)
    left = [target for n, target in enumerate(targets) if n != gone]
    after = balancer.choose(left, 0.0, key)
    assert after is before or before is targets[gone]


def test_hash_gives_weights_their_shares() -> None:
    targets, balancer = make_targets(1, 3), BoundedHash(1000.0)
    chosen = Counter(id(balancer.choose(targets, 0.0, f"user{n}")) for n in range(4000))
    assert 2850 < chosen[id(targets[1])] < 3150


def test_hash_does_not_depend_on_the_order_of_targets() -> None:
    targets, balancer = make_targets(1, 1, 1), BoundedHash(1000.0)
    for n in range(50):
        assert balancer.choose(targets, 0.0, str(n)) is balancer.choose(targets[::-1], 0.0, str(n))


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6), st.text(min_size=1, max_size=5))
def test_hash_never_chooses_what_exceeds_its_bound(pending: list[int], key: str) -> None:
    targets = make_targets(*[1] * len(pending))
    for target, count in zip(targets, pending, strict=True):
        target.pending = count
    chosen = BoundedHash(1.25).choose(targets, 0.0, key)
    assert chosen.pending + 1 <= 1.25 * (sum(pending) + 1) / len(pending) + 1


def test_hash_without_a_key_takes_what_is_least_busy() -> None:
    a, b = targets = make_targets(1, 1)
    a.pending = 5
    assert BoundedHash(1.25).choose(targets, 0.0, "") is b


def test_slow_start_gives_a_small_share_that_grows() -> None:
    a, b = targets = make_targets(10, 10)
    b.warm_up(0.0)
    assert b.weight(0.0) == 1.0
    assert b.weight(5.0) == 5.0
    balancer = RoundRobin()
    chosen = Counter(id(balancer.choose(targets, 5.0, "")) for _ in range(150))
    assert chosen[id(b)] == 50
    assert (b.weight(10.0), a.weight(10.0)) == (10.0, 10.0)


def test_balancers_go_by_the_names_of_the_configuration() -> None:
    assert isinstance(make_balancer("hash", 2.0), BoundedHash)
    assert isinstance(make_balancer("round_robin", 2.0), RoundRobin)
    assert isinstance(make_balancer("least_pending", 2.0), LeastPending)
    with pytest.raises(KeyError):
        make_balancer("random", 2.0)
