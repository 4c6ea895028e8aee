"""Hooks through a whole gateway: a client's call reaches a service; a bad service harms nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from gateway import Gateway
from gateway.errors import ConfigError
from gateway.hooks.signing import verify
from tests.support.app_service import AppService, Heard, hangs, says, talks_nonsense
from tests.support.waiting import until

SECRET = "hush"  # noqa: S105 of this test


def config_for(service: AppService, **hooks: Any) -> dict[str, Any]:
    upstream = {
        "addresses": [service.url],
        "timeout": "300ms",
        "breaker_failures": 3,
        "breaker_open": "100ms",
    }
    return {
        "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"},
        "upstream": {"app": upstream},
        "hooks": {"call": "app/hooks/call", "secrets": [SECRET], "call_timeout": "300ms", **hooks},
    }


@asynccontextmanager
async def client_of(gateway: Gateway, user: str = "ada") -> AsyncIterator[ClientConnection]:
    async with connect(f"{gateway.ws_url}?user={user}") as client:
        assert json.loads(await client.recv())["type"] == "hello"
        yield client


async def ask(client: ClientConnection, **command: Any) -> dict[str, Any]:
    """Send a command; return what is answered to it."""
    await client.send(json.dumps(command))
    async with asyncio.timeout(20):
        while True:
            event: dict[str, Any] = json.loads(await client.recv())
            if event.get("id") == command["id"]:
                return event


async def test_call_goes_to_the_service_and_back() -> None:
    async def add(heard: Heard) -> Any:
        return await says({"payload": heard.json["payload"]["a"] + heard.json["payload"]["b"]})(heard)

    async with AppService(add) as service, Gateway(config_for(service)) as gateway:
        async with client_of(gateway) as client:
            reply = await ask(client, type="call", id=7, method="add", payload={"a": 1, "b": 2})
            assert reply == {"type": "reply", "id": 7, "payload": 3}
        (heard,) = service.heard
        assert (heard.path, heard.json["user"], heard.json["method"]) == ("/hooks/call", "ada", "add")
        headers = {name.lower(): value for name, value in heard.headers.items()}
        assert verify([SECRET.encode()], headers, heard.body, int(headers["webhook-timestamp"]))


@pytest.mark.parametrize(("answer", "code"), [(hangs, "timeout"), (talks_nonsense, "unavailable")])
async def test_bad_service_leaves_connections_and_everything_else_alone(answer: Any, code: str) -> None:
    async with (
        AppService(answer) as service,
        Gateway(config_for(service)) as gateway,
        client_of(gateway) as ada,
        client_of(gateway, "bob") as bob,
    ):
        call = asyncio.create_task(ask(ada, type="call", id=1, method="m"))
        await until(lambda: bool(service.heard))
        assert (await ask(bob, type="subscribe", id=1, channel="news"))["type"] == "reply"
        assert (await ask(bob, type="publish", id=2, channel="news", data=1))["offset"] == 1
        assert (await call)["code"] == code
        for number in range(2, 5):
            await ask(ada, type="call", id=number, method="m")
        assert gateway._services is not None
        assert gateway._services.upstreams is not None
        (target,) = gateway._services.upstreams["app"].targets
        assert target.breaker.opened >= 1
        service.answer = says({"payload": "back"})

        async def is_back() -> bool:
            return (await ask(ada, type="call", id=9, method="m")).get("payload") == "back"

        await until(is_back)


async def test_call_is_given_up_when_its_client_goes() -> None:
    async with AppService(hangs) as service:
        config = config_for(service, call_timeout="30s")
        config["upstream"]["app"]["timeout"] = "30s"
        async with Gateway(config) as gateway:
            async with client_of(gateway) as client:
                await client.send(json.dumps({"type": "call", "id": 1, "method": "m"}))
                await until(lambda: service.under_way == 1)
            await until(lambda: service.given_up == 1)


@pytest.mark.parametrize(
    ("hooks", "addresses", "told"),
    [
        ({"call": "shop/x"}, ["http://127.0.0.1:1"], r"\[upstream.shop\] is missing"),
        ({"call": "app"}, ["http://127.0.0.1:1"], "an upstream and a path"),
        ({"call": "app/x", "secrets": []}, ["http://10.0.0.1:1"], "another machine"),
        ({"headers": ["Host"]}, ["http://127.0.0.1:1"], "own to set"),
        ({"headers": ["Sec-WebSocket-Key"]}, ["http://127.0.0.1:1"], "own to set"),
        ({"headers": ["webhook-id"]}, ["http://127.0.0.1:1"], "own to set"),
        ({"hash_by": "cookie"}, ["http://127.0.0.1:1"], "header:NAME"),
    ],
)
def test_wrong_hooks_are_told_in_words(hooks: dict[str, Any], addresses: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Gateway({"upstream": {"app": {"addresses": addresses}}, "hooks": hooks})
