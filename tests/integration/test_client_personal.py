"""What is sent to a user reaches each of her clients once, over breaks, killed nodes and other nodes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.client import Client, Lost, Options
from tests.chaos.proxy import FaultProxy
from tests.support.api import post
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer

QUICK = Options(backoff_first=0.05, backoff_most=0.4, close_timeout=0.5)
NODE = ("--redis-lease", "2s", "--redis-check-interval", "1s")
WITHIN_S = 30.0


@asynccontextmanager
async def in_front_of(node: GatewayProcess) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(("127.0.0.1", node.edge_port))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited for {what}") from None


class Ann:
    """A client of the user ann that hears her personal channel and `news`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.said: list[Any] = []
        self.news: list[Any] = []
        self.lost: list[Lost] = []
        self.direct = client.subscribe(
            "@ann", on_message=lambda message: self.said.append(message.data), on_lost=self.lost.append
        )
        self.channel = client.subscribe(
            "news", on_message=lambda message: self.news.append(message.data), on_lost=self.lost.append
        )

    async def ready(self) -> str:
        """Wait until everything is subscribed; return the id of this connection."""
        await self.direct.ready()
        await self.channel.ready()
        return self.client.status.client


async def send(node: GatewayProcess, number: int, exclude: str) -> None:
    await asyncio.to_thread(post, node, "/api/send", {"user": "ann", "data": number})
    await asyncio.to_thread(post, node, "/api/publish", {"channel": "news", "data": number})
    body = {"channel": "news", "data": "not for her", "exclude": exclude}
    await asyncio.to_thread(post, node, "/api/publish", body)


async def check(ann: Ann, up_to: int) -> None:
    everything = list(range(1, up_to + 1))
    await until(lambda: ann.said == ann.news == everything, f"{everything}: {ann.said}, {ann.news}")
    assert ann.lost == []


async def test_nothing_is_lost_or_doubled_over_breaks_of_one_gateway(gateway_process: StartGateway) -> None:
    node = gateway_process()
    async with (
        in_front_of(node) as proxy,
        Client(f"ws://{proxy.address}/ws?user=ann", options=QUICK) as client,
    ):
        ann = Ann(client)
        me = await ann.ready()
        await send(node, 1, me)
        for number in (2, 3, 4):
            proxy.refusing = True
            proxy.cut()
            await until(lambda: client.status.state != "online", "the break")
            await send(node, number, me)
            proxy.refusing = False
            await check(ann, number)
            me = (await client.online()).client


async def test_nothing_is_lost_or_doubled_when_she_comes_back_on_another_node(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        first, second = (gateway_process("--broker", redis.url, *NODE, unclean=True) for _ in range(2))
        async with (
            in_front_of(first) as proxy,
            Client(f"ws://{proxy.address}/ws?user=ann", options=QUICK) as client,
        ):
            ann = Ann(client)
            me = await ann.ready()
            await send(first, 1, me)
            await check(ann, 1)
            proxy.refusing = True
            first.stop(signal.SIGKILL)
            for number in (2, 3):
                await send(second, number, me)
            proxy.target = ("127.0.0.1", second.edge_port)
            proxy.refusing = False
            await check(ann, 3)
            await send(second, 4, (await client.online()).client)
            await check(ann, 4)
