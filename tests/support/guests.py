"""Users of the JavaScript client, in a page and in Node: one interface over tests/clients/guest.mjs.

Knows nothing of gateways but their addresses.  What always holds: what was started is ended with its
`with` block.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from playwright.async_api import Browser, CDPSession, Page

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 20.0

Report = dict[str, Any]


class Guest(Protocol):
    """Hears a channel and publishes to it."""

    async def publish(self, text: str) -> None: ...
    async def report(self) -> Report: ...
    async def freeze(self) -> None: ...
    async def thaw(self) -> None: ...
    async def toasts(self) -> list[str] | None:
        """What the toast said, as it changed; None where there is none."""
        ...


class PageGuest:
    """In a page of Chromium."""

    def __init__(self, page: Page, control: CDPSession) -> None:
        self.page = page
        self._control = control

    async def publish(self, text: str) -> None:
        await self.page.evaluate("(text) => guest.publish(text)", text)

    async def report(self) -> Report:
        report: Report = await self.page.evaluate("guest.report()")
        return report

    async def freeze(self) -> None:
        """As a browser does with a tab in the background: no timer, no message."""
        await self._control.send("Page.setWebLifecycleState", {"state": "frozen"})

    async def thaw(self) -> None:
        await self._control.send("Page.setWebLifecycleState", {"state": "active"})

    async def toasts(self) -> list[str] | None:
        said: list[str] = await self.page.evaluate("toasts")
        return said


class NodeGuest:
    """In a process of Node."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def publish(self, text: str) -> None:
        await self._ask({"op": "publish", "text": text})

    async def report(self) -> Report:
        return await self._ask({"op": "report"})

    async def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def toasts(self) -> list[str] | None:
        return None

    async def _ask(self, command: dict[str, str]) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
        assert line, "the guest in Node is gone"
        answer: Report = json.loads(line)
        return answer


class _Files(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving_checkout() -> Iterator[str]:
    """Serve the checkout's files on a free loopback port; return the origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(ROOT)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def page_guest(browser: Browser, origin: str, settings: dict[str, Any]) -> AsyncIterator[PageGuest]:
    """A guest in a page of its own, from `origin` (see serving_checkout)."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.goto(f"{origin}/tests/clients/guest.html#{quote(json.dumps(settings))}")
        await page.wait_for_function("window.guest !== undefined")
        yield PageGuest(page, await context.new_cdp_session(page))
        assert problems == []
    finally:
        await context.close()


@asynccontextmanager
async def node_guest(node: str, settings: dict[str, Any]) -> AsyncIterator[NodeGuest]:
    """A guest in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(ROOT / "tests" / "clients" / "guest-node.mjs"),
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield NodeGuest(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
