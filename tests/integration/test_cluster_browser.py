"""As users have it: the demo page in a browser, through nginx, on three gateways of which one is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.test_demo_browser import FLAGS
from tests.support.api import metrics
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
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.add_init_script(_THROUGH_THE_PROXY % (front.port, name))
    page.goto(f"http://{gateway.api}/demo")
    expect(page.locator("#status")).to_have_attribute("data-state", "online", timeout=15_000)
    return page


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def connections(gateway: GatewayProcess) -> int:
    return int(metrics(gateway)["ringgate_connections"])


def test_chat_in_a_browser_goes_on_while_a_gateway_is_killed(
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
                body = {"channel": "chat:demo", "data": said[-1]}
                httpx.post(f"{gateways[2].api_url}/api/publish", json=body, timeout=10).raise_for_status()
            shows(pages, said)
            for n, page in enumerate(pages):
                said.append(f"and on {n}")
                say(page, said[-1])
                shows(pages, said)
            assert sum(connections(gateway) for gateway in (gateways[0], gateways[2])) == 3


def shows(pages: list[Page], said: list[str]) -> None:
    """Wait until every page has exactly these messages, each once, in this order."""
    for page in pages:
        lines = page.locator("#log .line:not(.pending) .bubble")
        expect(lines).to_have_text(said, timeout=15_000)
