"""The app service of a run: it answers calls, hears notices, and can be bad in many ways.

It writes every notice down, and knows nothing of what should have come.  What always holds: a notice counts
as taken only where the service sent a whole answer that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence

from aiohttp import web

from tests.support.app_service import (
    Answer,
    AppService,
    Heard,
    declares_much,
    floods,
    hangs,
    redirects,
    resets,
    says,
    talks_nonsense,
)

from .records import AnyRecord, Noticed

FLAGS = (
    *("--upstream", "app.timeout=1s", "--upstream", "app.breaker_open=200ms"),
    *("--upstream", "app.breaker_open_most=400ms", "--upstream", "app.max_answer_bytes=64KiB"),
    *(
        "--hooks-notices",
        "app/notices",
        "--hooks-call",
        "app/call",
        "--hooks-call-timeout",
        "1s",
        "--hooks-secrets",
        "hush",
    ),
    *("--hooks-vacated-after", "500ms"),
)
_DIFFERS = ("code", "channels", "time")
"""What of a `disconnect` may differ: the gateway of the client tells it, or another in its place."""


async def drips(heard: Heard) -> web.StreamResponse:
    """Answer a byte at a time, and never the last."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(heard.request)
    for _ in range(600):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def lies_about_length(heard: Heard) -> web.StreamResponse:
    """Break the answer off in the middle."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(heard.request)
    await response.write(b'{"payload":')
    return await resets(heard)


async def errs_as_page(heard: Heard) -> web.StreamResponse:
    """Answer an error with a page."""
    return web.Response(status=502, text="<h1>Bad Gateway</h1>", content_type="text/html")


NONSENSE: Sequence[Answer] = (drips, lies_about_length, floods, declares_much, errs_as_page, resets)
__all__ = ["FLAGS", "NONSENSE", "Stand", "drips", "hangs", "redirects", "resets", "says", "talks_nonsense"]


class Stand:
    """The service.  `answer`, if there is one, is what it does instead of its work.

    `gives_up` is after how long gateways make a dead letter of what it does not take; `lease` that of Redis.
    """

    def __init__(self) -> None:
        self.gives_up = "15m"
        self.lease = "2s"
        self.answer: Answer | None = None
        self.log: list[AnyRecord] = []
        self.heard_at = 0.0
        self._service = AppService(self._serve)

    @property
    def flags(self) -> tuple[str, ...]:
        """What gateways have to know of it."""
        mine = ("--upstream", f"app.addresses={self._service.url}")
        return (*mine, "--hooks-give-up-after", self.gives_up, "--redis-lease", self.lease, *FLAGS)

    async def start(self) -> None:
        """Be there, on the same port again after `stop`."""
        await self._service.start()

    async def stop(self) -> None:
        """Be gone."""
        await self._service.stop()

    async def _serve(self, heard: Heard) -> web.StreamResponse:
        self._service.heard.clear()
        self.heard_at = time.monotonic()
        bad = self.answer
        if heard.path == "/notices":
            self._note(heard, taken=bad is None)
        if bad is not None:
            with contextlib.suppress(ConnectionError):  # the gateway hangs up: it has heard enough
                return await bad(heard)
        if heard.path == "/call":
            return web.json_response({"payload": heard.json.get("payload")})
        return web.Response(status=204)

    def _note(self, heard: Heard, *, taken: bool) -> None:
        said = heard.json
        ends = said["type"] == "disconnect"
        body = {name: value for name, value in said.items() if not (ends and name in _DIFFERS)}
        self.log.append(
            Noticed(
                at=self.heard_at,
                id=said["id"],
                kind=said["type"],
                key=heard.headers["ce-subject"],
                happened=said["time"] / 1000 - time.time() + time.monotonic(),
                client=said.get("client", ""),
                channel=said.get("channel", ""),
                body=json.dumps(body, sort_keys=True),
                taken=taken,
            )
        )
