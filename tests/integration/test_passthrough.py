"""WebSockets passed through `ringgate serve` to services that know nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from tests.support.api import get, metrics, post
from tests.support.process import StartGateway
from tests.support.tls import Authority
from tests.support.tokens import forge, signer

OPTIONS: dict[str, Any] = {"ping_interval": None, "proxy": None, "close_timeout": 2}


@asynccontextmanager
async def service(name: str) -> AsyncIterator[tuple[Server, str]]:
    """A service that says its name and then returns what it gets; its address."""

    async def serve(connection: ServerConnection) -> None:
        await connection.send(name)
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with websockets.serve(serve, "127.0.0.1", 0, ping_interval=None) as server:
        yield server, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def passing(*addresses: str, **upstream: str) -> tuple[str, ...]:
    flags = ["--upstream", "app.addresses=" + ",".join(addresses)]
    for option, value in upstream.items():
        flags += ["--upstream", f"app.{option}={value}"]
    return (*flags, "--route", "chat.path=/app/*", "--route", "chat.upstream=app")


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_a_service_is_reached_through_the_gateway(
    gateway_process: StartGateway, more: tuple[str, ...]
) -> None:
    async with service("one") as (_, address):
        gateway = await asyncio.to_thread(gateway_process, *passing(address), *more)
        async with websockets.connect(f"ws://{gateway.edge}/app/room?x=1", **OPTIONS) as client:
            assert await client.recv() == "one"
            await client.send("hello")
            assert await client.recv() == "hello"
            shown = await asyncio.to_thread(metrics, gateway)
            assert shown['ringgate_passed_connections{route="chat"}'] == 1
        (group,) = (await asyncio.to_thread(get, gateway, "/api/upstreams"))["upstreams"][:1]
        assert group["targets"][0]["requests"].get("connected", 0) in {0, 1}
        async with websockets.connect(gateway.ws_url, **OPTIONS) as client:  # the gateway's own path stays
            assert "hello" in str(await client.recv())


async def test_over_tls_and_with_the_origin_policy(gateway_process: StartGateway, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with service("one") as (_, address):
        gateway = await asyncio.to_thread(
            gateway_process,
            *(*passing(address), *authority.flags),
            *("--websocket-origins", "https://good.example"),
        )
        url, trust = f"wss://{gateway.edge}/app/x", authority.client()
        async with websockets.connect(
            url, ssl=trust, origin=Origin("https://good.example"), **OPTIONS
        ) as client:
            assert await client.recv() == "one"
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(url, ssl=trust, origin=Origin("https://evil.example"), **OPTIONS)
        assert refused.value.response.status_code == 403


async def test_clients_of_a_hash_stay_with_their_address_and_move_when_it_goes(
    gateway_process: StartGateway,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        started = [await stack.enter_async_context(service(name)) for name in ("a", "b", "c")]
        flags = passing(*(address for _, address in started), balance="hash", hash_bound="1000")
        gateway = await asyncio.to_thread(
            gateway_process, *flags, "--route", "chat.stays_with=query:user", unclean=True
        )

        async def where(user: str) -> str:
            async with websockets.connect(f"ws://{gateway.edge}/app/x?user={user}", **OPTIONS) as client:
                return str(await client.recv())

        users = [f"user{number}" for number in range(24)]
        before = {user: await where(user) for user in users}
        assert before == {user: await where(user) for user in users}
        assert set(before.values()) == {"a", "b", "c"}
        started[0][0].close()
        await started[0][0].wait_closed()
        after = {user: await where(user) for user in users}
        assert set(after.values()) == {"b", "c"}
        assert {user: name for user, name in after.items() if before[user] != "a"} == {
            user: name for user, name in before.items() if name != "a"
        }


async def test_a_stopping_gateway_says_so_to_both_sides_and_a_gone_service_is_503(
    gateway_process: StartGateway,
) -> None:
    async with service("one") as (server, address):
        gateway = await asyncio.to_thread(gateway_process, *passing(address, breaker_failures="1"))
        async with websockets.connect(f"ws://{gateway.edge}/app/x", **OPTIONS) as client:
            assert await client.recv() == "one"
            gateway.popen.terminate()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1012
        assert await asyncio.to_thread(gateway.popen.wait, 10) == 0
        gateway = await asyncio.to_thread(gateway_process, *passing(address, breaker_failures="1"))
        server.close()
        await server.wait_closed()
        statuses = []
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await websockets.connect(f"ws://{gateway.edge}/app/x", **OPTIONS)
            statuses.append(refused.value.response.status_code)
        assert statuses == [502, 503]


async def test_clients_of_an_address_that_is_not_healthy_come_back_elsewhere_not_all_at_once(
    gateway_process: StartGateway,
) -> None:
    well = {"a": True, "b": True}

    async def serve(name: str, stack: contextlib.AsyncExitStack) -> str:
        async def talk(connection: ServerConnection) -> None:
            await connection.send(name)
            await connection.wait_closed()

        def health(connection: ServerConnection, request: Any) -> Any:
            if request.path == "/health":
                return connection.respond(200 if well[name] else 503, "")
            return None

        server = websockets.serve(talk, "127.0.0.1", 0, ping_interval=None, process_request=health)
        made = await stack.enter_async_context(server)
        return f"ws://127.0.0.1:{made.sockets[0].getsockname()[1]}"

    async with contextlib.AsyncExitStack() as stack:
        addresses = [await serve(name, stack) for name in well]
        checks = {"health_path": "/health", "health_interval": "100ms", "unhealthy_after": "1"}
        flags = ("--route", "chat.move_within=1500ms")
        gateway = await asyncio.to_thread(gateway_process, *passing(*addresses, **checks), *flags)
        url = f"ws://{gateway.edge}/app/x"
        clients: dict[str, list[Any]] = {"a": [], "b": []}
        for _ in range(12):
            client = await stack.enter_async_context(websockets.connect(url, **OPTIONS))
            clients[str(await client.recv())].append(client)
        assert [len(found) for found in clients.values()] == [6, 6]
        well["a"] = False
        closed = []
        for client in clients["a"]:

            async def note(client: Any = client) -> None:
                await client.wait_closed()
                closed.append(time.monotonic())

            clients["a"][clients["a"].index(client)] = (client, asyncio.create_task(note()))
        async with asyncio.timeout(30):
            for _, task in clients["a"]:
                await task
        assert {client.close_code for client, _ in clients["a"]} == {1012}
        assert max(closed) - min(closed) > 0.1
        assert [client.close_code for client in clients["b"]] == [None] * 6
        async with websockets.connect(url, **OPTIONS) as client:
            assert await client.recv() == "b"
        shown = await asyncio.to_thread(metrics, gateway)
        assert shown['ringgate_passed_moved_total{route="chat"}'] == 6


def test_a_route_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    from tests.integration.test_serve import run

    done = run("check-config", "--route", "x.path=/ws", "--route", "x.upstream=nobody")
    assert done.returncode != 0
    assert "route.x.path" in done.stderr
    assert "route.x.upstream" in done.stderr


# -- clients that have to show who they are ----------------------------------------------------

SECRET = "a-secret-of-tests-0123456789abcdef0123456789"  # noqa: S105 of this test alone


def token(user: str, lives_s: int = 600) -> str:
    now = int(time.time())
    payload = {"sub": user, "iat": now, "exp": now + lives_s}
    return forge({"alg": "HS256", "typ": "JWT"}, payload, signer("HS256", secret=SECRET.encode()))


async def test_only_clients_with_a_good_token_reach_the_service_which_is_told_who_they_are(
    gateway_process: StartGateway,
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.path, connection.request.headers.get("X-Ringgate-User")))
        await connection.send("welcome")
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()

    async with websockets.serve(tell, "127.0.0.1", 0, ping_interval=None) as server:
        address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        auth = ("--auth-keys", f"HS256:{SECRET}", "--auth-leeway", "0s")
        gateway = await asyncio.to_thread(gateway_process, *passing(address), *auth)
        url = f"ws://{gateway.edge}/app/x"
        for query in ("", "?token=nonsense", f"?token={token('ada', -10)}"):
            with pytest.raises(InvalidStatus) as refused:
                await websockets.connect(url + query, **OPTIONS)
            assert refused.value.response.status_code == 401
            assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
        assert seen == []
        forged = {"Authorization": f"Bearer {token('ada')}", "X-Ringgate-User": "root"}
        async with websockets.connect(url + "?a=1", additional_headers=forged, **OPTIONS) as client:
            assert await client.recv() == "welcome"
        async with websockets.connect(f"{url}?a=1&token={token('bob')}", **OPTIONS) as client:
            assert await client.recv() == "welcome"
            revoked = await asyncio.to_thread(post, gateway, "/api/revoke", {"user": "bob"})
            assert revoked["connections"] == 1
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 4001
        async with websockets.connect(f"{url}?token={token('eve', 2)}", **OPTIONS) as client:
            assert await client.recv() == "welcome"
            async with asyncio.timeout(20):
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            assert client.close_code == 4001
        assert seen == [("/app/x?a=1", "ada"), ("/app/x?a=1", "bob"), ("/app/x", "eve")]


async def test_a_route_can_leave_the_question_to_its_service(gateway_process: StartGateway) -> None:
    async with service("one") as (_, address):
        auth = ("--auth-keys", f"HS256:{SECRET}", "--route", "chat.authenticate=false")
        gateway = await asyncio.to_thread(gateway_process, *passing(address), *auth)
        async with websockets.connect(f"ws://{gateway.edge}/app/x", **OPTIONS) as client:
            assert await client.recv() == "one"


# -- limits ------------------------------------------------------------------------------------


async def test_limits_hold_for_what_passes_and_are_counted_and_logged(gateway_process: StartGateway) -> None:
    async with service("one") as (_, address):
        limits = ("--limits-user-messages", "10", "--limits-connection-bytes", "1KiB", "--limits-burst", "3s")
        auth = ("--auth-keys", f"HS256:{SECRET}")
        gateway = await asyncio.to_thread(gateway_process, *passing(address), *auth, *limits)
        url = f"ws://{gateway.edge}/app/x?token="
        cases = (("ada", "x", "user_messages"), ("bob", os.urandom(5000), "connection_bytes"))
        for user, payload, limit in cases:
            async with (
                websockets.connect(url + token(user), **OPTIONS) as one,
                websockets.connect(url + token(user), **OPTIONS) as two,
            ):
                await one.send(payload)
                assert [await one.recv(), await one.recv()] == ["one", payload]
                with contextlib.suppress(ConnectionClosed):
                    for _ in range(50):
                        await two.send(payload)
                async with asyncio.timeout(20):
                    await two.wait_closed()
                assert (two.close_code, two.close_reason) == (1008, "too many messages")
            shown = await asyncio.to_thread(metrics, gateway)
            assert shown[f'ringgate_limited_total{{limit="{limit}"}}'] == 1
        async with websockets.connect(url + token("eve"), **OPTIONS) as other:
            assert await other.recv() == "one"  # nobody else notices


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_connections_of_a_user_are_counted_in_what_passes(
    gateway_process: StartGateway, more: tuple[str, ...]
) -> None:
    async with service("one") as (_, address):
        auth = ("--auth-keys", f"HS256:{SECRET}", "--limits-connections-per-user", "2")
        gateway = await asyncio.to_thread(gateway_process, *passing(address), *auth, *more)
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for _ in range(5):
                url = f"ws://{gateway.edge}/app/x?token={token('ada')}"
                clients.append(await stack.enter_async_context(websockets.connect(url, **OPTIONS)))
            async with asyncio.timeout(20):
                while sum(client.close_code is None for client in clients) > 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            codes = [client.close_code for client in clients]
            assert (codes.count(None), codes.count(1008)) == (2, 3)
