"""Questions to app services, cancelled wherever they wait: nothing stays, and nobody else notices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.asking import Caller, CallVerdict, ConnectQuestion
from gateway.hooks.asked import HookService, Signer
from gateway.hooks.options import AskedOptions, HookPlace
from gateway.upstreams.groups import Upstreams
from gateway.upstreams.http import HttpTransport
from gateway.upstreams.names import system_resolver
from gateway.upstreams.options import UpstreamOptions, parse_address
from gateway.upstreams.upstream import Upstream
from tests.support.app_service import AppService, Heard, says
from tests.support.cancelling import every_wait
from tests.support.waiting import until

CALLER = Caller(client="c1", session="s1", user="ada")
CANARIES = 5  # more than there is room for: some wait
ROUNDS = 5

QUESTIONS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "connect": lambda hooks: hooks.connect(CALLER, ConnectQuestion(path="/ws")),
    "subscribe": lambda hooks: hooks.subscribe(CALLER, "news"),
    "publish": lambda hooks: hooks.publish(CALLER, "news", b"1", binary=False),
    "call": lambda hooks: hooks.call(CALLER, "it", b"1", binary=False, timeout_s=5.0),
    "message": lambda hooks: hooks.message(CALLER, b"1", binary=False),
}


async def answer(heard: Heard) -> Any:
    body = heard.json
    await asyncio.sleep(0.002)
    return await says({"payload": body["payload"]} if body["type"] == "call" else {})(heard)


@pytest.mark.parametrize("kind", QUESTIONS)
async def test_question_cancelled_wherever_it_waits_leaves_nothing_behind(kind: str) -> None:
    loop = asyncio.get_running_loop()
    async with AppService(answer) as service:
        options = UpstreamOptions(addresses=(parse_address(service.url),), timeout_s=20.0, max_pending=3)
        upstream = Upstream("app", options, loop=loop, transport=HttpTransport, resolve=system_resolver(loop))
        setattr(upstream, "_in_a_task", upstream._ask)  # noqa: B010 else its waits were one: for its task
        await upstream.start()
        try:
            await cancel_everywhere(kind, upstream)
        finally:
            await upstream.stop()


async def cancel_everywhere(kind: str, upstream: Upstream) -> None:
    places: dict[str, Any] = {name: HookPlace("app", f"/{name}") for name in QUESTIONS}
    signer = Signer([b"key"], wall_s=lambda: 0.0, random_id=lambda: "id1", random_bytes=os.urandom)
    hooks = HookService(Upstreams([upstream]), AskedOptions(**places), signer)

    async def canary(number: int) -> None:
        said = str(number).encode()
        verdict = await hooks.call(CALLER, "canary", said, binary=False, timeout_s=20.0)
        assert verdict == CallVerdict(data=said), "an answer was somebody else's"

    waits = set()
    for _ in range(ROUNDS):
        others = asyncio.gather(*(canary(number) for number in range(CANARIES)))
        await asyncio.sleep(0)
        async for number in every_wait(lambda: QUESTIONS[kind](hooks)):
            waits.add(number)
        await others
    assert len(waits) > 3, "it was cancelled in more than one place"
    await until(lambda: upstream.gate.inside == upstream.gate.waiting == 0)
    (target,) = upstream.targets
    assert (target.pending, target.breaker.opened) == (0, 0), "who gives up blames nobody"
