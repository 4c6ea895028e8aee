"""The Python client and the services behind the gateway: calls and their ends, tokens that end or are taken
away, tokens for channels; and what holds over breaks: who is there, and what waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway import Gateway
from gateway.client import Client, Options, RinggateError, Subscribed
from gateway.client.codecs import EncodingName
from tests.chaos.proxy import FaultProxy
from tests.support.app_service import AppService, Heard, hangs, says
from tests.support.peers import ANY_PORT
from tests.support.tokens import SECRET, make

QUICK = Options(backoff_first=0.05, backoff_most=0.2, close_timeout=0.5, max_queued=5)
WITHIN_S = 20.0
ROOM = {"presence": True, "join_leave": True}


def config_for(service: AppService, **sections: object) -> dict[str, Any]:
    return {
        "server": ANY_PORT,
        "namespace": {"room": ROOM},
        "upstream": {"app": {"addresses": [service.url]}},
        "hooks": {"call": "app/call", "call_timeout": "15s"},
        **sections,
    }


AUTH: dict[str, object] = {
    "auth": {"keys": [f"HS256:{SECRET.decode()}"], "leeway": "0s"},
    "namespace": {
        "default": {"subscribe": "authenticated", "publish": "authenticated"},
        "room": {**ROOM, "subscribe": "token"},
    },
}


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited for {what}") from None


async def serve(heard: Heard) -> Any:
    """Add, hang or refuse, as the method says."""
    method, payload = heard.json["method"], heard.json.get("payload")
    if method == "hang":
        return await hangs(heard)
    if method == "refuse":
        return await says({"refuse": {"code": "limit_exceeded", "message": "the cart is full"}})(heard)
    if method == "echo":
        return await says({"payload64": heard.json["payload64"]})(heard)
    return await says({"payload": payload["a"] + payload["b"]})(heard)


@asynccontextmanager
async def behind_proxy(gateway: Gateway) -> AsyncIterator[FaultProxy]:
    host, _, port = str(gateway.edge_address).rpartition(":")
    proxy = FaultProxy((host, int(port)))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


# -- calls ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["json", "msgpack", "protobuf"])
async def test_service_answers_refuses_and_takes_too_long(encoding: EncodingName) -> None:
    async with (
        AppService(serve) as service,
        Gateway(config_for(service)) as gateway,
        Client(gateway.ws_url, encoding=encoding) as client,
        asyncio.timeout(WITHIN_S),
    ):
        assert await client.call("add", {"a": 1, "b": 2}) == 3
        assert await client.call("echo", b"\x00\xff") == b"\x00\xff"
        with pytest.raises(RinggateError, match="limit_exceeded: the cart is full"):
            await client.call("refuse")
        with pytest.raises(RinggateError) as raised:
            await client.call("hang", timeout=0.3)
        assert raised.value.code in {"timeout", "expired"}  # the gateway's end of it, or our own
        assert (raised.value.unknown, raised.value.retry) == (True, True)
        given_up = client.call("hang", timeout=0.5)
        await until(lambda: service.under_way == 1, "the service to be asked")
        given_up.cancel()
        assert await client.call("add", {"a": 2, "b": 2}) == 4, "a call that was given up harms no other"


async def test_call_waits_for_a_connection_and_is_not_repeated_unless_that_is_harmless() -> None:
    async with (
        AppService(serve) as service,
        Gateway(config_for(service)) as gateway,
        behind_proxy(gateway) as proxy,
        Client(f"ws://{proxy.address}/ws", options=QUICK) as client,
    ):
        await client.online()
        proxy.refusing = True
        proxy.cut()
        await until(lambda: client.status.state != "online", "the break")
        waiting = client.call("add", {"a": 1, "b": 2})
        short = client.call("add", {"a": 1, "b": 2}, timeout=0.1)
        with pytest.raises(RinggateError) as raised:
            await short
        assert (raised.value.code, raised.value.unknown) == ("expired", False)
        proxy.refusing = False
        async with asyncio.timeout(WITHIN_S):
            assert await waiting == 3
        once, again = client.call("hang"), client.call("hang", repeat=True)
        await until(lambda: service.under_way == 1, "the service to be asked")  # one after the other
        service.answer = says({"payload": "at last"})
        proxy.cut()
        with pytest.raises(RinggateError) as raised:
            await once
        assert (raised.value.code, raised.value.unknown) == ("disconnected", True)
        async with asyncio.timeout(WITHIN_S):
            assert await again == "at last"
        await until(lambda: service.given_up == 1, "the service to learn that nobody waits")


# -- tokens -----------------------------------------------------------------------------------------


async def test_callback_that_fails_is_asked_again_and_revoked_tokens_are_replaced() -> None:
    given: list[str] = []

    async def fresh() -> str:
        given.append(make(iat=int(time.time()), exp=int(time.time()) + 600, jti=f"t{len(given)}"))
        if len(given) == 1:
            raise OSError("the service that makes tokens is away")
        return given[-1]

    async with (
        AppService(serve) as service,
        Gateway(config_for(service, **AUTH)) as gateway,
        httpx.AsyncClient() as http,
    ):
        states: list[tuple[str, str]] = []
        client = Client(gateway.ws_url, token=fresh, options=QUICK)
        client.on_status(lambda status: states.append((status.state, status.reason)))
        async with client, asyncio.timeout(WITHIN_S):
            assert (await client.online()).user == "ada"
            assert ("reconnecting", "no token: the service that makes tokens is away") in states
            news = await client.subscribe("news").ready()
            await client.publish("news", 1)
            answer = await http.post(f"{gateway.api_url}/api/revoke", json={"token": "t1"})
            assert answer.json() == {"connections": 1}
            await until(lambda: len(given) == 3, "another token to be asked for")
            await client.publish("news", 2)
            assert [(await anext(news)).data for _ in range(2)] == [1, 2]
            await http.post(f"{gateway.api_url}/api/revoke", json={"user": "ada"})
            await until(lambda: client.status.state == "offline", "the end")  # another token does not help
            assert client.status.code == 4001


async def test_token_for_a_channel_is_asked_for_whenever_it_is_subscribed() -> None:
    asked: list[int] = []

    async def ticket() -> str:
        """Return another token each time, but for the second, for which nobody is there."""
        asked.append(len(asked))
        if len(asked) == 2:
            raise OSError("away")
        now = int(time.time())
        return make(iat=now, exp=now + 60, channel="room:7")

    async with (
        AppService(serve) as service,
        Gateway(config_for(service, **AUTH)) as gateway,
        behind_proxy(gateway) as proxy,
        Client(
            f"ws://{proxy.address}/ws",
            token=make(iat=int(time.time()), exp=int(time.time()) + 600),
            options=QUICK,
        ) as client,
        asyncio.timeout(WITHIN_S),
    ):
        resumed: list[Subscribed] = []
        heard: list[Any] = []
        room = client.subscribe(
            "room:7",
            token=ticket,
            on_message=lambda message: heard.append(message.data),
            on_subscribed=resumed.append,
        )
        await room.ready()
        await gateway.publish("room:7", 1)
        proxy.cut()
        await gateway.publish("room:7", 2)
        await until(lambda: len(resumed) == 2, "the channel")
        await until(lambda: heard == [1, 2], "what was missed")
        assert resumed[1].recovered is True
        assert len(asked) == 3
        with pytest.raises(RinggateError, match="permission_denied"):
            await client.subscribe("room:8", token=make(channel="room:7", exp=int(time.time()) + 60)).ready()


# -- what holds over breaks -------------------------------------------------------------------------


async def test_members_are_right_again_after_a_break_in_which_they_changed() -> None:
    async with (
        AppService(serve) as service,
        Gateway(config_for(service)) as gateway,
        behind_proxy(gateway) as proxy,
        Client(f"ws://{proxy.address}/ws?user=ann", options=QUICK) as client,
        Client(f"{gateway.ws_url}?user=cid") as stays,
        asyncio.timeout(WITHIN_S),
    ):
        await stays.subscribe("room:1").ready()
        presence = client.presence("room:1")

        def users() -> list[str]:
            return sorted(member.user for member in presence.members)

        async with Client(f"{gateway.ws_url}?user=bob") as bob:
            await bob.subscribe("room:1").ready()
            await until(lambda: users() == ["ann", "bob", "cid"], "everybody")
            proxy.refusing = True
            proxy.cut()
            await until(lambda: client.status.state != "online", "the break")
        assert users() == ["ann", "bob", "cid"], "while there is no connection, who was there last"
        async with Client(f"{gateway.ws_url}?user=dan") as dan:
            await dan.subscribe("room:1").ready()
            proxy.refusing = False
            await until(lambda: users() == ["ann", "cid", "dan"], "the new list")


async def test_queue_is_bounded_and_what_waits_too_long_is_given_up_and_not_sent() -> None:
    async with (
        AppService(serve) as service,
        Gateway(config_for(service)) as gateway,
        behind_proxy(gateway) as proxy,
        Client(f"ws://{proxy.address}/ws", options=QUICK) as client,
        asyncio.timeout(WITHIN_S),
    ):
        news = await client.subscribe("news").ready()
        proxy.refusing = True
        proxy.cut()
        await until(lambda: client.status.state != "online", "the break")
        short = client.publish("news", "short", ttl=0.2)
        kept = [client.publish("news", number) for number in range(4)]
        assert client.queued == 5
        with pytest.raises(RinggateError, match="queue_full"):
            client.publish("news", "too many")
        with pytest.raises(RinggateError) as raised:
            await short
        assert (raised.value.code, raised.value.unknown) == ("expired", False)
        kept.append(client.publish("news", 4))
        proxy.refusing = False
        assert [(await made).offset for made in kept] == [1, 2, 3, 4, 5]
        assert [(await anext(news)).data for _ in range(5)] == [0, 1, 2, 3, 4]
        assert client.queued == 0


async def test_address_is_asked_for_at_each_attempt() -> None:
    async with AppService(serve) as service, Gateway(config_for(service)) as gateway:
        addresses = ["no address at all", "ws://127.0.0.1:9/ws", gateway.ws_url]
        statuses: list[str] = []
        client = Client(lambda: addresses.pop(0), options=QUICK)
        client.on_status(lambda status: statuses.append(status.reason))
        async with client, asyncio.timeout(WITHIN_S):
            await client.online()
        assert addresses == []
        assert any(reason.startswith("no address: 'no address at all' is not the URL") for reason in statuses)
        assert any("127.0.0.1:9" in reason for reason in statuses)
