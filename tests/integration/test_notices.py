"""Notices of a whole gateway: what a service hears of clients and channels, and when it was away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from gateway import Gateway
from gateway.broker.redis.lanes import LANES
from gateway.hooks.signing import verify
from tests.support.api import get
from tests.support.app_service import AppService, says
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer
from tests.support.waiting import until

SECRET = "hush"  # noqa: S105 of this test


def config_for(service: AppService, **hooks: Any) -> dict[str, Any]:
    return {
        "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"},
        "upstream": {
            "app": {"addresses": [service.url], "breaker_open": "50ms", "breaker_open_most": "100ms"}
        },
        "hooks": {"notices": "app/notices", "secrets": [SECRET], "vacated_after": "200ms", **hooks},
    }


@asynccontextmanager
async def client_of(url: str, user: str) -> AsyncIterator[ClientConnection]:
    async with connect(f"{url}?user={user}") as client:
        assert json.loads(await client.recv())["type"] == "hello"
        yield client


async def do(client: ClientConnection, **command: Any) -> dict[str, Any]:
    await client.send(json.dumps({"id": 1, **command}))
    async with asyncio.timeout(20):
        while True:
            event: dict[str, Any] = json.loads(await client.recv())
            if event.get("id") == 1:
                return event


def told(service: AppService, **fields: Any) -> list[str]:
    """Return the types of notices that have these fields, in their order, each once."""
    found: dict[str, str] = {}
    for heard in service.heard:
        if all(heard.json.get(name) == value for name, value in fields.items()):
            found.setdefault(heard.json["id"], heard.json["type"])
    return list(found.values())


async def test_service_hears_of_clients_and_channels_in_order() -> None:
    async with AppService() as service, Gateway(config_for(service)) as gateway:
        async with client_of(gateway.ws_url, "ada") as ada:
            await do(ada, type="subscribe", channel="news")
            async with client_of(gateway.ws_url, "bob") as bob:
                await do(bob, type="subscribe", channel="news")
                await do(bob, type="unsubscribe", channel="news")
                await do(bob, type="subscribe", channel="news")
        story = [
            "channel_occupied",
            "subscribed",
            "subscribed",
            "unsubscribed",
            "subscribed",
            "channel_vacated",
        ]
        await until(lambda: len(told(service, channel="news")) == len(story))
        assert told(service, channel="news") == story
        await until(lambda: told(service, channel="@ada") == ["channel_occupied", "channel_vacated"])
        await until(lambda: told(service, user="ada") == ["subscribed", "disconnect"])
        (end,) = [h for h in service.heard if h.json["type"] == "disconnect" and h.json["user"] == "ada"]
        assert end.json["code"] == 1000
        assert end.json["channels"] == ["@ada", "news"]
        headers = {name.lower(): value for name, value in end.headers.items()}
        assert verify([SECRET.encode()], headers, end.body, int(headers["webhook-timestamp"]))
        assert headers["webhook-id"] == headers["ce-id"] == end.json["id"]
        assert (headers["ce-specversion"], headers["ce-type"]) == ("1.0", "ringgate.disconnect")
        assert headers["ce-subject"] == end.json["client"]
        assert headers["ce-time"].endswith("Z")


async def test_who_comes_back_within_the_grace_time_leaves_no_trace() -> None:
    config = {"vacated_after": "10s", "events": ["channel_occupied", "channel_vacated"]}
    async with AppService() as service, Gateway(config_for(service, **config)) as gateway:
        for _ in range(3):
            async with client_of(gateway.ws_url, "ada") as ada:
                await do(ada, type="subscribe", channel="news")
        await until(lambda: bool(told(service, channel="news")))
        assert told(service, channel="news") == ["channel_occupied"]


async def test_notices_wait_for_a_service_that_is_away_with_the_same_ids_and_in_order() -> None:
    async with (
        AppService(says({}, 500)) as service,
        Gateway(config_for(service)) as gateway,
        client_of(gateway.ws_url, "ada") as ada,
    ):
        for number in range(3):
            await do(ada, type="subscribe", channel=f"room:{number}")
            await do(ada, type="unsubscribe", channel=f"room:{number}")
        await until(lambda: len(service.heard) >= 3)
        await service.stop()
        await asyncio.sleep(0.2)
        service.answer = says({})
        failed = {heard.json["id"] for heard in service.heard}
        service.heard.clear()
        await service.start()
        await until(lambda: failed <= {heard.json["id"] for heard in service.heard})
        story = ["channel_occupied", "subscribed", "unsubscribed", "channel_vacated"]
        for number in range(3):
            await until(lambda number=number: told(service, channel=f"room:{number}") == story)  # type: ignore[misc]


# -- real processes -------------------------------------------------------------------------------


def flags_for(service: AppService, *more: str) -> tuple[str, ...]:
    upstream = {"addresses": service.url, "breaker_open": "50ms", "breaker_open_most": "200ms"}
    flags = [part for name, value in upstream.items() for part in ("--upstream", f"app.{name}={value}")]
    hooks = {"notices": "app/notices", "secrets": SECRET, "vacated-after": "300ms"}
    flags += [part for name, value in hooks.items() for part in (f"--hooks-{name}", value)]
    return (*flags, *more)


async def test_workers_are_one_and_a_killed_one_is_made_good(gateway_process: StartGateway) -> None:
    async with AppService() as service, AsyncExitStack() as stack:
        gateway = await asyncio.to_thread(
            gateway_process, *flags_for(service, "--workers", "2"), unclean=True
        )
        clients = [await stack.enter_async_context(connect(f"{gateway.ws_url}?user=u{n}")) for n in range(8)]
        for client in clients:
            await do(client, type="subscribe", channel="news")
        await until(lambda: told(service, channel="news").count("subscribed") == 8)
        assert told(service, channel="news").count("channel_occupied") == 1
        nodes = (await asyncio.to_thread(get, gateway, "/api/nodes"))["nodes"]
        os.kill(nodes[0]["pid"], signal.SIGKILL)
        lost = nodes[0]["connections"]
        await until(lambda: len(ends(service)) == lost)
        assert all(end["code"] == 1006 for end in ends(service))
        for client in clients:
            await client.close()
        await until(lambda: len(ends(service)) == 8)
        await until(lambda: told(service, channel="news").count("channel_vacated") == 1)
        headers = {name.lower(): value for name, value in service.heard[-1].headers.items()}
        assert verify([SECRET.encode()], headers, service.heard[-1].body, int(headers["webhook-timestamp"]))


def ends(service: AppService) -> list[dict[str, Any]]:
    """Return the notices of clients that went, each once."""
    found = [heard.json for heard in service.heard if heard.json["type"] == "disconnect"]
    return list({end["id"]: end for end in found}.values())


def kept_in(redis: RedisServer) -> int:
    """Return how many notices wait in Redis."""
    return sum(redis.ask("XLEN", f"ringgate:{{notices{number}}}s") for number in range(LANES))


async def test_nothing_is_lost_when_a_gateway_is_killed_while_the_service_is_away(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        async with AppService(says({}, 503)) as service, AsyncExitStack() as stack:
            flags = flags_for(service, "--broker", redis.url, "--redis-lease", "1s")
            first = await asyncio.to_thread(gateway_process, *flags, unclean=True)
            clients = [
                await stack.enter_async_context(connect(f"{first.ws_url}?user=u{n}")) for n in range(5)
            ]
            for number, client in enumerate(clients):
                await do(client, type="subscribe", channel=f"room:{number}")
                await do(client, type="subscribe", channel="all")
            await until(lambda: len({heard.json["id"] for heard in service.heard}) >= 3)
            await until(lambda: kept_in(redis) == 21)  # of 5 rooms, 5 users, and the channel of all
            first.popen.kill()
            tried = {heard.json["id"]: heard.body for heard in service.heard}
            for client in clients:
                client.transport.abort()
            service.answer = says({})
            service.heard.clear()
            second = await asyncio.to_thread(gateway_process, *flags, unclean=True)
            story = ["channel_occupied", "subscribed", "channel_vacated"]
            for number in range(5):
                await until(lambda number=number: told(service, channel=f"room:{number}") == story)  # type: ignore[misc]
            await until(lambda: len(ends(service)) == 5)
            await until(lambda: told(service, channel="all")[-1:] == ["channel_vacated"])
            assert told(service, channel="all") == [
                "channel_occupied",
                *["subscribed"] * 5,
                "channel_vacated",
            ]
            # What was tried before comes with the same id and body.
            await until(lambda: tried.items() <= {h.json["id"]: h.body for h in service.heard}.items())
            assert second.popen.poll() is None


async def test_a_channel_is_occupied_as_long_as_any_node_has_subscribers(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        async with AppService() as service:
            flags = flags_for(service, "--broker", redis.url, "--redis-lease", "1s")
            one, two = [await asyncio.to_thread(gateway_process, *flags, unclean=True) for _ in range(2)]
            async with client_of(two.ws_url, "bob") as bob:
                async with client_of(one.ws_url, "ada") as ada:
                    await do(ada, type="subscribe", channel="news")
                    await do(bob, type="subscribe", channel="news")
                one.popen.kill()
                await until(lambda: len(ends(service)) == 1)
                await asyncio.sleep(2.0)  # longer than lease and grace time
                assert "channel_vacated" not in told(service, channel="news")
            await until(lambda: told(service, channel="news")[-1] == "channel_vacated")
            assert told(service, channel="news") == [
                "channel_occupied", "subscribed", "subscribed", "channel_vacated",
            ]  # fmt: skip


async def test_notices_wait_for_a_redis_that_is_away(gateway_process: StartGateway, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        async with AppService() as service:
            flags = flags_for(service, "--broker", redis.url, "--redis-lease", "1s")
            gateway = await asyncio.to_thread(gateway_process, *flags, unclean=True)
            async with client_of(gateway.ws_url, "ada") as ada:
                await do(ada, type="subscribe", channel="news")
                await until(lambda: told(service, channel="news") == ["channel_occupied", "subscribed"])
                await asyncio.to_thread(redis.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(redis.start)
            await until(lambda: len(ends(service)) == 1, 30.0)
            assert ends(service)[0]["channels"] == ["@ada", "news"]


# -- dead letters ---------------------------------------------------------------------------------


def ringgate(gateway: GatewayProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "deadletters", *arguments, "--api", gateway.api_url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("broker", ["memory", "redis"])
async def test_dead_letters_are_looked_at_replayed_and_dropped(
    broker: str, gateway_process: StartGateway, tmp_path: Path
) -> None:
    async with AppService(says({}, 400)) as service, AsyncExitStack() as stack:
        url = "memory"
        if broker == "redis":
            url = stack.enter_context(RedisServer(tmp_path)).url
        flags = flags_for(
            service, "--hooks-give-up-after", "0", "--hooks-events", "disconnect", "--broker", url
        )
        gateway = await asyncio.to_thread(gateway_process, *flags)
        for user in ("ada", "bob"):
            async with client_of(gateway.ws_url, user):
                pass

        async def are_dead() -> bool:
            found = await asyncio.to_thread(get, gateway, "/api/deadletters")
            return len(found["dead_letters"]) == 2

        await until(are_dead)
        listed = (await asyncio.to_thread(ringgate, gateway, "list")).stdout.splitlines()
        assert len(listed) == 2
        assert all("disconnect" in line and line.endswith("1 tries: status 400") for line in listed)
        one, other = (line.split()[0] for line in listed)
        shown = json.loads((await asyncio.to_thread(ringgate, gateway, "show", one)).stdout)
        assert (shown["id"], shown["body"]["id"]) == (one, one)
        assert "no such" in (await asyncio.to_thread(ringgate, gateway, "show", "n_nothing")).stderr
        assert "which ones?" in (await asyncio.to_thread(ringgate, gateway, "drop")).stderr
        service.answer = says({})
        service.heard.clear()
        assert '"dead_letters": 1' in (await asyncio.to_thread(ringgate, gateway, "replay", one)).stdout
        await until(lambda: [heard.json["id"] for heard in service.heard] == [one])
        assert '"dead_letters": 1' in (await asyncio.to_thread(ringgate, gateway, "drop", "--all")).stdout
        assert (await asyncio.to_thread(ringgate, gateway, "list")).stdout == ""
        assert [heard.json["id"] for heard in service.heard] == [one], f"{other} was dropped"
