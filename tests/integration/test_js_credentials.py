"""The JavaScript client with tokens, calls and members: in Node and in Chromium, before an app service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from gateway import Gateway
from tests.integration.test_client_scenarios import FLAGS
from tests.support.app_service import AppService, Heard, hangs, says
from tests.support.guests import serving_checkout
from tests.support.tokens import SECRET, make

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = Path(__file__).parents[1] / "clients"
SOON_S, WITHIN_S = 4, 50
Outcome = dict[str, Any]


class Backend:
    """The app service: adds, hangs, refuses, revokes a login, drops the caller's connections."""

    def __init__(self) -> None:
        self.api = ""

    async def serve(self, heard: Heard) -> Any:
        method, payload, user = heard.json["method"], heard.json.get("payload"), heard.json["user"]
        if method == "hang":
            return await hangs(heard)
        if method == "refuse":
            return await says({"refuse": {"code": "limit_exceeded", "message": "the cart is full"}})(heard)
        if method == "revoke":
            await self._post("revoke", {"login": f"{user} {payload}"})
        if method == "drop":
            await self._post("disconnect", {"user": user, "code": 4201})
        return await says({"payload": payload["a"] + payload["b"] if method == "add" else None})(heard)

    async def _post(self, what: str, body: object) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.api}/api/{what}", json=body) as response,
        ):
            assert response.status == 200, await response.text()
            assert (await response.json())["connections"] == 1


@asynccontextmanager
async def gateway_for(origin: str) -> AsyncIterator[Gateway]:
    backend = Backend()
    async with AppService(backend.serve) as service:
        config = {
            "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"},
            "websocket": {"origins": [origin]},
            "auth": {"keys": [f"HS256:{SECRET.decode()}"], "leeway": "0s"},
            "namespace": {
                "room": {"subscribe": "authenticated", "publish": "authenticated"},
                "secret": {"subscribe": "token", "publish": "authenticated"},
            },
            "upstream": {"app": {"addresses": [service.url]}},
            "hooks": {"call": "app/call", "secrets": ["hush"]},
        }
        async with Gateway(config) as gateway:
            backend.api = f"http://{gateway.api_address}"
            yield gateway


def settings_for(gateway: Gateway, user: str) -> dict[str, Any]:
    """Return what credentials.mjs is given: tokens of `user`, for each part as it needs them."""
    now = int(time.time())

    def token(lasts_s: int = 3600, **more: Any) -> str:
        return make(**{"sub": user, "iat": now, "exp": now + lasts_s, **more})

    tokens = {
        "user": user,
        "soon": token(SOON_S),
        "long": token(),
        "bad": token(-10, iat=now - 20),
        "login": token(sid=f"{user} first"),
        "other": token(sid=f"{user} second"),
        "dropped": token(sub=f"{user}-dropped"),
        "channel": token(sub=f"{user}-dropped", channel="secret:1"),
        "member": token(sub=f"{user}-member"),
        "watcher": token(sub=f"{user}-watcher"),
    }
    return {"url": gateway.ws_url, "tokens": tokens}


async def in_node(node: str, gateway: Gateway) -> Outcome:
    settings = json.dumps(settings_for(gateway, "ada"))
    process = await asyncio.create_subprocess_exec(
        node, str(CLIENTS / "credentials-node.mjs"), settings, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    outcome: Outcome = json.loads(told)
    return outcome


async def in_chromium(chromium: str, origin: str, gateway: Gateway) -> Outcome:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = await browser.new_page()
        await page.goto(f"{origin}/tests/clients/credentials.html")
        async with asyncio.timeout(WITHIN_S):
            outcome: Outcome = await page.evaluate("(it) => run(it)", settings_for(gateway, "eve"))
        await browser.close()
    return outcome


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(node: str, chromium: str) -> dict[str, Outcome]:
    """What happened in both, at the same time."""
    with serving_checkout() as origin:
        async with gateway_for(origin) as gateway:
            where = await asyncio.gather(in_node(node, gateway), in_chromium(chromium, origin, gateway))
    return dict(zip(("node", "chromium"), where, strict=True))


@pytest.fixture(params=["node", "chromium"])
def outcome(request: pytest.FixtureRequest, outcomes: dict[str, Outcome]) -> Outcome:
    return outcomes[request.param]


async def test_token_is_renewed_before_it_ends_on_the_same_connection(outcome: Outcome) -> None:
    assert outcome["renewed"] == {"asked": 2, "told": ["connecting", "online", "offline"], "sum": 4}


async def test_calls_are_answered_refused_timed_out_and_aborted(outcome: Outcome) -> None:
    calls = outcome["calls"]
    assert calls["sum"] == 3
    assert (calls["late"]["code"], calls["late"]["unknown"]) == ("timeout", True)
    assert (calls["aborted"]["code"], calls["aborted"]["unknown"]) == ("aborted", True)
    assert (calls["early"]["code"], calls["early"]["unknown"]) == ("aborted", False)
    assert (calls["refused"]["code"], calls["refused"]["message"]) == ("limit_exceeded", "the cart is full")
    assert (calls["cut"]["code"], calls["cut"]["unknown"]) == ("expired", False)


async def test_channel_with_a_token_of_its_own_is_taken_up_again_with_a_new_one(outcome: Outcome) -> None:
    assert outcome["ofOneChannel"]["asked"] == 2
    assert outcome["ofOneChannel"]["heard"] == ["before", "after"]
    assert outcome["ofOneChannel"]["without"]["code"] == "permission_denied"


async def test_list_of_members_stays_true_when_one_reconnects(outcome: Outcome) -> None:
    (first, second), joins = outcome["members"]["seen"], outcome["members"]["joins"]
    assert first == second
    assert [name.rpartition("-")[2] for name in first] == ["member", "watcher"]
    assert [join[0] for join in joins] == ["+", "-", "+", "-"]  # came, lost the connection, came back, closed
    assert all(join.endswith("-member") for join in joins)


async def test_callback_that_fails_is_asked_again_after_growing_waits(outcome: Outcome) -> None:
    waits = outcome["failing"]["waits"]
    assert len(waits) == 3
    assert all(wait >= bound - 20 for wait, bound in zip(waits, (200, 400, 400), strict=True))
    assert outcome["failing"]["states"] == [
        *["connecting", "reconnecting"] * 3,
        "connecting",
        "online",
        "offline",
    ]


async def test_revoked_login_ends_with_a_reason(outcome: Outcome) -> None:
    revoked = outcome["revoked"]
    assert revoked["status"]["state"] == "offline"
    assert revoked["status"]["code"] == 4001
    assert revoked["status"]["reason"]
    assert revoked["states"] == ["connecting", "online", "offline"]
    assert revoked["quiet"]


async def test_revoked_login_is_replaced_where_there_is_another(outcome: Outcome) -> None:
    assert outcome["replaced"] == {"asked": 2, "sum": 5, "offline": False}


async def test_token_that_has_ended_is_refused(outcome: Outcome) -> None:
    assert outcome["expired"]["code"] in {4001, "unauthorized"}
