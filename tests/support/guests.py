"""Users of the clients, in a page, a worker, Node and Python: one interface over all of tests/clients/.

Knows nothing of gateways but their addresses.  What always holds: what was started is ended with its
`with` block.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from playwright.async_api import Browser

from tests.support.tabs import Tab, open_tab

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"
ANSWER_S = 20.0
LINE_BYTES = 16 << 20

Report = dict[str, Any]
Ask = Callable[[dict[str, str]], Awaitable[Report]]
"""Sends one command to a process, and waits for its answer."""


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

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def publish(self, text: str) -> None:
        await self._tab.evaluate(f"guest.publish({json.dumps(text)})")

    async def report(self) -> Report:
        report: Report = await self._tab.evaluate("guest.report()")
        return report

    async def freeze(self) -> None:
        await self._tab.freeze()

    async def thaw(self) -> None:
        await self._tab.thaw()

    async def toasts(self) -> list[str] | None:
        said: list[str] | None = await self._tab.evaluate("toasts")
        return said


class ProcessGuest:
    """In a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, ask: Ask) -> None:
        self._process = process
        self._ask = ask

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


class _Files(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving_checkout(folder: Path = ROOT) -> Iterator[str]:
    """Serve the checkout's files, or another folder's, on a free loopback port; return the origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def page_guest(
    browser: Browser, origin: str, settings: dict[str, Any], file: str = "guest.html"
) -> AsyncIterator[PageGuest]:
    """A guest in a page of its own, from `origin` (see serving_checkout); `file` is of tests/clients/."""
    address = f"{origin}/tests/clients/{file}#{quote(json.dumps(settings))}"
    async with open_tab(browser, address) as tab:
        deadline = time.monotonic() + ANSWER_S
        while not await tab.evaluate("'guest' in window"):
            assert time.monotonic() < deadline, tab.problems
            await asyncio.sleep(0.05)
        yield PageGuest(tab)
        assert tab.problems == []


@asynccontextmanager
async def process_guest(*command: str) -> AsyncIterator[ProcessGuest]:
    """A guest that is a command with the interface of tests/clients/guest-node.mjs."""
    async with _process(*command) as process:
        yield ProcessGuest(process, partial(_ask, process))


@asynccontextmanager
async def node_process(node: str, script: str, settings: str) -> AsyncIterator[Ask]:
    """A script of tests/clients/ that answers lines of JSON: what asks it is returned."""
    async with _process(node, str(CLIENTS / script), settings) as process:
        yield partial(_ask, process)


@asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _ask(process: asyncio.subprocess.Process, command: dict[str, str]) -> Report:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(command).encode() + b"\n")
    line = await asyncio.wait_for(process.stdout.readline(), ANSWER_S)
    assert line, "the process is gone"
    answer: Report = json.loads(line)
    return answer
