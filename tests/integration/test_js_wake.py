"""A page that is woken, or is online again, makes its attempt at once, however long it would have waited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from urllib.parse import quote

import orjson
from playwright.async_api import async_playwright

from tests.chaos.proxy import FaultProxy
from tests.integration.test_client_scenarios import FLAGS
from tests.support.guests import serving_checkout
from tests.support.process import StartGateway
from tests.support.tabs import Tab, open_tab

SOON_S = 30.0
OFFLINE = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


async def until(tab: Tab, what: str) -> None:
    """Wait until an expression is true in the page."""
    deadline = time.monotonic() + SOON_S
    while not await tab.evaluate(what):
        assert time.monotonic() < deadline, await tab.evaluate("window.guest && guest.report()")
        await asyncio.sleep(0.02)


async def connected(tab: Tab, state: str) -> None:
    await until(tab, f"'guest' in window && guest.report().state === '{state}'")


async def test_attempt_is_made_at_once_after_a_thaw_and_when_online_again(
    chromium: str, gateway_process: StartGateway
) -> None:
    async with AsyncExitStack() as stack:
        origin = stack.enter_context(serving_checkout())
        gateway = gateway_process("--websocket-origins", origin, "--namespace", "board.state=true")
        proxy = FaultProxy(("127.0.0.1", gateway.edge_port))
        await proxy.start()
        stack.push_async_callback(proxy.close)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        stack.push_async_callback(browser.close)
        settings = {
            "urls": [f"ws://{proxy.address}/ws"],
            "channel": "room:1",
            "board": "board:1",
            "patient": True,  # minutes between two attempts
        }
        address = f"{origin}/tests/clients/guest.html#{quote(orjson.dumps(settings))}"
        tab = await stack.enter_async_context(open_tab(browser, address))

        async def thaw() -> None:
            await tab.freeze()
            await tab.thaw()

        async def online() -> None:
            await tab.send("Network.emulateNetworkConditions", {"offline": True, **OFFLINE})
            await until(tab, "!navigator.onLine")
            await tab.send("Network.emulateNetworkConditions", {"offline": False, **OFFLINE})

        wakings: list[Callable[[], Awaitable[None]]] = [thaw, online]
        await connected(tab, "online")
        for wake in wakings:
            proxy.refusing = True
            proxy.cut()
            await connected(tab, "reconnecting")
            proxy.heal()
            await wake()
            await connected(tab, "online")
        assert tab.problems == []
