"""A target that is chosen for a connection: pending for as long as that lasts, judged by how it began."""

from __future__ import annotations

from gateway.upstreams.breaker import BreakerState
from gateway.upstreams.lease import Lease
from gateway.upstreams.options import BreakerOptions, UpstreamOptions, parse_address
from gateway.upstreams.target import Endpoint, Target

OPTIONS = UpstreamOptions(
    addresses=(parse_address("ws://a:1"),), breaker=BreakerOptions(failures=2, open_s=5.0, probes=1)
)


def make() -> Target:
    return Target(Endpoint(OPTIONS.addresses[0], "192.0.2.1"), OPTIONS)


def test_it_is_pending_until_it_is_released_however_it_went() -> None:
    target = make()
    for outcome in ("connected", "failed", ""):
        lease = Lease(target, lambda: 0.0)
        assert target.pending == 1
        if outcome:
            getattr(lease, outcome)()
            assert target.pending == 1
        lease.release()
        assert target.pending == 0
    assert target.requests == {"connected": 1, "not_connected": 1, "gone": 1}


def test_the_breaker_hears_how_it_began_and_not_how_long_it_lasts() -> None:
    target, now = make(), 0.0
    for _ in range(2):
        lease = Lease(target, lambda: now)
        lease.failed()
        lease.release()
    assert target.breaker.state(now) is BreakerState.OPEN
    now = 6.0
    probe = Lease(target, lambda: now)
    assert not target.breaker.allows(now), "one probe at a time"
    probe.connected()
    assert target.breaker.state(now) is BreakerState.CLOSED, "though the connection is still open"
    probe.release()
    assert target.pending == 0


def test_ws_is_http_and_wss_https() -> None:
    assert str(parse_address("ws://a")) == "http://a:80"
    assert str(parse_address("wss://a")) == "https://a:443"
