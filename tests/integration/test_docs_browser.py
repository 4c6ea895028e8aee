"""What docs/browser.md says can be pasted works: a page, a plain script, and the hooks with a real React."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.test_demo_browser import FLAGS
from tests.support.guests import serving_checkout
from tests.support.process import GatewayProcess, StartGateway

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
PAGE = (ROOT / "docs" / "browser.md").read_text()
MODULES = {"ringgate": "/dist/index.js", "ringgate/status": "/dist/status-element.js"}


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is served: the built client, and whatever a test puts beside it."""
    served = tmp_path / "served"
    shutil.copytree(PACKAGE / "dist", served / "dist")
    return served


@pytest.fixture
def origin(folder: Path) -> Iterator[str]:
    with serving_checkout(folder) as served:
        yield served


@pytest.fixture
def gateway(gateway_process: StartGateway, origin: str) -> GatewayProcess:
    return gateway_process("--websocket-origins", origin, "--namespace", "board.state=true")


@pytest.fixture
def show(browser: Browser, origin: str) -> Iterator[Callable[[str], Page]]:
    """Open a file in a page; nothing in it may go wrong."""
    problems: list[str] = []
    context = browser.new_context()
    context.set_default_timeout(15_000)

    def opened(name: str) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{origin}/{name}")
        return page

    yield opened
    context.close()
    assert problems == []


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def subscribers(gateway: GatewayProcess, channel: str) -> int:
    listed: list[dict[str, Any]] = httpx.get(f"{gateway.api_url}/api/channels").json()["channels"]
    return next((entry["subscribers"] for entry in listed if entry["name"] == channel), 0)


def expect_subscribers(page: Page, gateway: GatewayProcess, channel: str, count: int) -> None:
    for _ in range(300):
        if subscribers(gateway, channel) == count:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{subscribers(gateway, channel)} subscribers of {channel}, and not {count}")


def test_page_shows_what_is_said(gateway: GatewayProcess, folder: Path, show: Callable[[str], Page]) -> None:
    (text,) = snippets("html")
    imports = f'<script type="importmap">{json.dumps({"imports": MODULES})}</script>'
    (folder / "page.html").write_text(imports + text.replace("127.0.0.1:8000", gateway.edge))
    page = show("page.html")
    expect(page.locator("#log li")).to_have_text(["ada is here"])
    page.fill("input", "hello")
    page.press("input", "Enter")
    expect(page.locator("#log li")).to_have_text(["ada is here", "ada: hello"])
    httpx.post(f"{gateway.api_url}/api/disconnect", json={"user": "ada", "code": 4000, "reason": "tea"})
    expect(page.locator("ringgate-status")).to_have_attribute("state", "bad")


def test_plain_script_is_the_client(
    gateway: GatewayProcess, folder: Path, show: Callable[[str], Page]
) -> None:
    (folder / "plain.html").write_text(
        f"""<!doctype html><ul></ul><script src="dist/ringgate.js"></script><script>
        const client = new Ringgate.Client("{gateway.ws_url}?user=ada");
        client.subscribe("chat:1", ({{ data }}) => document.querySelector("ul").append(data));
        client.connect();
        client.publish("chat:1", "hello");
        </script>"""
    )
    expect(show("plain.html").locator("ul")).to_have_text("hello")


def test_hooks_are_of_twenty_lines_and_work_in_react(
    gateway: GatewayProcess, folder: Path, show: Callable[[str], Page], node: str
) -> None:
    bundle_application(folder, gateway)
    page = show("react.html")
    one, two = page.locator("#one"), page.locator("#two")
    expect(page.locator("#status")).to_have_text("online")
    expect(one.locator("output")).to_have_text("ada")
    one.locator("button").click()
    expect(one.locator("li")).to_have_text(["from one"])
    page.click("#board-one")
    expect(page.locator("#board-one")).to_have_text('{"count":1}')

    page.click("#second")  # a second component on the same channel, and on the same board
    expect(two.locator("output")).to_have_text("ada")
    expect(page.locator("#board-two")).to_have_text('{"count":1}')
    two.locator("button").click()
    expect(one.locator("li")).to_have_text(["from one", "from two"])
    expect(two.locator("li")).to_have_text(["from two"])
    page.click("#board-two")
    expect(page.locator("#board-one")).to_have_text('{"count":2}')
    expect_subscribers(page, gateway, "chat:1", 1)

    page.click("#move")  # the first one goes to another channel, and the second one away
    expect(one.locator("li")).to_have_count(0)
    page.click("#second")
    expect_subscribers(page, gateway, "chat:1", 0)
    expect_subscribers(page, gateway, "chat:2", 1)
    expect(page.locator("#board-one")).to_have_text('{"count":2}')

    httpx.post(f"{gateway.api_url}/api/disconnect", json={"user": "ada", "code": 4100})
    expect(page.locator("#seen")).to_contain_text("online reconnecting")
    one.locator("button").click()
    expect(page.locator("#status")).to_have_text("online")
    expect(one.locator("li")).to_have_text(["from one"])


def bundle_application(folder: Path, gateway: GatewayProcess) -> None:
    """Write the hooks of the page, an application on them, and both in one file."""
    hooks = {re.findall(r"// (\w+\.js)", text)[0]: text for text in snippets("jsx")}
    assert sorted(hooks) == ["realtime.js", "shared.js"]
    source = folder / "source"
    source.mkdir()
    for name, text in hooks.items():
        (source / name).write_text(text.replace('"/ws"', json.dumps(f"{gateway.ws_url}?user=ada")))
    assert '"/ws"' in hooks["realtime.js"]
    shutil.copy(ROOT / "tests" / "clients" / "react-app.jsx", source)
    command = [
        str(PACKAGE / "node_modules" / ".bin" / "esbuild"),
        str(source / "react-app.jsx"),
        "--bundle",
        "--jsx=automatic",
        "--loader:.js=jsx",
        f"--outfile={folder / 'react.js'}",
        f"--alias:ringgate/state={PACKAGE / 'dist' / 'state.js'}",
        f"--alias:ringgate={PACKAGE / 'dist' / 'index.js'}",
    ]
    env = {**os.environ, "NODE_PATH": str(PACKAGE / "node_modules")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "react.html").write_text('<!doctype html><main></main><script src="react.js"></script>')


def test_hook_for_channels_is_short() -> None:
    (hook,) = re.findall(r"^export function useChannel.*?^}$", PAGE, re.MULTILINE | re.DOTALL)
    assert hook.count("\n") < 20
