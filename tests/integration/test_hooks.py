"""Hooks through a whole gateway: a client's call reaches a service; a bad service harms nobody else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway import Gateway
from gateway.client import Client, RinggateError
from gateway.client.codecs import EncodingName
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
        ({"hash_by": "header:X-Tenant"}, ["http://127.0.0.1:1"], "hooks.headers is empty"),
        (
            {"hash_by": "header:X-Tenant", "headers": ["cookie"]},
            ["http://127.0.0.1:1"],
            r'hooks.hash_by: .*found "header:x-tenant".*\("header:cookie"\)',
        ),
    ],
)
def test_wrong_hooks_are_told_in_words(hooks: dict[str, Any], addresses: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Gateway({"upstream": {"app": {"addresses": addresses}}, "hooks": hooks})


# -- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["json", "msgpack", "protobuf"])
async def test_what_clients_send_reaches_the_service_in_order_and_what_it_wants_is_done(
    encoding: EncodingName,
) -> None:
    async def answer(heard: Heard) -> Any:
        body = heard.json
        if "data64" in body:
            return await says({"payload64": body["data64"], "disconnect": {"code": 4321}})(heard)
        if body["data"] == "no":
            return await says({"refuse": {"code": "rate_limited", "message": "slowly"}})(heard)
        await asyncio.sleep(0.05 if body["data"]["n"] == 1 else 0)  # order is not the service's doing
        echo = {"channel": "log", "data": {"by": body["user"], "n": body["data"]["n"]}}
        return await says({"publish": [echo], "messages": [{"data": "noted"}], "payload": body["data"]})(
            heard
        )

    async with AppService(answer) as service:
        config = config_for(service, message="app/hooks/message")
        async with (
            Gateway(config) as gateway,
            Client(f"{gateway.ws_url}?user=ada", encoding=encoding) as client,
        ):
            direct: list[Any] = []
            client.on_stray(lambda event: direct.append(getattr(event, "data", None)))
            with client.subscribe("log") as log:
                await log.ready()
                answers = await asyncio.gather(*(client.send({"n": n}) for n in (1, 2, 3)))
                assert answers == [{"n": 1}, {"n": 2}, {"n": 3}]
                heard = [(await anext(log)).data for _ in answers]
                assert heard == [{"by": "ada", "n": n} for n in (1, 2, 3)]
            await until(lambda: direct.count("noted") == 3)
            with pytest.raises(RinggateError, match="slowly"):
                await client.send("no")
            assert await client.send(b"\0\xff") == b"\0\xff"
            await until(lambda: client.status.code == 4321)
        (first, *_), kinds = service.heard, {heard.path for heard in service.heard}
        assert kinds == {"/hooks/message"}
        headers = {name.lower(): value for name, value in first.headers.items()}
        assert verify([SECRET.encode()], headers, first.body, int(headers["webhook-timestamp"]))


async def test_message_to_a_service_that_does_not_answer_times_out_and_the_next_one_goes_on() -> None:
    async with AppService(hangs) as service:
        config = config_for(service, message="app/hooks/message")
        async with Gateway(config) as gateway, client_of(gateway) as client:
            assert (await ask(client, type="send", id=1, data=1))["code"] == "timeout"
            service.answer = says({"payload": 2})
            assert (await ask(client, type="send", id=2, data=1))["payload"] == 2


# -- connect, subscribe, publish ------------------------------------------------------------------


def asked(config: dict[str, Any], *hooks: str) -> dict[str, Any]:
    config["hooks"] |= {name: f"app/hooks/{name}" for name in hooks}
    return config


async def test_service_lets_clients_in_and_says_who_they_are() -> None:
    soon = int(time.time()) + 2

    async def answer(heard: Heard) -> Any:
        if heard.path.endswith("/call"):
            return await says({"payload": heard.headers.get("Cookie")})(heard)
        if "sid=good" not in heard.headers.get("Cookie", ""):
            return await says({}, 403)(heard)
        admission = {"user": "ada", "info": {"a": 1}, "channels": ["news"], "expires": soon}
        return await says(admission)(heard)

    async with AppService(answer) as service:
        config = asked(config_for(service, headers=["cookie"]), "connect")
        async with Gateway(config) as gateway:
            url = f"{gateway.ws_url}?a=1&token=secret&user=eve"
            async with connect(url, additional_headers={"Cookie": "sid=good"}) as client:
                await client.send('{"type":"ping","id":1}')  # before it is let in
                hello = json.loads(await client.recv())
                assert (hello["user"], hello["expires"]) == ("ada", soon)
                events = [json.loads(await client.recv()) for _ in range(3)]
                assert {event.get("channel") for event in events} >= {"news"}
                assert {"type": "reply", "id": 1} in events
                body = service.heard[0].json
                assert (body["path"], body["query"], body["token"]) == ("/ws", "a=1&user=eve", "secret")
                assert (await ask(client, type="call", id=5, method="m"))["payload"] == "sid=good"
                refused = await ask(client, type="subscribe", id=6, channel="other")
                assert refused["code"] == "permission_denied", "nothing is allowed that is not stated"
                await asyncio.wait_for(client.wait_closed(), 20)
                assert client.close_code == 4001
            async with connect(gateway.ws_url) as client:
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert client.close_code == 4002


@pytest.mark.parametrize("answer", [hangs, talks_nonsense])
async def test_nobody_comes_in_without_an_answer(answer: Any) -> None:
    async with (
        AppService(answer) as service,
        Gateway(asked(config_for(service), "connect")) as gateway,
        connect(gateway.ws_url) as client,
    ):
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4101


async def test_service_decides_about_channels_and_changes_what_is_published() -> None:
    async def answer(heard: Heard) -> Any:
        body = heard.json
        if body["type"] == "subscribe":
            return await says({} if body["channel"] == "chat:1" else {"refuse": {"message": "full"}})(heard)
        return await says({"data": {"by": body["user"], "was": body["data"]}})(heard)

    async with AppService(answer) as service:
        config = asked(config_for(service), "subscribe", "publish")
        config["namespace"] = {"chat": {"subscribe": "hook", "publish": "hook"}}
        async with Gateway(config) as gateway, client_of(gateway) as client:
            assert (await ask(client, type="subscribe", id=1, channel="chat:1"))["type"] == "reply"
            assert (await ask(client, type="subscribe", id=2, channel="chat:2"))["message"] == "full"
            publish = {"type": "publish", "channel": "chat:1"}
            await client.send(json.dumps([{**publish, "data": 1}, {**publish, "data": 2}]))
            heard: list[Any] = []
            while len(heard) < 2:
                event = json.loads(await client.recv())
                if event["type"] == "message":
                    heard.append(event["data"])
            assert heard == [{"by": "ada", "was": 1}, {"by": "ada", "was": 2}]
