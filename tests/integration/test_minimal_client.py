"""The client that is written from the protocol's page alone loses and doubles nothing on a bad network."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx

from examples.minimal_client import MinimalClient
from gateway import Gateway
from tests.chaos.proxy import FaultProxy
from tests.support.peers import ANY_PORT

SOON_S = 30.0


def text_of(message: dict[str, Any] | None) -> str:
    return "lost" if message is None else message["data"]


async def until(heard: list[str], count: int) -> None:
    async with asyncio.timeout(SOON_S):
        while len(heard) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_minimal_client_hears_everything_once_and_in_order() -> None:
    async with Gateway({"server": ANY_PORT}) as gateway, contextlib.AsyncExitStack() as stack:
        proxy = FaultProxy(("127.0.0.1", int(str(gateway.edge_address).rpartition(":")[2])), seed=7)
        await proxy.start()
        stack.push_async_callback(proxy.close)
        heard: dict[str, list[str]] = {"near": [], "far": []}
        clients = {
            "near": MinimalClient(
                f"{gateway.ws_url}?user=ada", "news", lambda m: heard["near"].append(text_of(m))
            ),
            "far": MinimalClient(
                f"ws://{proxy.address}/ws?user=bob", "news", lambda m: heard["far"].append(text_of(m))
            ),
        }
        running = [asyncio.create_task(client.run()) for client in clients.values()]
        async with asyncio.timeout(SOON_S):
            while not all(client.position for client in clients.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for number in range(4):
            proxy.refusing = number % 3 == 2
            (proxy.cut, lambda: proxy.tear("down", 1), lambda: proxy.tear("up", 1))[number % 3]()
            for name, client in clients.items():
                await client.publish(f"{name} {number}")
            await asyncio.sleep(0.2)
            proxy.refusing = False
            await until(heard["far"], 2 * (number + 1))
        await until(heard["near"], 8)
        assert heard["far"] == heard["near"]
        for name in clients:
            told = [text for text in heard["far"] if text.startswith(name)]
            assert told == [f"{name} {number}" for number in range(4)]
        assert not any(client.waiting for client in clients.values())
        await asyncio.to_thread(post, gateway, {"user": "bob", "reason": "enough"})
        async with asyncio.timeout(SOON_S):
            assert await running[1] == "4004 enough"
        running[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running[0]


def post(gateway: Gateway, body: object) -> None:
    httpx.post(f"http://{gateway.api_address}/api/disconnect", json=body).raise_for_status()
