"""Tabs of Chromium that can be in the background and frozen, as a browser does it with tabs nobody looks at.

Playwright keeps its own pages in front for ever, and Chromium freezes none that is in front.  So these tabs
are made and asked through the browser's DevTools protocol.  What always holds: each tab has a window of
its own, which goes with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from playwright.async_api import Browser, CDPSession

ANSWER_S = 20.0


class Tab:
    """One tab.  `problems` are the exceptions that nothing in it caught."""

    def __init__(self, browser: CDPSession, window: str, target: str, session: str) -> None:
        self.problems: list[str] = []
        self._browser = browser
        self._window = window
        self._target = target
        self._session = session
        self._cover = ""
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        browser.on("Target.receivedMessageFromTarget", self._received)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of the promise that it is; AssertionError: what it throws."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = await self.send("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def freeze(self) -> None:
        """Put it into the background, and stop it: no timer, no message, also in its workers."""
        cover = {"url": "about:blank", "browserContextId": self._window}
        self._cover = (await self._browser.send("Target.createTarget", cover))["targetId"]
        await self._browser.send("Target.activateTarget", {"targetId": self._cover})
        while await self.evaluate("document.visibilityState") != "hidden":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await self.evaluate("void document.addEventListener('freeze', () => (window.frozen = true))")
        await self.send("Page.setWebLifecycleState", {"state": "frozen"})
        assert await self.evaluate("window.frozen"), "Chromium did not freeze the tab"

    async def thaw(self) -> None:
        """Let it go on, and look at it."""
        await self.send("Page.setWebLifecycleState", {"state": "active"})
        await self._browser.send("Target.activateTarget", {"targetId": self._target})
        await self._browser.send("Target.closeTarget", {"targetId": self._cover})

    async def send(self, method: str, parameters: dict[str, Any] | None = None) -> Any:
        """Give the tab a command of the protocol, and return its result."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = json.dumps({"id": number, "method": method, "params": parameters or {}})
        sent = {"sessionId": self._session, "message": message}
        await self._browser.send("Target.sendMessageToTarget", sent)
        return await asyncio.wait_for(answer, ANSWER_S)

    def _received(self, event: dict[str, Any]) -> None:
        if event["sessionId"] != self._session:
            return
        message = json.loads(event["message"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(message["params"]["exceptionDetails"]))
        answer = self._waiting.pop(message.get("id", 0), None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(AssertionError(message["error"]["message"]))
        else:
            answer.set_result(message["result"])


@asynccontextmanager
async def open_tab(browser: Browser, url: str) -> AsyncIterator[Tab]:
    """Open a page in a tab of its own window; it is gone when the block is over."""
    session = await browser.new_browser_cdp_session()
    window = (await session.send("Target.createBrowserContext"))["browserContextId"]
    try:
        made = {"url": "about:blank", "browserContextId": window, "newWindow": True}
        target = (await session.send("Target.createTarget", made))["targetId"]
        attached = await session.send("Target.attachToTarget", {"targetId": target, "flatten": False})
        tab = Tab(session, window, target, attached["sessionId"])
        await tab.send("Runtime.enable")
        await tab.send("Page.enable")
        await tab.send("Page.navigate", {"url": url})
        yield tab
    finally:
        await session.send("Target.disposeBrowserContext", {"browserContextId": window})
        await session.detach()
