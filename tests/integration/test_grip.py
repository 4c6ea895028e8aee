"""GRIP services behind `ringgate serve`: workers, two gateways on a Redis, tokens, services that fail."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
import websockets
from aiohttp import web
from gripcontrol import GripPubControl, WebSocketMessageFormat
from pubcontrol import Item
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.grip.events import Event, Kind
from tests.support.api import get, metrics, post, request
from tests.support.app_service import Heard
from tests.support.grip import GRIP, OPEN, GripService, control, echo, reply, text
from tests.support.peers import Peer, hang_up
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer
from tests.support.tls import Authority
from tests.support.tokens import forge, signer
from tests.support.waiting import until

KEY = "a-key-of-tests-0123456789abcdef012345"
OPTIONS: dict[str, Any] = {"ping_interval": None, "proxy": None, "close_timeout": 2}
ALL_KEY, READ_KEY = "everything-1", "only-reading-1"
SUBSCRIBE = control('{"type":"subscribe","channel":"room","filters":["skip-self","require-sub"]}')
KNOW_ADA = control('{"type":"set-meta","name":"user","value":"ada"}')


def speaking(service: GripService, *, key: str = KEY, **upstream: str) -> tuple[str, ...]:
    """Return the flags of a gateway in front of a service."""
    flags = ["--upstream", f"app.addresses={service.url}"]
    for option, value in upstream.items():
        flags += ["--upstream", f"app.{option}={value}"]
    flags += ["--route", "chat.path=/chat/*", "--route", "chat.upstream=app", "--route", "chat.protocol=grip"]
    return (*flags, *(("--grip-keys", key) if key else ()))


def room() -> GripService:
    """A service whose clients all hear the channel `room`, and get back what they say."""
    service = GripService(lambda events: [text("m:" + event.content.decode()) for event in echo(events)])
    service.headers = GRIP
    service.opens = (SUBSCRIBE, KNOW_ADA, text("m:welcome"))
    return service


entered: list[ClientConnection] = []


@pytest.fixture(autouse=True)
async def everybody_leaves(gateway_process: StartGateway) -> AsyncIterator[None]:
    """Leave no connection open, whatever becomes of the test, before the gateway is stopped."""
    yield
    await asyncio.gather(*(client.close() for client in entered))
    entered.clear()
    await hang_up()


async def enter(gateway: GatewayProcess, query: str = "") -> ClientConnection:
    client = await websockets.connect(f"ws://{gateway.edge}/chat/room{query}", **OPTIONS)
    entered.append(client)
    assert await client.recv() == "welcome"
    return client


async def publish(gateway: GatewayProcess, *formats: WebSocketMessageFormat, channel: str = "room") -> None:
    """Publish as services do: by their library."""
    publisher = GripPubControl({"control_uri": gateway.api_url, "control_iss": "x", "key": KEY})
    for one in formats:
        await asyncio.to_thread(publisher.publish, channel, Item(one), True)
    await asyncio.to_thread(publisher.close)


async def end_of(client: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionClosed):
            await client.recv()
    return client.close_code, client.close_reason


async def check_a_room(doors: Sequence[GatewayProcess], publishing: GatewayProcess) -> None:
    """Everybody hears everything in order, wherever it is published, and is closed behind it."""
    clients = [await enter(door) for door in doors for _ in range(3)]
    formats = [WebSocketMessageFormat(f"message {number}") for number in range(20)]
    await publish(publishing, *formats, WebSocketMessageFormat(b"\x00\xff", binary=True))
    for client in clients:
        heard = [await client.recv() for _ in range(21)]
        assert heard == [f"message {number}" for number in range(20)] + [b"\x00\xff"]
    last = {"channel": "room", "formats": {"ws-message": {"content": "last"}}, "meta": {"sender": "eve"}}
    own = {**last, "meta": {"sender": "ada"}}  # everybody is ada here, and hears no other channel
    elsewhere = {**last, "meta": {"require_sub": "vip"}}
    close = {
        "channel": "room",
        "formats": {"ws-message": {"action": "close", "code": 4000, "reason": "over"}},
    }
    assert await post_items(publishing, own, elsewhere, last, close) == 200
    for client in clients:
        assert await client.recv() == "last"
        assert await end_of(client) == (4000, "over")


async def post_items(
    gateway: GatewayProcess, *items: object, token: str = "", path: str = "/publish/"
) -> int:
    claims = {"iss": "x", "exp": int(time.time()) + 60}
    shown = token or jwt.encode(claims, KEY, "HS256")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {shown}"}
    body = json.dumps({"items": items}).encode()
    status, _ = await asyncio.to_thread(request, gateway.api, "POST", path, body, headers)
    return status


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_services_of_grip_reach_clients_in_every_process(
    gateway_process: StartGateway, more: tuple[str, ...]
) -> None:
    async with room() as service:
        gateway = await asyncio.to_thread(gateway_process, *speaking(service), *more)
        await check_a_room([gateway, gateway], gateway)
        await until(lambda: len(service.told) == 12)
        assert {event.kind for event in service.told} == {Kind.OPEN, Kind.DISCONNECT}
        shown = await asyncio.to_thread(metrics, gateway)
        label = 'route="chat"'
        assert {name: value for name, value in shown.items() if name.startswith("ringgate_grip_")} == {
            f"ringgate_grip_connections{{{label}}}": 0,
            f"ringgate_grip_subscriptions{{{label}}}": 0,
            f"ringgate_grip_opened_total{{{label}}}": 6,
            f'ringgate_grip_events_total{{event="open",{label}}}': 6,
            f'ringgate_grip_events_total{{event="disconnect",{label}}}': 6,
        }
        assert shown['ringgate_api_requests_total{code="ok",operation="grip"}'] == 22


async def test_clients_on_two_gateways_around_a_redis_are_one_crowd(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        async with room() as service:
            flags = (*speaking(service), "--broker", redis.url)
            one = await asyncio.to_thread(gateway_process, *flags)
            two = await asyncio.to_thread(gateway_process, *flags)
            await check_a_room([one, two], two)


async def test_clients_of_both_kinds_share_a_channel(gateway_process: StartGateway) -> None:
    async with room() as service:
        quiet = ("--namespace", "default.presence=false")
        gateway = await asyncio.to_thread(gateway_process, *speaking(service), *quiet)
        bare, peer = await enter(gateway), await Peer.connect(gateway)
        await peer.ask("subscribe", channel="grip:room")
        await publish(gateway, WebSocketMessageFormat('hé "you"'))
        assert await bare.recv() == 'hé "you"'
        assert (await peer.event())["data"] == 'hé "you"'
        data64 = base64.b64encode(b"\xff").decode()
        for what in ({"data": {"n": 1}}, {"data": "text"}, {"data64": data64}):
            await asyncio.to_thread(post, gateway, "/api/publish", {"channel": "grip:room", **what})
        assert [await bare.recv() for _ in range(3)] == ['{"n": 1}', "text", b"\xff"]
        heard = [await peer.event() for _ in range(3)]
        assert [event.get("data", event.get("data64")) for event in heard] == [{"n": 1}, "text", data64]
        listed = await asyncio.to_thread(get, gateway, "/api/channels")
        assert [(channel["name"], channel["subscribers"]) for channel in listed["channels"]] == [
            ("grip:room", 2)
        ]
        await bare.close()


async def test_only_publishers_with_a_token_or_a_key_publish(gateway_process: StartGateway) -> None:
    async with room() as service:
        keys = ("--api-keys", ALL_KEY, "--api-read-keys", READ_KEY)
        gateway = await asyncio.to_thread(gateway_process, *speaking(service), *keys)
        client = await enter(gateway)
        signed = service.heard[0].headers["Grip-Sig"]
        item = {"channel": "room", "ws-message": {"content": "no"}}
        for token in ("wrong", signed, jwt.encode({"iss": "x"}, KEY, "HS256")):
            assert await post_items(gateway, item, token=token) == 401
        assert await post_items(gateway, item, token=READ_KEY) == 403
        assert await post_items(gateway, item, {"channel": "no such"}) == 400
        good = {"channel": "room", "id": "7", "prev-id": "6", "formats": {"ws-message": {"content": "once"}}}
        assert [await post_items(gateway, good) for _ in range(2)] == [200, 200]
        good = {"channel": "room", "ws-message": {"content": "yes"}}
        assert await post_items(gateway, good) == 200
        assert await post_items(gateway, good, token=ALL_KEY, path="/publish") == 200
        token = jwt.encode({"iss": "x", "exp": int(time.time()) + 60}, KEY, "HS256")
        headers = {"Authorization": f"Bearer {token}"}
        for path in ("/api/channels", "/api/connections"):  # a publisher is no more than that
            answer = await asyncio.to_thread(request, gateway.api, "GET", path, None, headers)
            assert answer[0] == 401
        assert [await client.recv() for _ in range(3)] == ["once", "yes", "yes"]
        await client.close()


async def test_a_slow_service_costs_nobody_else(gateway_process: StartGateway) -> None:
    service, go = room(), asyncio.Event()
    answer = service.answer

    async def slow(heard: Heard) -> web.StreamResponse:
        if b"slow" in heard.body:
            await go.wait()
        return await answer(heard)

    service.answer = slow
    async with service:
        gateway = await asyncio.to_thread(gateway_process, *speaking(service, timeout="60s"))
        slow_ones = [await enter(gateway) for _ in range(20)]
        quick = await enter(gateway)
        for client in slow_ones:
            await client.send("slow")
        await until(lambda: service.under_way == 20)
        await quick.send("quick")
        assert await quick.recv() == "quick"
        await publish(gateway, WebSocketMessageFormat("for all"))
        for client in (*slow_ones, quick):
            assert await client.recv() == "for all"
        go.set()
        for client in slow_ones:
            assert await client.recv() == "slow"
            await client.close()
        await quick.close()


async def test_clients_show_tokens_and_are_closed_when_these_are_revoked(
    gateway_process: StartGateway,
) -> None:
    secret = "a-secret-of-tests-0123456789abcdef0123456789"  # noqa: S105 of this test alone
    now = int(time.time())
    claims = {"sub": "ada", "iat": now, "exp": now + 600}
    token = forge({"alg": "HS256", "typ": "JWT"}, claims, signer("HS256", secret=secret.encode()))
    async with room() as service:
        gateway = await asyncio.to_thread(
            gateway_process, *speaking(service), "--auth-keys", f"HS256:{secret}"
        )
        with pytest.raises(InvalidStatus) as refused:
            await enter(gateway)
        assert refused.value.response.status_code == 401
        assert service.heard == []
        client = await enter(gateway, f"?a=1&token={token}")
        assert service.heard[0].headers["X-Ringgate-User"] == "ada"
        assert service.heard[0].request.path_qs == "/chat/room?a=1"
        revoked = await asyncio.to_thread(post, gateway, "/api/revoke", {"user": "ada"})
        assert revoked["connections"] == 1
        assert (await end_of(client))[0] == 4001
        await until(lambda: service.told == [OPEN, Event(Kind.DISCONNECT)])


async def test_limits_hold_for_clients_and_are_counted(gateway_process: StartGateway) -> None:
    secret = "a-secret-of-tests-0123456789abcdef0123456789"  # noqa: S105 of this test alone
    now = int(time.time())

    def query(user: str) -> str:
        claims = {"sub": user, "iat": now, "exp": now + 600}
        return "?token=" + forge({"alg": "HS256"}, claims, signer("HS256", secret=secret.encode()))

    limits = ("--limits-user-messages", "1", "--limits-burst", "30s", "--limits-connections-per-user", "2")
    async with room() as service:
        auth = ("--auth-keys", f"HS256:{secret}")
        flags = (*speaking(service), *auth, *limits, "--workers", "2")
        gateway = await asyncio.to_thread(gateway_process, *flags)
        eve, crowd = await enter(gateway, query("eve")), []
        for _ in range(3):  # one of them is too many, perhaps before it is welcomed
            crowd.append(await websockets.connect(f"ws://{gateway.edge}/chat/room{query('bob')}", **OPTIONS))
            entered.append(crowd[-1])
        await until(lambda: sum(client.close_code is not None for client in crowd) == 1)
        assert [client.close_code for client in crowd if client.close_code] == [1008]
        ada = await enter(gateway, query("ada"))
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await ada.send("x")
        heard = 0
        with contextlib.suppress(ConnectionClosed):
            while await ada.recv():
                heard += 1
        assert (ada.close_code, ada.close_reason) == (1008, "too many messages")
        assert heard <= service.told.count(text("x")) < 60  # a burst, and what it took
        await until(lambda: service.told.count(Event(Kind.DISCONNECT)) == 2)
        await eve.send("still here")
        assert await eve.recv() == "still here"
        shown = await asyncio.to_thread(metrics, gateway)
        limited = {name: value for name, value in shown.items() if name.startswith("ringgate_limited")}
        assert limited == {
            'ringgate_limited_total{limit="user_messages"}': 1,
            'ringgate_limited_total{limit="connections_per_user"}': 1,
        }


async def test_tls_on_both_sides_with_authorities_of_ones_own(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    (tmp_path / "inside").mkdir()
    edge, inside = Authority(tmp_path), Authority(tmp_path / "inside")
    service = room()
    service.tls = inside.server()
    async with service:
        trusting = {"SSL_CERT_FILE": str(inside.ca_file)}
        flags = (*speaking(service), *edge.flags)
        gateway = await asyncio.to_thread(gateway_process, *flags, env=trusting)
        url, trust = f"wss://{gateway.edge}/chat/room", edge.client()
        client = await websockets.connect(url, ssl=trust, **OPTIONS)
        entered.append(client)
        assert await client.recv() == "welcome"
        large = "x" * 60_000
        await client.send(large)
        assert await client.recv() == large
        await publish(gateway, WebSocketMessageFormat("published"))
        assert await client.recv() == "published"
        assert service.heard[0].headers["X-Forwarded-Proto"] == "wss"
        assert service.heard[0].request.secure
        doubting = await asyncio.to_thread(gateway_process, *flags)
        heard = len(service.heard)
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(f"wss://{doubting.edge}/chat/room", ssl=trust, **OPTIONS)
        assert (refused.value.response.status_code, len(service.heard)) == (503, heard)
        assert "certificate" in doubting.log


async def test_a_gateway_that_stops_tells_both_sides(gateway_process: StartGateway) -> None:
    async with room() as service:
        gateway = await asyncio.to_thread(gateway_process, *speaking(service))
        clients = [await enter(gateway) for _ in range(5)]
        gateway.popen.terminate()
        assert [(await end_of(client))[0] for client in clients] == [1012] * 5
        assert await asyncio.to_thread(gateway.popen.wait, 20) == 0
        assert service.told.count(Event(Kind.DISCONNECT)) == 5


async def test_a_channel_of_grip_is_occupied_and_vacated(gateway_process: StartGateway) -> None:
    notices: list[tuple[str, str]] = []
    service = room()
    answer = service.answer

    async def hear(heard: Heard) -> web.StreamResponse:
        if heard.path != "/notices":
            return await answer(heard)
        notices.append((heard.json["type"], heard.json["channel"]))
        return reply(status=204)

    service.answer = hear
    async with service:
        hooks = ("--hooks-notices", "app/notices", "--hooks-events", "channel_occupied,channel_vacated")
        flags = (*speaking(service), *hooks, "--hooks-vacated-after", "100ms")
        gateway = await asyncio.to_thread(gateway_process, *flags)
        client = await enter(gateway)
        await until(lambda: notices == [("channel_occupied", "grip:room")])
        await client.close()
        await until(lambda: notices[1:] == [("channel_vacated", "grip:room")])
