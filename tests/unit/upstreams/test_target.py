"""A target: health and breaker together, and its return after either."""

from __future__ import annotations

from gateway.upstreams.breaker import BreakerState
from gateway.upstreams.health import Health
from gateway.upstreams.options import (
    BreakerOptions,
    HealthOptions,
    ServiceAddress,
    UpstreamOptions,
    parse_address,
)
from gateway.upstreams.target import Endpoint, Target

OPTIONS = UpstreamOptions(
    addresses=(),
    slow_start_s=4.0,
    health=HealthOptions(path="/", healthy_after=2, unhealthy_after=3),
    breaker=BreakerOptions(failures=1, open_s=1.0, probes=1),
)


def make_target() -> Target:
    return Target(Endpoint(ServiceAddress("http", "a", 80, 10), "10.0.0.1"), OPTIONS)


def test_health_changes_when_enough_checks_in_a_row_agree() -> None:
    health = Health(OPTIONS.health)
    results = [False, False, True, False, False, False, True, False, True, True]
    assert [(health.checked(ok=ok), health.healthy) for ok in results] == [
        (False, True), (False, True), (False, True), (False, True), (False, True), (True, False),
        (False, False), (False, False), (False, False), (True, True),
    ]  # fmt: skip


def test_target_that_is_not_healthy_or_broken_is_not_used() -> None:
    target = make_target()
    for _ in range(3):
        target.checked(0.0, ok=False)
    assert not target.usable(0.0)
    target.checked(0.0, ok=True)
    assert target.checked(0.0, ok=True)
    assert target.usable(0.0)
    target.end(target.begin(0.0), 0.0, "broken", ok=False)
    assert not target.usable(0.5)


def test_target_that_comes_back_takes_up_its_share_slowly() -> None:
    target = make_target()
    target.end(target.begin(0.0), 0.0, "broken", ok=False)
    target.end(target.begin(1.0), 1.0, "ok", ok=True)
    assert target.breaker.state(1.0) is BreakerState.CLOSED
    assert (target.weight(1.0), target.weight(3.0), target.weight(5.0)) == (1.0, 5.0, 10.0)


def test_target_that_health_checks_bring_back_does_so_too() -> None:
    target = make_target()
    assert [target.checked(0.0, ok=False) for _ in range(3)][-1]
    assert [target.checked(1.0, ok=True) for _ in range(2)][-1]
    assert (target.weight(1.0), target.weight(3.0), target.weight(5.0)) == (1.0, 5.0, 10.0)


def test_target_counts_what_is_under_way_and_how_it_ended() -> None:
    target = make_target()
    one, two = target.begin(0.0), target.begin(0.0)
    assert target.pending == 2
    target.end(one, 0.0, "ok", ok=True)
    target.end(two, 0.0, "gone", ok=None)
    assert (target.pending, target.requests) == (0, {"ok": 1, "gone": 1})


def test_address_is_taken_apart_with_the_usual_ports() -> None:
    assert parse_address("http://a", 3) == ("http", "a", 80, 3)
    assert parse_address("https://[::1]") == ("https", "::1", 443, 1)
    assert str(parse_address("https://[::1]:8")) == "https://[::1]:8"
