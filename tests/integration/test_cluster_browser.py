"""The demo page in a browser, through nginx, on three gateways: one killed, one drained, Redis restarted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.test_demo_browser import FLAGS
from tests.support.api import metrics
from tests.support.pages import PAGE_WAIT_MS
from tests.support.process import GatewayProcess, StartGateway
from tests.support.proxies import Proxy, proxy
from tests.support.redis_servers import RedisServer

_THROUGH_THE_PROXY = """
    const Direct = WebSocket;
    globalThis.WebSocket = class extends Direct {
        constructor(url, protocols) { super(url.replace(/:[0-9]+\\//, ":%d/"), protocols); }
    };
    sessionStorage.name ??= "%s";
"""


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        opened.close()


def open_page(browser: Browser, gateway: GatewayProcess, front: Proxy, name: str) -> Page:
    context = browser.new_context(
        bypass_csp=True
    )  # the page comes from a gateway, its WebSocket goes to nginx
    context.set_default_timeout(PAGE_WAIT_MS)
    page = context.new_page()
    page.add_init_script(_THROUGH_THE_PROXY % (front.port, name))
    page.goto(f"http://{gateway.api}/demo")
    expect(page.locator("#status")).to_have_attribute("data-state", "online", timeout=PAGE_WAIT_MS)
    return page


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def post(gateway: GatewayProcess, text: str) -> None:
    body = {"channel": "chat:demo", "data": text}
    httpx.post(f"{gateway.api_url}/api/publish", json=body, timeout=10).raise_for_status()


def connections(gateway: GatewayProcess) -> int:
    return int(metrics(gateway)["ringgate_connections"])


def test_chat_in_a_browser_goes_on_while_gateways_die_and_drain_and_redis_restarts(
    gateway_process: StartGateway, browser: Browser, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, aof=True) as redis:
        flags = ("--broker", redis.url, "--websocket-origins", "*")
        gateways = [gateway_process(*flags, unclean=True) for _ in range(3)]
        with proxy("nginx", gateways, tmp_path) as front:
            pages = [open_page(browser, gateways[0], front, name) for name in ("ann", "bob", "cy")]
            said = []
            for n, page in enumerate(pages):
                said.append(f"hello {n}")
                say(page, said[-1])
                shows(pages, said)
            assert [connections(gateway) for gateway in gateways] == [1, 1, 1]
            gateways[1].popen.kill()
            gateways[1].popen.wait()
            for n in range(6):  # while the page that was there comes back
                said.append(f"meanwhile {n}")
                post(gateways[2], said[-1])
            shows(pages, said)
            for n, page in enumerate(pages):
                said.append(f"and on {n}")
                say(page, said[-1])
                shows(pages, said)
            assert sum(connections(gateway) for gateway in (gateways[0], gateways[2])) == 3

            again = ("--listen", gateways[1].edge, "--api-listen", gateways[1].api)
            gateways[1] = gateway_process(*flags, *again, unclean=True)
            gateways[2].popen.terminate()  # SIGTERM: it drains
            for n in range(6):
                said.append(f"while it drains {n}")
                post(gateways[0], said[-1])
            gateways[2].popen.wait(30)
            shows(pages, said)
            assert sum(connections(gateway) for gateway in gateways[:2]) == 3

            redis.kill()
            said.append("while Redis is away")
            say(pages[1], said[-1])
            redis.start()
            shows(pages, said)
            for n, page in enumerate(pages):
                said.append(f"to the end {n}")
                say(page, said[-1])
                shows(pages, said)


def shows(pages: list[Page], said: list[str]) -> None:
    """Wait until every page has exactly these messages, each once, in this order."""
    for page in pages:
        lines = page.locator("#log .line:not(.pending) .bubble")
        expect(lines).to_have_text(said, timeout=PAGE_WAIT_MS)
