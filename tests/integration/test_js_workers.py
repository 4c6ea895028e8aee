"""The JavaScript client in every kind of worker: dedicated and shared, module and plain script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from playwright.async_api import async_playwright

from tests.chaos.proxy import FaultProxy
from tests.integration.test_client_scenarios import FLAGS
from tests.support.api import post
from tests.support.guests import Guest, Report, page_guest, serving_checkout
from tests.support.process import StartGateway

SOON_S = 30.0
KINDS = [(kind, script) for kind in ("Worker", "SharedWorker") for script in ("module", "classic")]


async def every(guests: list[Guest], holds: Callable[[Report], bool]) -> list[Report]:
    """Wait until something holds for all of them; return their reports."""
    deadline = time.monotonic() + SOON_S
    while True:
        reports = [await guest.report() for guest in guests]
        if all(holds(report) for report in reports):
            return reports
        assert time.monotonic() < deadline, reports
        await asyncio.sleep(0.05)


async def test_workers_subscribe_publish_and_come_back(chromium: str, gateway_process: StartGateway) -> None:
    async with AsyncExitStack() as stack:
        origin = stack.enter_context(serving_checkout())
        gateway = gateway_process("--websocket-origins", origin, "--namespace", "board.state=true")
        proxy = FaultProxy(("127.0.0.1", gateway.edge_port))
        await proxy.start()
        stack.push_async_callback(proxy.close)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        stack.push_async_callback(browser.close)
        settings = {"urls": [f"ws://{proxy.address}/ws"], "channel": "room:1", "board": "board:1"}
        guests: list[Guest] = [
            await stack.enter_async_context(
                page_guest(
                    browser,
                    origin,
                    {**settings, "kind": kind, "type": script, "msgpack": script == "module"},
                    "guest-worker.html",
                )
            )
            for kind, script in KINDS
        ]
        await every(guests, lambda report: report["members"] == len(KINDS))
        for number, guest in enumerate(guests):
            await guest.publish(f"first {number}")
        await every(guests, lambda report: len(report["heard"]) == len(KINDS))
        proxy.refusing = True
        proxy.cut()
        await every(guests, lambda report: report["state"] == "reconnecting")
        for number, guest in enumerate(guests):
            await guest.publish(f"second {number}")
        await asyncio.to_thread(post, gateway, "/api/publish", {"channel": "room:1", "data": "meanwhile"})
        proxy.heal()
        expected = {f"{when} {number}" for when in ("first", "second") for number in range(len(KINDS))}
        expected.add("meanwhile")
        reports = await every(
            guests,
            lambda report: (
                len(report["heard"]) == len(expected)
                and report["members"] == len(KINDS)
                and len(report["board"]) == len(expected) - 1
            ),
        )
        for report in reports:
            assert {text for _, text in report["heard"]} == expected
            assert [offset for offset, _ in report["heard"]] == list(range(1, len(expected) + 1))
            assert report["failed"] == []
