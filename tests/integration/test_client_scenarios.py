"""Both clients through real faults, as users have them: every message once and in order, on every screen.

Two gateways around one Redis, and one room with guests of all kinds: a page and a worker in Chromium, Node
with its own WebSocket and with `ws`, Python.  The same guests live through one fault after another: the
gateway is killed, the network swallows everything, they are frozen.  While they are away others publish and
change the board, and so do they, into their queues; then they come back on the other gateway.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.chaos.proxy import FaultProxy
from tests.support.api import post, request
from tests.support.guests import CLIENTS, Guest, Report, page_guest, process_guest, serving_checkout
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer

SOON_S = 30.0
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
OPTIONS = (
    *("--websocket-ping-interval", "500ms", "--websocket-idle-timeout", "1500ms", "--redis-lease", "2s"),
    *("--namespace", "board.state=true", "--namespace", "room.history_size=1000"),
)
CHANNEL, BOARD = "room:1", "board:1"


@pytest.fixture
def origin() -> Iterator[str]:
    with serving_checkout() as served:
        yield served


@pytest_asyncio.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        await opened.close()


@dataclass
class Site:
    """Two gateways, each behind a proxy, and the guests, who are all at one of them.

    The clients in JavaScript know both proxies and try them in turn; that in Python knows `front`, which
    leads to where the guests should be.  `elsewhere` is the gateway that the next fault leaves alone.
    """

    nodes: list[GatewayProcess]
    doors: list[FaultProxy]
    front: FaultProxy
    guests: dict[str, Guest]
    at: int = 0
    elsewhere: int = 1
    said: int = 0
    rounds: int = 0

    @property
    def other(self) -> int:
        return 1 - self.at

    # -- faults -------------------------------------------------------------------------------

    def close_doors(self) -> None:
        """Nobody gets in anywhere."""
        for proxy in (*self.doors, self.front):
            proxy.refusing = True

    def open_other_door(self) -> None:
        """Let guests in at the other gateway, and only there."""
        self.at = self.other
        self.front.target = ("127.0.0.1", self.nodes[self.at].edge_port)
        self.front.heal()
        self.doors[self.at].heal()

    # -- what happens meanwhile ---------------------------------------------------------------

    async def publish_elsewhere(self, count: int) -> None:
        """An app service publishes, and changes the board, at the gateway that nothing happens to."""
        for _ in range(count):
            self.said += 1
            text = f"elsewhere {self.said}"
            node = self.nodes[self.elsewhere]
            await asyncio.to_thread(post, node, "/api/publish", {"channel": CHANNEL, "data": text})
            await asyncio.to_thread(_update, node, text)

    async def speak(self, *numbers: int) -> None:
        for name, guest in self.guests.items():
            for number in numbers:
                await guest.publish(f"{name} {10 * self.rounds + number}")

    async def everybody(self, what: str, holds: Callable[[Report], bool]) -> dict[str, Report]:
        """Wait until something holds for every guest; return the reports."""
        deadline = time.monotonic() + SOON_S
        while True:
            reports = {name: await guest.report() for name, guest in self.guests.items()}
            missing = {name: report for name, report in reports.items() if not holds(report)}
            if not missing:
                return reports
            assert time.monotonic() < deadline, f"waited for {what}: {missing}"
            await asyncio.sleep(0.05)

    # -- what has to hold ---------------------------------------------------------------------

    @property
    def expected(self) -> set[str]:
        return {f"elsewhere {n + 1}" for n in range(self.said)} | {
            f"{name} {10 * n + number}"
            for name in self.guests
            for n in range(self.rounds + 1)
            for number in range(4)
        }

    async def begin(self) -> None:
        """Everybody is online and has heard everything so far."""
        await self.everybody("a subscription", lambda report: bool(report["active"]))
        self.elsewhere = self.other
        await self.publish_elsewhere(1)
        await self.speak(0)
        count = len(self.expected) - 3 * len(self.guests)
        await self.everybody("the first messages", lambda report: len(report["heard"]) >= count)

    async def check(self) -> None:
        """Everything arrived once and in order, everywhere the same; the toast was there and is gone."""
        count = len(self.expected)
        await self.everybody("everything", lambda report: len(report["heard"]) >= count)
        await self.publish_elsewhere(1)  # what is doubled would come before this
        expected = self.expected
        reports = await self.everybody(
            "what came last",
            lambda report: (
                len(report["heard"]) >= len(expected)
                and not report["queued"] + report["pending"]
                and len(report["board"]) >= len(expected)
                and report["members"] == len(self.guests)
                and report["state"] == "online"
            ),
        )
        for name, report in reports.items():
            check_report(name, report, expected)
        assert len({json.dumps(report["heard"]) for report in reports.values()}) == 1
        await self.check_toast()
        self.rounds += 1

    async def until_the_toast(self) -> None:
        """Wait until the page says that it has no connection: back at once, it would say nothing."""
        async with asyncio.timeout(SOON_S):
            while not (await self.guests["page"].toasts() or [""])[-1].startswith("wait"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def check_toast(self) -> None:
        page = self.guests["page"]

        async def said() -> list[str]:
            return (await page.toasts() or []).copy()

        deadline = time.monotonic() + SOON_S
        while (toasts := await said())[-2:] != ["good: Back online", "gone"]:
            assert time.monotonic() < deadline, toasts
            await asyncio.sleep(0.05)
        assert len([text for text in toasts if text == "good: Back online"]) == self.rounds + 1
        assert toasts[0].startswith("wait: Reconnecting")


def check_report(name: str, report: Report, expected: set[str]) -> None:
    """Hold one guest's log to what was said."""
    texts = [text for _, text in report["heard"]]
    assert sorted(texts) == sorted(expected), name
    assert [offset for offset, _ in report["heard"]] == list(range(1, len(expected) + 1)), name
    for who in {text.split()[0] for text in expected}:
        numbers = [int(text.split()[1]) for text in texts if text.split()[0] == who]
        assert numbers == sorted(numbers), name
    assert report["failed"] == [], name
    assert report["board"] == dict.fromkeys(expected, True), name


