"""An app service for tests: answers as it is told to, also badly, and remembers what it was asked.

It runs in the loop of the test, on a port of its own on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self

from aiohttp import web

Answer = Callable[["Heard"], Awaitable[web.StreamResponse]]


class Heard(NamedTuple):
    """A request that came."""

    request: web.Request
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class AppService:
    """A service; an asynchronous context manager.  `answer` can be replaced at any time."""

    def __init__(
        self, answer: Answer | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.heard: list[Heard] = []
        self.answer: Answer = answer or says({})
        self.port = port
        self.tls = tls
        self.under_way = 0
        self.given_up = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    def named(self, kind: str) -> list[Any]:
        """Return the bodies of requests whose path ends so."""
        return [heard.json for heard in self.heard if heard.path.endswith(kind)]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, after `stop` again on the same port."""
        app = web.Application(client_max_size=1 << 24, handler_args={"handler_cancellation": True})
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        server: Any = site._server
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        heard = Heard(request, request.path, dict(request.headers), await request.read())
        self.heard.append(heard)
        self.under_way += 1
        try:
            return await self.answer(heard)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.under_way -= 1


def says(value: Any, status: int = 200) -> Answer:
    """Answer with a JSON value."""

    async def answer(heard: Heard) -> web.StreamResponse:
        return web.json_response(value, status=status)

    return answer


async def hangs(heard: Heard) -> web.StreamResponse:
    """Answer nothing until the asker is gone."""
    await asyncio.sleep(60)
    return web.Response()


async def redirects(heard: Heard) -> web.StreamResponse:
    """Send the asker elsewhere: here, to another path."""
    return web.Response(status=307, headers={"Location": "/elsewhere"})


async def talks_nonsense(heard: Heard) -> web.StreamResponse:
    """Answer with a page."""
    return web.Response(text="<html>It works!</html>", content_type="text/html")


async def resets(heard: Heard) -> web.StreamResponse:
    """Cut the connection off instead of answering."""
    transport = heard.request.transport
    assert transport is not None
    transport.abort()
    return web.Response()


async def floods(heard: Heard) -> web.StreamResponse:
    """Answer without an end."""
    response = web.StreamResponse()
    await response.prepare(heard.request)
    while True:
        await response.write(b" " * 65536)


async def declares_much(heard: Heard) -> web.StreamResponse:
    """Announce a huge answer."""
    response = web.StreamResponse(headers={"Content-Length": str(1 << 40)})
    await response.prepare(heard.request)
    await response.write(b"{")
    await asyncio.sleep(60)
    return response
