"""Tokens through the Python client: shown, renewed before they end, replaced once, and none that is good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway import Gateway
from gateway.client import Client, Options, RinggateError, Status
from tests.support.peers import ANY_PORT
from tests.support.tokens import SECRET, claims, forge, signer

QUICK = Options(backoff_first=0.05, backoff_most=0.2, close_timeout=0.5)
WITHIN_S = 20.0


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    sections: dict[str, object] = {
        "server": ANY_PORT,
        "auth": {"keys": [f"HS256:{SECRET.decode()}"], "leeway": "0s"},
        "namespace": {"default": {"subscribe": "authenticated", "publish": "authenticated"}},
    }
    async with Gateway(sections) as running:
        yield running


def token(lasts_s: float = 600.0) -> str:
    now = int(time.time())
    payload = claims(iat=now, nbf=now, exp=now + int(lasts_s))
    return forge({"alg": "HS256", "typ": "JWT"}, payload, signer("HS256"))


async def test_token_says_who_one_is_and_a_wrong_one_ends_it(gateway: Gateway) -> None:
    async with Client(gateway.ws_url, token=token()) as client, asyncio.timeout(WITHIN_S):
        assert (await client.online()).user == "ada"
        await client.subscribe("news").ready()
        await client.publish("news", 1)
    async with Client(gateway.ws_url, token="wrong", options=QUICK) as client:  # noqa: S106
        with pytest.raises(RinggateError, match="disconnected"):
            async with asyncio.timeout(WITHIN_S):
                await client.online()
        assert (client.status.state, client.status.code) == ("offline", 4001)


async def test_token_is_renewed_while_the_connection_stands(gateway: Gateway) -> None:
    asked: list[float] = []
    statuses: list[Status] = []

    async def fresh() -> str:
        asked.append(time.monotonic())
        return token(3.0 if len(asked) == 1 else 600.0)

    async with Client(gateway.ws_url, token=fresh) as client, asyncio.timeout(WITHIN_S):
        await client.online()
        client.on_status(statuses.append)
        while len(asked) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(max(0.0, asked[0] + 3.5 - time.monotonic()))  # past the end of the first one
        assert (await client.publish("news", 1)).offset == 1
        assert statuses == [], "it was online all the time"
    assert len(asked) == 2


async def test_token_that_is_refused_is_replaced_once(gateway: Gateway) -> None:
    given = ["wrong", token(), "wrong", "wrong"]
    async with Client(gateway.ws_url, token=lambda: given.pop(0), options=QUICK) as client:
        # What the gateway never took is not asked for again: the application gave it a moment ago.
        with pytest.raises(RinggateError, match="disconnected"):
            async with asyncio.timeout(WITHIN_S):
                await client.online()
        client.connect()
        async with asyncio.timeout(WITHIN_S):
            await client.online()
    assert given == ["wrong", "wrong"]
