"""A group of addresses with real services on real sockets: every way in which they can fail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from gateway.errors import ServiceError, ServiceTimeoutError, ServiceUnavailableError
from gateway.upstreams.http import HttpTransport, Request, TooLargeError
from gateway.upstreams.names import system_resolver
from gateway.upstreams.options import BreakerOptions, HealthOptions, UpstreamOptions, parse_address
from gateway.upstreams.report import describe, samples
from gateway.upstreams.upstream import Asked, Upstream
from tests.support.app_service import (
    AppService,
    declares_much,
    floods,
    hangs,
    redirects,
    resets,
    says,
    talks_nonsense,
)
from tests.support.waiting import until

ASK = Asked(Request("POST", "/hook", {"Content-Type": "application/json"}, b"{}"))
AGAIN = ASK._replace(again=True)
HERE = ("127.0.0.0/8",)
BREAKER = BreakerOptions(failures=3, open_s=0.05, open_most_s=0.1, probes=1)


@asynccontextmanager
async def upstream_of(*urls: str, resolve: Any = None, **options: Any) -> AsyncIterator[Upstream]:
    given = UpstreamOptions(addresses=tuple(map(parse_address, urls)), breaker=BREAKER)
    loop = asyncio.get_running_loop()
    upstream = Upstream(
        "app",
        msgspec.structs.replace(given, **options),
        loop=loop,
        transport=HttpTransport,
        resolve=resolve or system_resolver(loop),
    )
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_request_reaches_the_service_as_it_was_given() -> None:
    async with AppService(says({"a": 1})) as service, upstream_of(service.url) as upstream:
        response = await upstream.ask(ASK)
        assert (response.status, response.body) == (200, b'{"a": 1}')
        (heard,) = service.heard
        assert (heard.path, heard.body) == ("/hook", b"{}")
        assert heard.headers["Host"] == f"127.0.0.1:{service.port}"
        assert heard.headers["Accept-Encoding"] == "identity"


async def test_connections_are_kept_alive() -> None:
    peers = set()
    async with AppService() as service, upstream_of(service.url) as upstream:
        for _ in range(5):
            await upstream.ask(ASK)
        peers = {heard.request.transport for heard in service.heard}
    assert len(peers) == 1


async def test_address_that_refuses_is_passed_over_even_for_what_must_not_happen_twice() -> None:
    async with AppService() as service:
        dead = f"http://127.0.0.1:{closed_port()}"
        async with upstream_of(dead, service.url) as upstream:
            for _ in range(10):
                assert (await upstream.ask(ASK)).status == 200
            assert len(service.heard) == 10
            assert upstream.outcomes["not_connected"] == BREAKER.failures, "then the breaker is open"


async def test_connection_that_breaks_is_tried_elsewhere_only_where_twice_is_fine() -> None:
    async with AppService(resets) as bad, AppService() as good, upstream_of(bad.url, good.url) as upstream:
        with pytest.raises(ServiceError):
            await upstream.ask(ASK)
        assert good.heard == []
        await upstream.ask(ASK)
        assert (await upstream.ask(AGAIN)).status == 200
        assert (len(bad.heard), len(good.heard)) == (2, 2)


async def test_answer_503_is_tried_elsewhere_only_where_twice_is_fine() -> None:
    async with (
        AppService(says({}, 503)) as bad,
        AppService() as good,
        upstream_of(bad.url, good.url) as upstream,
    ):
        assert (await upstream.ask(ASK)).status == 503
        await upstream.ask(ASK)
        assert (await upstream.ask(AGAIN)).status == 200


async def test_redirect_is_not_followed() -> None:
    async with AppService(redirects) as service, upstream_of(service.url) as upstream:
        assert (await upstream.ask(ASK)).status == 307
        assert [heard.path for heard in service.heard] == ["/hook"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    async with AppService() as service, upstream_of(service.url) as upstream:
        assert (await upstream.ask(ASK)).status == 200


@pytest.mark.parametrize("answer", [floods, declares_much])
async def test_answer_without_end_is_cut_off(answer: Any) -> None:
    async with AppService(answer) as service, upstream_of(service.url, max_answer_bytes=1 << 17) as upstream:
        with pytest.raises(TooLargeError):
            await upstream.ask(ASK)
        await until(lambda: service.under_way == 0)
        assert upstream.outcomes["too_large"] == 1


async def test_service_that_hangs_costs_the_time_limit_and_opens_the_breaker() -> None:
    async with AppService(hangs) as service, upstream_of(service.url, timeout_s=0.1) as upstream:
        for _ in range(BREAKER.failures):
            with pytest.raises(ServiceTimeoutError):
                await upstream.ask(ASK)
        with pytest.raises(ServiceUnavailableError, match="no address works"):
            await upstream.ask(ASK)
        service.answer = says({})
        await asyncio.sleep(BREAKER.open_s + 0.01)
        assert (await upstream.ask(ASK)).status == 200
        assert describe([upstream], asyncio.get_running_loop().time())[0]["targets"][0]["breaker"] == "closed"


async def test_impatient_askers_do_not_open_the_breaker() -> None:
    async with AppService(hangs) as service, upstream_of(service.url, timeout_s=5.0) as upstream:
        for _ in range(3 * BREAKER.failures):
            with pytest.raises(ServiceTimeoutError):
                await upstream.ask(ASK._replace(timeout_s=0.01))
        service.answer = says({})
        assert (await upstream.ask(ASK)).status == 200


async def test_asker_that_leaves_ends_the_request() -> None:
    async with AppService(hangs) as service, upstream_of(service.url) as upstream:
        task = asyncio.create_task(upstream.ask(ASK))
        await until(lambda: service.under_way == 1)
        task.cancel()
        await until(lambda: service.given_up == 1)
        assert (upstream.gate.inside, upstream.targets[0].pending) == (0, 0)
        assert upstream.outcomes == {"gone": 1}


async def test_what_the_asker_finds_bad_opens_the_breaker() -> None:
    def is_good(response: Any) -> bool:
        return bool(response.headers["content-type"].startswith("application/json"))

    async with AppService(talks_nonsense) as service, upstream_of(service.url) as upstream:
        for _ in range(BREAKER.failures):
            await upstream.ask(ASK._replace(is_good=is_good))
        with pytest.raises(ServiceUnavailableError):
            await upstream.ask(ASK)
        assert upstream.outcomes == {"nonsense": BREAKER.failures}


async def test_only_so_many_are_under_way_and_wait() -> None:
    async with (
        AppService(hangs) as service,
        upstream_of(service.url, max_pending=2, max_waiting=3) as upstream,
    ):
        tasks = [asyncio.create_task(upstream.ask(ASK)) for _ in range(5)]
        await until(lambda: service.under_way == 2)
        with pytest.raises(ServiceUnavailableError, match="wait"):
            await upstream.ask(ASK)
        assert (upstream.gate.inside, upstream.gate.waiting, upstream.gate.turned_away) == (2, 3, 1)
        tasks[0].cancel()
        await until(lambda: len(service.heard) == 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (upstream.gate.inside, upstream.gate.waiting) == (0, 0)


async def test_health_checks_take_an_address_out_and_bring_it_back() -> None:
    health = HealthOptions(path="/health", interval_s=0.02, healthy_after=2, unhealthy_after=2)
    async with (
        AppService() as one,
        AppService() as two,
        upstream_of(one.url, two.url, health=health) as upstream,
    ):
        one.answer = says({}, 500)
        await until(lambda: not upstream.targets[0].health.healthy)
        two.heard.clear()
        for _ in range(4):
            await upstream.ask(ASK)
        assert len([heard for heard in two.heard if heard.path == "/hook"]) == 4
        one.answer = says({})
        await until(lambda: upstream.targets[0].health.healthy)


async def test_names_are_looked_up_again_and_a_failing_name_server_takes_nobody_out() -> None:
    known = ["127.0.0.1"]

    async def resolve(host: str, port: int) -> Sequence[str]:
        if not known:
            raise OSError("no answer")
        return known

    async with AppService() as service:
        url = f"http://app.internal:{service.port}"
        options = {"resolve_interval_s": 0.02, "networks": HERE, "slow_start_s": 600.0}
        async with upstream_of(url, resolve=resolve, **options) as upstream:
            assert [target.endpoint.ip for target in upstream.targets] == ["127.0.0.1"]
            await upstream.ask(ASK)
            assert service.heard[0].headers["Host"] == f"app.internal:{service.port}"
            stayed = upstream.targets[0]
            known[:] = ["127.0.0.2", "127.0.0.1"]
            await until(lambda: len(upstream.targets) == 2)
            assert stayed in upstream.targets, "what is known of an address outlives a look-up"
            (new,) = (target for target in upstream.targets if target is not stayed)
            now = asyncio.get_running_loop().time()
            assert (stayed.weight(now), new.weight(now)) == (1.0, 0.1), "a new address begins slowly"
            known.clear()
            await asyncio.sleep(0.1)
            assert len(upstream.targets) == 2


async def test_name_that_is_not_known_yet_is_found_later() -> None:
    known: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        if not known:
            raise OSError("unknown")
        return known

    async with AppService() as service:
        url = f"http://app.internal:{service.port}"
        async with upstream_of(url, resolve=resolve, resolve_interval_s=0.02, networks=HERE) as upstream:
            with pytest.raises(ServiceUnavailableError):
                await upstream.ask(ASK)
            known.append("127.0.0.1")
            await until(lambda: bool(upstream.targets))
            assert (await upstream.ask(ASK)).status == 200


async def test_state_and_samples_say_what_happened() -> None:
    async with AppService() as service, upstream_of(service.url) as upstream:
        await upstream.ask(ASK)
        now = asyncio.get_running_loop().time()
        (told,) = describe([upstream], now)
        (target,) = told["targets"]
        assert (told["name"], target["address"], target["requests"]) == ("app", service.url, {"ok": 1})
        by_name = {name: value for name, _, _, _, value in samples([upstream], now)}
        assert by_name["ringgate_upstream_requests"] == 1
        assert by_name["ringgate_upstream_target_up"] == 1
