"""The demo page in a real browser: chat and board in two tabs, a network that is cut, and hostile text."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support.pages import PAGE_WAIT_MS
from tests.support.process import GatewayProcess, StartGateway
from tests.support.tokens import SECRET, make

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context()
    opened.set_default_timeout(PAGE_WAIT_MS)
    yield opened
    opened.close()


class Tab:
    """One open demo page, and what went wrong in it."""

    def __init__(self, context: BrowserContext, gateway: GatewayProcess, name: str) -> None:
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.add_init_script(f"sessionStorage.name ??= '{name}'")
        self.page.add_init_script("const { random } = Math; Math.random = () => window.dice ?? random();")
        self.page.goto(f"http://{gateway.api}/demo")
        self.expect_online()

    def _note(self, line: ConsoleMessage) -> None:
        if line.type == "error":
            self.problems.append(line.text)

    def expect_online(self) -> None:
        expect(self.page.locator("#status")).to_have_attribute("data-state", "online", timeout=PAGE_WAIT_MS)

    def expect_texts(self, *texts: str) -> None:
        """Wait until the chat holds exactly these confirmed messages, in this order."""
        lines = self.page.locator("#log .line:not(.pending) .bubble")
        expect(lines).to_have_text(list(texts), timeout=PAGE_WAIT_MS)

    def expect_notes(self, *texts: str) -> None:
        """Wait until the board holds exactly these notes, in any order."""
        self.page.wait_for_function(
            "(texts) => JSON.stringify([...document.querySelectorAll('.note textarea')]"
            ".map(({value}) => value).sort()) === texts",
            arg=json.dumps(sorted(texts), separators=(",", ":")),
        )

    def say(self, text: str) -> None:
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")


def post(gateway: GatewayProcess, path: str, body: object) -> Any:
    response = httpx.post(f"{gateway.api_url}{path}", json=body, timeout=10)
    response.raise_for_status()
    return response.json()


def post_chat(gateway: GatewayProcess, data: object) -> None:
    post(gateway, "/api/publish", {"channel": "chat:demo", "data": data})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_message_posted_over_http_appears_in_two_tabs(
    gateway_process: StartGateway, context: BrowserContext
) -> None:
    gateway = gateway_process()
    ann, bob = Tab(context, gateway, "ann"), Tab(context, gateway, "bob")
    post_chat(gateway, "Hello from curl")
    ann.say("hi bob")
    bob.expect_texts("Hello from curl", "hi bob")
    bob.say("hi ann")
    for tab in (ann, bob):
        tab.expect_texts("Hello from curl", "hi bob", "hi ann")
        expect(tab.page.locator("#log .line.service")).to_have_count(1)
        expect(tab.page.locator("#log .line.mine")).to_have_count(1)
        assert tab.problems == []
        assert {url.split("/")[2] for url in tab.asked} <= {gateway.api, gateway.edge}


def test_presence_and_typing_are_live(gateway_process: StartGateway, context: BrowserContext) -> None:
    gateway = gateway_process()
    ann, bob = Tab(context, gateway, "ann"), Tab(context, gateway, "bob")
    expect(ann.page.locator("#members li .who")).to_have_text(["ann", "bob"])
    expect(bob.page.locator("#members li .who")).to_have_text(["bob", "ann"])
    bob.page.locator("#text").press_sequentially("hi")
    expect(ann.page.locator("#typing")).to_have_text("bob is typing")
    bob.page.press("#text", "Enter")
    expect(ann.page.locator("#typing-who")).to_be_empty()
    bob.page.fill("#name", "robert")
    bob.page.press("#name", "Enter")
    expect(ann.page.locator("#members li .who")).to_have_text(["ann", "robert"])
    expect(ann.page.locator("#online")).to_have_text("2")
    assert ann.problems + bob.problems == []


def test_the_board_is_shared(gateway_process: StartGateway, context: BrowserContext) -> None:
    gateway = gateway_process()
    ann, bob = Tab(context, gateway, "ann"), Tab(context, gateway, "bob")
    ann.page.click("#add-note")
    ann.page.keyboard.type("Milk")
    bob.expect_notes("Milk")
    bob.page.dblclick("#board", position={"x": 20, "y": 20})
    bob.page.keyboard.type("Bread")
    ann.expect_notes("Milk", "Bread")
    expect(ann.page.locator(".cursor")).to_have_text("bob")
    left = bob.page.locator(".note").nth(1)
    before = left.bounding_box()
    handle = ann.page.locator(".note .handle").nth(1)
    handle.hover(position={"x": 60, "y": 10})
    ann.page.mouse.down()
    ann.page.mouse.move(400, 500, steps=5)
    ann.page.mouse.up()
    expect(ann.page.locator(".note.dragged")).to_have_count(0)
    bob.page.wait_for_function(
        "([x, y]) => {const box = document.querySelectorAll('.note')[1].getBoundingClientRect();"
        "return Math.hypot(box.x - x, box.y - y) > 50}",
        arg=[before["x"], before["y"]] if before else [],
    )
    bob.page.locator(".note .remove").first.press("Enter")  # where it lies is random: others may cover it
    ann.expect_notes("Bread")
    Tab(context, gateway, "late").expect_notes("Bread")
    assert ann.problems + bob.problems == []


def test_a_cut_network_costs_nothing(gateway_process: StartGateway, context: BrowserContext) -> None:
    gateway = gateway_process()
    ann, bob = Tab(context, gateway, "ann"), Tab(context, gateway, "bob")
    ann.page.click("#add-note")
    ann.page.keyboard.type("Milk")
    bob.expect_notes("Milk")
    ann.page.locator("#cut").check(force=True)
    toast = ann.page.locator("ringgate-status")
    expect(toast).to_have_attribute("state", "wait")
    ann.say("said while cut off")
    bob.say("said meanwhile")
    ann.page.click("#add-note")
    ann.page.keyboard.type("Bread")
    ann.page.locator(".note textarea").first.fill("Oat milk")
    bob.page.click("#add-note")
    bob.page.keyboard.type("Tea")
    bob.page.locator(".note .tint").first.click()
    expect(ann.page.locator("#board-pending")).to_be_visible()
    expect(ann.page.locator("#log .line.pending")).to_have_count(1)
    bob.expect_notes("Milk", "Tea")
    ann.page.locator("#cut").uncheck(force=True)
    expect(toast).to_have_attribute("state", "good")
    expect(toast).not_to_have_attribute("state", re.compile(".*"))
    for tab in (ann, bob):
        tab.expect_texts("said meanwhile", "said while cut off")
        tab.expect_notes("Oat milk", "Bread", "Tea")
        expect(tab.page.locator(".note[data-tint='1']")).to_have_count(3)
    expect(ann.page.locator("#board-pending")).to_be_hidden()
    assert ann.problems + bob.problems == []


def test_a_new_tab_shows_what_was_said_before(gateway_process: StartGateway, context: BrowserContext) -> None:
    gateway = gateway_process()
    for text in ("one", "two", "three"):
        post_chat(gateway, text)
    Tab(context, gateway, "ann").expect_texts("one", "two", "three")


def test_hostile_text_stays_text(gateway_process: StartGateway, context: BrowserContext) -> None:
    gateway = gateway_process()
    ann = Tab(context, gateway, "ann")
    attack = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    post_chat(gateway, attack)
    post_chat(gateway, {"text": attack})
    post_chat(gateway, {"__proto__": {"text": attack}, "n": [1, None]})
    ann.say(attack)
    shown = json.dumps({"__proto__": {"text": attack}, "n": [1, None]}, separators=(",", ":"))
    ann.expect_texts(attack, attack, shown, attack)
    assert ann.page.evaluate("window.hit") is None
    expect(ann.page.locator("#log img, #log script")).to_have_count(0)
    assert ann.problems == []


def test_a_hostile_board_stays_a_board(gateway_process: StartGateway, context: BrowserContext) -> None:
    gateway = gateway_process()
    attack = '<img src=x onerror="window.hit=1">'
    notes = {
        "a": {"x": 1e9, "y": -5, "z": "9", "tint": attack, "text": attack},
        "b": None,
        "c": attack,
        "d": [1],
        "__proto__": {"text": "fine"},
        **{f"n{n}": {"text": ""} for n in range(100)},
    }
    post(gateway, "/api/update", {"channel": "ringgate-demo:board", "base": 0, "patch": {"notes": notes}})
    ann = Tab(context, gateway, "ann")
    expect(ann.page.locator(".note")).to_have_count(40)
    assert ann.page.locator(".note textarea").first.input_value() == attack
    assert ann.page.evaluate("window.hit") is None
    expect(ann.page.locator("#board img")).to_have_count(0)
    assert ann.problems == []


def test_a_tab_that_was_cut_off_resumes_without_loss(
    gateway_process: StartGateway, context: BrowserContext
) -> None:
    gateway = gateway_process()
    ann = Tab(context, gateway, "ann")
    post_chat(gateway, "before")
    ann.expect_texts("before")
    # a page that had loaded its history anew would have lost this mark
    ann.page.evaluate("document.querySelector('#log .line').id = 'mark'")
    ann.page.evaluate("window.dice = 1000")  # it waits until it is told to go on
    assert post(gateway, "/api/disconnect", {"user": "ann", "code": 4100})["connections"] == 1
    for text in ("missed 1", "missed 2"):
        post_chat(gateway, text)
    expect(ann.page.locator("#status")).to_have_attribute("data-state", "reconnecting")
    ann.say("said while cut off")
    expect(ann.page.locator("#log .line.pending")).to_have_count(1)
    ann.page.get_by_role("button", name="Try now").click()
    ann.expect_online()
    ann.expect_texts("before", "missed 1", "missed 2", "said while cut off")
    expect(ann.page.locator("#log .line.pending")).to_have_count(0)
    expect(ann.page.locator("#mark")).to_have_count(1)


def test_a_tab_outlives_a_restart_of_the_gateway_and_says_what_is_gone(
    gateway_process: StartGateway, context: BrowserContext
) -> None:
    flags = ("--listen", f"127.0.0.1:{free_port()}", "--api-listen", f"127.0.0.1:{free_port()}")
    first = gateway_process(*flags)
    ann = Tab(context, first, "ann")
    post_chat(first, "before the restart")
    ann.expect_texts("before the restart")
    assert first.stop() == 0
    expect(ann.page.locator("#status")).to_have_attribute("data-state", "reconnecting")
    second = gateway_process(*flags)
    ann.expect_online()
    expect(ann.page.locator("#log")).to_contain_text("started afresh")
    post_chat(second, "after the restart")
    ann.expect_texts("after the restart")


def test_who_is_told_not_to_come_back_stays_away_until_asked(
    gateway_process: StartGateway, context: BrowserContext
) -> None:
    gateway = gateway_process()
    ann = Tab(context, gateway, "ann")
    post(gateway, "/api/disconnect", {"user": "ann", "reason": "maintenance"})
    expect(ann.page.locator("#status")).to_have_attribute("data-state", "offline")
    expect(ann.page.locator("#status")).to_contain_text("maintenance")
    ann.page.wait_for_timeout(700)
    expect(ann.page.locator("#status")).to_have_attribute("data-state", "offline")
    ann.page.click("#status")
    ann.expect_online()


def test_token_is_asked_for_where_clients_must_show_one(
    context: BrowserContext, gateway_process: StartGateway
) -> None:
    rules = [f"default.{action}=authenticated" for action in ("subscribe", "publish")]
    flags = [part for rule in rules for part in ("--namespace", rule)]
    gateway = gateway_process("--auth-keys", f"HS256:{SECRET.decode()}", *flags)
    now = int(time.time())
    page = context.new_page()
    page.goto(f"http://{gateway.api}/demo")
    expired, good = (make(sub="ada", iat=now - 99, exp=now + life) for life in (-60, 600))
    for token, state in ((expired, "offline"), (good, "online")):
        expect(page.locator("#status")).to_have_attribute("data-state", "offline", timeout=PAGE_WAIT_MS)
        page.locator("#token").fill(token)
        page.locator("#token").press("Enter")
        expect(page.locator("#status")).to_have_attribute("data-state", state, timeout=PAGE_WAIT_MS)
    expect(page.locator("#login-form")).to_be_hidden()
    expect(page.locator("#name")).to_have_value("ada")
    page.locator("#text").fill("let in")
    page.locator("#text").press("Enter")
    expect(page.get_by_text("let in")).to_be_visible(timeout=PAGE_WAIT_MS)


def test_on_a_phone_everything_has_its_place_and_its_name(
    gateway_process: StartGateway, browser: Browser
) -> None:
    gateway = gateway_process()
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    ann = Tab(phone, gateway, "ann")
    page = ann.page
    expect(page.get_by_role("textbox", name="You are")).to_have_value("ann")
    expect(page.get_by_role("button", name="Chat")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Board").tap()
    expect(page.get_by_role("button", name="Add note")).to_be_visible()
    page.get_by_role("button", name="Chat").tap()
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.evaluate("window.dice = 16")  # eight seconds, the longest wait there is
    page.get_by_role("switch", name="Cut the network").check(force=True)
    expect(page.locator("#status-text")).to_contain_text("Reconnecting in")
    boxes = [page.locator(f"header > {part}").bounding_box() for part in ("#status", ".switch", ".name")]
    text = page.locator("#status-text").bounding_box()
    assert text is not None
    lefts = [box["x"] for box in boxes if box]
    rights = [box["x"] + box["width"] for box in boxes if box]
    assert len(lefts) == 3
    assert text["x"] + text["width"] < rights[0] <= lefts[1] < rights[1] <= lefts[2] < rights[2] <= 390
    phone.close()
