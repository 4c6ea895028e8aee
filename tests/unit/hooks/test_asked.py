"""Questions to a real service: what it hears, what each of its answers comes to, what a bad one costs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gateway.asking import Admission, Caller, CallVerdict, ConnectQuestion, PublishVerdict, Refusal
from gateway.errors import CommandError
from gateway.hooks.asked import HookService, Signer
from gateway.hooks.options import AskedOptions, HookPlace
from gateway.hooks.signing import verify
from gateway.upstreams.groups import Upstreams
from gateway.upstreams.http import HttpTransport
from gateway.upstreams.names import system_resolver
from gateway.upstreams.options import BreakerOptions, UpstreamOptions, parse_address
from gateway.upstreams.upstream import Upstream
from tests.support.app_service import AppService, floods, hangs, redirects, resets, says, talks_nonsense

ALICE = Caller(client="c1", session="s1", user="alice", info=b'{"a": 1.0}', remote="192.0.2.1:5000")
NOW = 1_764_000_000
KEYS = [b"new", b"old"]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@asynccontextmanager
async def asking(service: AppService, **options: Any) -> AsyncIterator[HookService]:
    loop = asyncio.get_running_loop()
    upstream = Upstream(
        "app",
        UpstreamOptions(
            addresses=(parse_address(service.url),),
            timeout_s=0.2,
            max_answer_bytes=1 << 16,
            breaker=BreakerOptions(failures=4, open_s=0.1, probes=1),
        ),
        loop=loop,
        transport=HttpTransport,
        resolve=system_resolver(loop),
    )
    places = {name: HookPlace("app", f"/{name}") for name in ("connect", "subscribe", "publish", "call")}
    upstreams = Upstreams([upstream])
    signer = Signer(KEYS, wall_s=lambda: NOW + 0.9, random_id=lambda: "id1", random_bytes=os.urandom)
    await upstreams.start()
    try:
        yield HookService(upstreams, AskedOptions(**{**places, **options}), signer)
    finally:
        await upstreams.stop()


async def test_question_is_signed_json_about_the_client() -> None:
    async with AppService() as service, asking(service) as hooks:
        assert await hooks.publish(ALICE, "chat:1", b'{"n": 1.0}', binary=False) == PublishVerdict()
        (heard,) = service.heard
        assert heard.path == "/publish"
        assert heard.body == (
            b'{"type":"publish","client":"c1","session":"s1","user":"alice","info":{"a": 1.0},'
            b'"remote":"192.0.2.1:5000","channel":"chat:1","data":{"n": 1.0}}'
        )
        headers = {name.lower(): value for name, value in heard.headers.items()}
        assert headers["content-type"] == "application/json"
        assert headers["webhook-id"] == headers["x-request-id"] == "q_id1"
        assert headers["webhook-timestamp"] == str(NOW)
        assert headers["traceparent"].startswith("00-")
        assert all(verify([key], headers, heard.body, NOW) for key in KEYS)
        assert not verify(KEYS, headers, heard.body + b" ", NOW)


async def test_what_is_forwarded_comes_as_headers_and_overrides_none_of_ours() -> None:
    forwarded = {
        "cookie": "a=b",
        "x-odd": "ü\t ok",
        "x-bad": "a\r\nx-injected: 1",
        "webhook-id": "mine",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    }
    caller = msgspec.structs.replace(ALICE, forwarded=forwarded)
    async with AppService() as service, asking(service) as hooks:
        await hooks.subscribe(caller, "news")
        (heard,) = service.heard
        headers = {name.lower(): value for name, value in heard.headers.items()}
        assert headers["cookie"] == "a=b"
        assert {"x-bad", "x-injected"}.isdisjoint(headers)
        assert headers["webhook-id"] == "q_id1"
        assert headers["traceparent"].split("-")[1] == TRACE
        assert headers["traceparent"] != forwarded["traceparent"]


async def test_connect_says_where_and_its_answer_who() -> None:
    async with AppService(says({"user": "ada", "channels": ["news"]})) as service, asking(service) as hooks:
        question = ConnectQuestion(path="/ws", query="a=1", token="secret")  # noqa: S106
        assert await hooks.connect(ALICE, question) == Admission(user="ada", channels=("news",))
        body = service.heard[0].json
        assert (body["path"], body["query"], body["token"]) == ("/ws", "a=1", "secret")
        assert "subprotocol" not in body


async def test_bytes_travel_as_base64() -> None:
    async with AppService(says({"payload64": "AP8="})) as service, asking(service) as hooks:
        verdict = await hooks.call(ALICE, "m", b"\0\xff", binary=True, timeout_s=0.0)
        assert verdict == CallVerdict(data=b"\0\xff", binary=True)
        assert service.heard[0].json["payload64"] == "AP8="


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (says({"refuse": {"code": "rate_limited", "message": "slowly"}}), ("rate_limited", "slowly")),
        (says({"detail": "who are you"}, 401), ("unauthorized", "the app service refused")),
        (says({"detail": "Forbidden"}, 403), ("permission_denied", "the app service refused")),
        (says({"refuse": {"message": "not yet"}}, 403), ("permission_denied", "not yet")),
        (says({}, 403), ("permission_denied", "the app service refused")),
    ],
)
async def test_refusals(answer: Any, refusal: tuple[str, str]) -> None:
    async with AppService(answer) as service, asking(service) as hooks:
        verdict = await hooks.subscribe(ALICE, "news")
        assert isinstance(verdict, Refusal)
        assert (verdict.code, verdict.message) == refusal


async def no_content(heard: Any) -> web.StreamResponse:
    return web.Response(status=204)


async def test_nothing_is_a_yes() -> None:
    async with AppService(no_content) as service, asking(service) as hooks:
        assert await hooks.publish(ALICE, "c", b"1", binary=False) == PublishVerdict()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (hangs, "timeout"),
        (redirects, "unavailable"),
        (resets, "unavailable"),
        (talks_nonsense, "unavailable"),
        (floods, "unavailable"),
        (says({}, 500), "unavailable"),
        (says({"allow": False}), "unavailable"),
    ],
)
async def test_service_that_does_no_good_allows_nothing_and_is_left_alone_then_tried_again(
    answer: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with AppService(answer) as service, asking(service) as hooks:
        for _ in range(4):
            with pytest.raises(CommandError) as caught:
                await hooks.publish(ALICE, "c", b"1", binary=False)
            assert caught.value.code == code
        came = len(service.heard)
        with pytest.raises(CommandError, match="unavailable"):
            await hooks.publish(ALICE, "c", b"1", binary=False)
        assert len(service.heard) == came, "the breaker is open"
        assert all(heard.path == "/publish" for heard in service.heard), "no redirect was followed"
        service.answer = says({})
        await asyncio.sleep(0.11)
        assert await hooks.publish(ALICE, "c", b"1", binary=False) == PublishVerdict()


async def test_hook_that_is_not_there_does_not_open_the_breaker() -> None:
    async with AppService(says({}, 404)) as service, asking(service) as hooks:
        for _ in range(10):
            with pytest.raises(CommandError, match="unavailable"):
                await hooks.subscribe(ALICE, "c")
        assert len(service.heard) == 10


async def test_what_is_not_configured_is_not_allowed() -> None:
    async with AppService() as service, asking(service, call=None) as hooks:
        with pytest.raises(CommandError, match="permission_denied"):
            await hooks.call(ALICE, "m", b"", binary=False, timeout_s=0.0)
        assert service.heard == []


async def test_client_chooses_the_time_of_a_call_up_to_a_bound() -> None:
    async with (
        AppService(hangs) as service,
        asking(service, call_timeout_s=0.05, call_timeout_most_s=0.1) as hooks,
    ):
        clock = asyncio.get_running_loop().time
        for wanted_s, least_s in ((0.0, 0.05), (0.08, 0.08), (60.0, 0.1)):
            begun = clock()
            with pytest.raises(CommandError, match="timeout"):
                await hooks.call(ALICE, "m", b"", binary=False, timeout_s=wanted_s)
            assert least_s <= clock() - begun + 0.01 < 10.0