def _update(node: GatewayProcess, name: str) -> None:
    """Change the board as an app service does, on whatever version it has."""
    while True:
        base = json.loads(request(node.api, "GET", f"/api/channels/{BOARD}/state")[1])["version"]
        body = {"channel": BOARD, "base": base, "patch": {name: True}}
        headers = {"Content-Type": "application/json"}
        status, _ = request(node.api, "POST", "/api/update", json.dumps(body).encode(), headers)
        if status == http.client.OK:
            return
        assert status == http.client.CONFLICT


async def test_every_guest_lives_through_every_fault(
    origin: str,
    browser: Browser,
    node: str,
    node22: str,
    gateway_process: StartGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer(tmp_path_factory.mktemp("redis")))
        flags = ("--broker", redis.url, "--websocket-origins", origin, *OPTIONS)
        nodes = [gateway_process(*flags, unclean=True) for _ in range(2)]
        proxies = [FaultProxy(("127.0.0.1", nodes[n].edge_port)) for n in (0, 1, 0)]
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.close)
        *doors, front = proxies
        urls = [f"ws://{door.address}/ws?user=ada" for door in doors]
        settings = {"urls": urls, "channel": CHANNEL, "board": BOARD}
        packed = {**settings, "msgpack": True}
        in_worker = {**settings, "kind": "Worker", "type": "module"}
        script = str(CLIENTS / "guest-node.mjs")
        in_python = {"url": f"ws://{front.address}/ws", "channel": CHANNEL, "board": BOARD}
        guests: dict[str, Guest] = {
            "page": await stack.enter_async_context(page_guest(browser, origin, settings)),
            "worker": await stack.enter_async_context(
                page_guest(browser, origin, in_worker, "guest-worker.html")
            ),
            "node": await stack.enter_async_context(process_guest(node22, script, json.dumps(packed))),
            "ws": await stack.enter_async_context(
                process_guest(node, script, json.dumps({**settings, "ws": True}))
            ),
            "python": await stack.enter_async_context(
                process_guest(sys.executable, "-m", "tests.clients.guest", json.dumps(in_python))
            ),
        }
        site = Site(nodes, doors, front, guests)
        await kill_the_gateway(site)
        nodes[0] = await asyncio.to_thread(gateway_process, *flags, unclean=True)
        doors[0].target = ("127.0.0.1", nodes[0].edge_port)
        await swallow_everything(site)
        site.doors[site.other].heal()
        await freeze_the_guests(site)


async def kill_the_gateway(site: Site) -> None:
    await site.begin()
    await asyncio.to_thread(site.nodes[site.at].stop, signal.SIGKILL)
    site.close_doors()
    await site.speak(1)
    await site.publish_elsewhere(3)
    await site.speak(2, 3)
    await site.publish_elsewhere(2)
    await site.until_the_toast()
    await asyncio.sleep(0.5)
    site.open_other_door()
    await site.check()


async def swallow_everything(site: Site) -> None:
    await site.begin()
    site.close_doors()
    site.doors[site.at].stall()
    site.front.stall()
    await site.publish_elsewhere(3)
    await site.speak(1, 2, 3)
    await site.publish_elsewhere(2)
    await site.everybody("the silence to be noticed", lambda report: report["state"] != "online")
    await asyncio.sleep(0.5)
    site.open_other_door()
    await site.check()


async def freeze_the_guests(site: Site) -> None:
    await site.begin()
    for guest in site.guests.values():
        await guest.freeze()
    await site.publish_elsewhere(3)
    site.close_doors()
    await asyncio.sleep(2.0)  # the gateway gives them up
    for proxy in (*site.doors, site.front):
        proxy.cut()
    await site.publish_elsewhere(2)
    for guest in site.guests.values():
        await guest.thaw()
    await site.everybody("the end to be noticed", lambda report: report["state"] != "online")
    await site.speak(1, 2, 3)
    await asyncio.sleep(0.5)
    site.open_other_door()
    await site.check()
