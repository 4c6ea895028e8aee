"""The JavaScript client through real faults, in Chromium and in Node: every message once and in order.

Two gateways around one Redis; the guest begins at the first and comes back at the second.  While it is
away others publish, and so does it, into its queue.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.chaos.proxy import FaultProxy
from tests.support.api import post, request
from tests.support.guests import Guest, Report, node_guest, page_guest, serving_checkout
from tests.support.process import GatewayProcess, StartGateway, start_gateway
from tests.support.redis_servers import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = count(1)
SOON_S = 30.0
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
BOARDS = ("--namespace", "board.state=true")
PINGS = ("--websocket-ping-interval", "500ms", "--websocket-idle-timeout", "1500ms")


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving_checkout() as served:
        yield served


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[tuple[str, ...]]:
    """Those of every gateway, among them the address of a Redis."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield ("--broker", server.url, *PINGS, "--websocket-origins", origin, *BOARDS)


@pytest.fixture(scope="module")
def second(flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The gateway that nothing happens to."""
    gateway = start_gateway(*flags, log_path=tmp_path_factory.mktemp("second") / "log")
    yield gateway
    assert gateway.stop() == 0
    gateway.check()


@dataclass
class Site:
    """Two gateways, each behind a proxy, and one guest."""

    guest: Guest
    channel: str
    first: GatewayProcess
    second: GatewayProcess
    proxies: list[FaultProxy]
    said: int = 0

    async def publish_elsewhere(self, count: int) -> None:
        for _ in range(count):
            self.said += 1
            data = {"channel": self.channel, "data": f"elsewhere {self.said}"}
            await asyncio.to_thread(post, self.second, "/api/publish", data)
            await asyncio.to_thread(self._update, f"elsewhere {self.said}")

    def _update(self, name: str) -> None:
        """Change the board as an app service does, on whatever version it has."""
        path = f"/api/channels/board:{self.channel}/state"
        while True:
            base = json.loads(request(self.second.api, "GET", path)[1])["version"]
            body = {"channel": f"board:{self.channel}", "base": base, "patch": {name: True}}
            headers = {"Content-Type": "application/json"}
            status, _ = request(self.second.api, "POST", "/api/update", json.dumps(body).encode(), headers)
            if status == http.client.OK:
                return
            assert status == http.client.CONFLICT

    async def until(self, what: str, holds: Callable[[Report], bool]) -> Report:
        deadline = time.monotonic() + SOON_S
        while True:
            report = await self.guest.report()
            if holds(report):
                return report
            assert time.monotonic() < deadline, (
                f"waited for {what}: {report}, toasts {await self.guest.toasts()}"
            )
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        await opened.close()


@pytest_asyncio.fixture(params=["chromium", "node"], loop_scope="module")
async def site(
    request: pytest.FixtureRequest,
    origin: str,
    flags: tuple[str, ...],
    second: GatewayProcess,
    gateway_process: StartGateway,
    node: str,
    browser: Browser,
) -> AsyncIterator[Site]:
    """The guest in Chromium speaks JSON, that in Node MessagePack."""
    async with AsyncExitStack() as stack:
        first = gateway_process(*flags, unclean=True)
        proxies = [FaultProxy(("127.0.0.1", gateway.edge_port)) for gateway in (first, second)]
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.close)
        urls = [f"ws://{proxy.address}/ws?user=ada" for proxy in proxies]
        channel = f"room:{next(NUMBERS)}"
        settings = {
            "urls": urls,
            "channel": channel,
            "board": f"board:{channel}",
            "msgpack": request.param == "node",
        }
        guest: Guest
        if request.param == "node":
            guest = await stack.enter_async_context(node_guest(node, settings))
        else:
            guest = await stack.enter_async_context(page_guest(browser, origin, settings))
        yield Site(guest, channel, first, second, proxies)


async def away(site: Site) -> None:
    """What happens while the guest is away."""
    await site.publish_elsewhere(3)
    for n in range(1, 4):
        await site.guest.publish(f"mine {n}")
    await site.publish_elsewhere(2)


async def begin(site: Site) -> None:
    """The guest is online, and has heard something."""
    await site.until("a subscription", lambda report: bool(report["active"]))
    await site.publish_elsewhere(2)
    await site.guest.publish("mine 0")
    await site.until("the first messages", lambda report: len(report["heard"]) == 3)


async def check(site: Site) -> None:
    """Everything arrived once and in order, and the toast was there and is gone."""
    expected = {f"elsewhere {n}" for n in range(1, site.said + 1)} | {f"mine {n}" for n in range(4)}
    report = await site.until("everything", lambda report: len(report["heard"]) >= len(expected))
    await site.publish_elsewhere(1)  # what is doubled would come before this
    expected.add(f"elsewhere {site.said}")
    report = await site.until(
        "what came last",
        lambda report: (
            len(report["heard"]) >= len(expected)
            and not report["queued"] + report["pending"]
            and len(report["board"]) >= len(expected)
        ),
    )
    texts = [text for _, text in report["heard"]]
    offsets = [offset for offset, _ in report["heard"]]
    assert sorted(texts) == sorted(expected)
    assert offsets == list(range(1, len(expected) + 1))
    for who in ("elsewhere", "mine"):
        numbers = [int(text.split()[1]) for text in texts if text.startswith(who)]
        assert numbers == sorted(numbers)
    assert report["failed"] == []
    assert report["board"] == dict.fromkeys(expected, True)
    assert report["states"][:2] == ["connecting", "online"]
    assert report["states"][2] in {"connecting", "reconnecting"}
    await site.until("online", lambda report: report["state"] == "online")
    if await site.guest.toasts() is not None:
        deadline = time.monotonic() + SOON_S
        while (toasts := await site.guest.toasts() or [])[-2:] != ["good: Back online", "gone"]:
            assert time.monotonic() < deadline, toasts
            await asyncio.sleep(0.05)
        assert toasts[0].startswith("wait: Reconnecting")


async def test_a_killed_gateway(site: Site) -> None:
    await begin(site)
    site.first.stop(signal.SIGKILL)
    site.proxies[1].refusing = True  # nobody is there for a while
    await away(site)
    await asyncio.sleep(0.5)
    site.proxies[1].heal()
    await check(site)


async def test_a_network_that_swallows_everything(site: Site) -> None:
    await begin(site)
    site.proxies[0].stall()
    site.proxies[1].refusing = True
    await away(site)
    await site.until("the silence to be noticed", lambda report: report["state"] != "online")
    await asyncio.sleep(0.5)
    site.proxies[1].heal()
    await check(site)


async def test_a_frozen_guest(site: Site) -> None:
    await begin(site)
    await site.guest.freeze()
    await site.publish_elsewhere(3)
    site.proxies[0].refusing = site.proxies[1].refusing = True
    await asyncio.sleep(2.0)  # the gateway gives it up
    site.proxies[0].cut()
    await site.publish_elsewhere(2)
    await site.guest.thaw()
    await site.until("the end to be noticed", lambda report: report["state"] != "online")
    for n in range(1, 4):
        await site.guest.publish(f"mine {n}")
    await asyncio.sleep(0.5)
    site.proxies[1].heal()
    await check(site)
