"""Groups whose options change while they run, and addresses that an operator drains."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web

from gateway.errors import ServiceUnavailableError
from gateway.upstreams.groups import Upstreams
from gateway.upstreams.options import BreakerOptions, HealthOptions, UpstreamOptions, parse_address
from gateway.upstreams.report import describe
from gateway.upstreams.upstream import Upstream
from tests.support.app_service import AppService, Heard, says
from tests.support.waiting import until

from .test_upstream import ASK, HERE, upstream_of


def options(*urls: str, weight: int = 1, **more: object) -> UpstreamOptions:
    return UpstreamOptions(addresses=tuple(parse_address(url, weight) for url in urls), **more)  # type: ignore[arg-type]


async def change(upstream: Upstream, wanted: UpstreamOptions) -> None:
    upstream.change(await upstream.prepare(wanted))


async def test_what_is_in_both_goes_on_with_all_that_it_knows() -> None:
    async with AppService() as a, AppService() as b, upstream_of(a.url) as upstream:
        await upstream.ask(ASK)
        lease = upstream.lease()
        lease.connected()
        (before,) = upstream.targets
        await change(upstream, options(a.url, b.url, weight=3))
        same, _ = upstream.targets
        assert same is before
        assert (same.pending, same.requests["ok"], same.weight(0)) == (1, 1, 3)
        for _ in range(4):
            await upstream.ask(ASK)
        assert (len(a.heard), len(b.heard)) == (3, 2)
        assert upstream.outcomes["ok"] == 5
        lease.release()
        assert same.pending == 0


async def test_what_goes_is_shown_until_nothing_is_there_and_is_the_same_when_it_comes_back() -> None:
    told: list[str] = []
    async with AppService() as a, AppService() as b, upstream_of(a.url, b.url) as upstream:
        upstream.watch(lambda: told.append("changed"))
        lease = upstream.lease()
        lease.connected()
        there = lease.target
        other = b.url if str(there.endpoint.address) == a.url else a.url
        assert upstream.stays(there)
        await change(upstream, options(other))
        assert told == ["changed"]
        assert not upstream.stays(there)
        assert upstream.leaving == [there]
        (shown,) = describe([upstream], asyncio.get_running_loop().time())
        assert [(t["draining"], t["pending"]) for t in shown["targets"]] == [(False, 0), (True, 1)]
        await change(upstream, options(a.url, b.url))
        assert there in upstream.targets
        assert upstream.stays(there)
        assert (there.pending, upstream.leaving) == (1, [])
        await change(upstream, options(other))
        lease.release()
        assert upstream.leaving == []


async def test_who_is_on_the_way_is_answered_and_bounds_hold_at_once() -> None:
    open_now = asyncio.Event()

    async def answer(heard: Heard) -> web.StreamResponse:
        await open_now.wait()
        return await says({})(heard)

    async with AppService(answer) as a, upstream_of(a.url, max_pending=1, max_waiting=0) as upstream:
        first = asyncio.ensure_future(upstream.ask(ASK))
        await until(lambda: a.under_way == 1)
        with pytest.raises(ServiceUnavailableError):
            await upstream.ask(ASK)
        await change(upstream, options(a.url, max_pending=2, max_waiting=1))
        more = [asyncio.ensure_future(upstream.ask(ASK)) for _ in range(2)]
        await until(lambda: a.under_way == 2 and upstream.gate.waiting == 1)
        await change(upstream, options(a.url, max_pending=3, max_waiting=0))
        await until(lambda: a.under_way == 3)
        open_now.set()
        assert [(await asked).status for asked in (first, *more)] == [200] * 3
        assert (upstream.gate.inside, upstream.gate.waiting) == (0, 0)


async def test_health_and_breaker_are_remembered_and_judged_by_the_new_options() -> None:
    checks = HealthOptions(path="/health", interval_s=0.02, unhealthy_after=1)
    async with AppService(says({}, 500)) as a, upstream_of(a.url, health=checks) as upstream:
        (target,) = upstream.targets
        await until(lambda: not target.health.healthy)
        given = msgspec.structs.replace(upstream.options, timeout_s=2.0)
        await change(upstream, given)
        assert not target.health.healthy
        await change(upstream, msgspec.structs.replace(given, health=HealthOptions()))
        assert upstream.targets[0].health.healthy, "nothing is checked any more"
        await upstream.ask(ASK)
        await change(upstream, options(a.url, breaker=BreakerOptions(failures=1, open_s=60)))
        await upstream.ask(ASK)
        with pytest.raises(ServiceUnavailableError):
            await upstream.ask(ASK)
        await change(upstream, options(a.url, breaker=BreakerOptions(failures=1, open_s=0.01)))
        await asyncio.sleep(0.02)
        assert (await upstream.ask(ASK)).status == 500


async def test_names_that_cannot_be_looked_up_after_a_change_lead_where_they_did() -> None:
    up = True

    async def resolve(host: str, port: int) -> list[str]:
        if not up:
            raise OSError("no name server")
        return ["127.0.0.1"]

    async with AppService() as a:
        url = f"http://app:{a.port}"
        async with upstream_of(url, resolve=resolve, networks=HERE) as upstream:
            up = False
            await change(upstream, options(url, networks=HERE, timeout_s=3.0))
            assert (await upstream.ask(ASK)).status == 200
            await change(upstream, options(url, networks=("10.0.0.0/8",)))
            assert upstream.targets == []


async def test_a_drained_address_gets_nothing_new_until_it_is_taken_back() -> None:
    async with AppService() as a, AppService() as b, upstream_of(a.url, b.url) as upstream:
        lease = upstream.lease()
        target = lease.target
        address = str(target.endpoint.address)
        (drained,) = upstream.drain(address.replace("http:", "ws:"))
        assert drained is target
        assert not upstream.stays(target)
        for _ in range(4):
            await upstream.ask(ASK)
        assert sorted((len(a.heard), len(b.heard))) == [0, 4]
        await change(upstream, options(a.url, b.url, timeout_s=3.0))
        assert target.draining, "a reload changes nothing of it"
        assert upstream.drained == [(address, "")]
        upstream.drain(address, draining=False)
        assert upstream.stays(target)
        for _ in range(4):
            await upstream.ask(ASK)
        assert sorted((len(a.heard), len(b.heard))) == [2, 6]
        lease.release()


async def test_where_there_is_no_other_address_connections_stay() -> None:
    async with AppService() as a, upstream_of(a.url) as upstream:
        lease = upstream.lease()
        upstream.drain(a.url)
        assert upstream.stays(lease.target)
        with pytest.raises(ServiceUnavailableError):
            upstream.lease()
        lease.release()


async def test_one_ip_of_a_name_can_be_drained_and_what_is_not_there_cannot() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "127.0.0.2"]

    async with upstream_of("http://app:9000", resolve=resolve, networks=HERE) as upstream:
        upstream.drain("http://app:9000", "127.0.0.2")
        assert [target.draining for target in upstream.targets] == [False, True]
        upstream.drain("http://app:9000", draining=False)
        assert upstream.drained == []
        for address, ip in (("http://app:9001", ""), ("http://app:9000", "127.0.0.9"), ("app", "")):
            with pytest.raises(KeyError):
                upstream.drain(address, ip)


async def test_groups_keep_those_that_stay_and_return_those_that_go() -> None:
    async with AppService() as a, upstream_of(a.url) as one, upstream_of(a.url) as two:
        two.name = "two"
        groups, fresh = Upstreams([one, two]), Upstreams([])
        prepared = await groups.prepare({"app": options(a.url, timeout_s=1.0)})
        assert groups.change(["app"], prepared, fresh) == [two]
        assert groups["app"] is one
        assert (one.options.timeout_s, "two" in groups) == (1.0, False)
