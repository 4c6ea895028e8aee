"""The Python client against real gateways: after every break each message comes once and in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import Gateway
from gateway.client import (
    Client,
    Joined,
    Lost,
    Message,
    Options,
    Position,
    RinggateError,
    Subscribed,
)
from gateway.client.codecs import EncodingName
from gateway.errors import UsageError
from tests.chaos.proxy import FaultProxy
from tests.support.api import post
from tests.support.peers import ANY_PORT
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer
from tests.support.tls import Authority

QUICK = Options(backoff_first=0.05, backoff_most=0.4, close_timeout=0.5)
NAMESPACES = {"default": {"presence": False}, "room": {"presence": True, "join_leave": True}}
NODE = ("--redis-lease", "2s", "--redis-check-interval", "1s", "--namespace", "default.presence=false")


def gateway_with(**sections: dict[str, object]) -> Gateway:
    return Gateway({"server": ANY_PORT, "namespace": NAMESPACES, **sections})


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with gateway_with() as running:
        yield running


@asynccontextmanager
async def proxied(address: object) -> AsyncIterator[FaultProxy]:
    host, _, port = str(address).rpartition(":")
    proxy = FaultProxy((host, int(port)))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


async def until(condition: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {within_s:g} s for {what}") from None


class Log:
    """What a client heard of one channel; `data` are the payloads."""

    def __init__(self, client: Client, channel: str) -> None:
        self.data: list[Any] = []
        self.lost: list[Lost] = []
        self.resumed: list[bool | None] = []
        self.subscription = client.subscribe(
            channel,
            on_message=lambda message: self.data.append(message.data),
            on_lost=self.lost.append,
            on_subscribed=lambda event: self.resumed.append(event.recovered),
        )


# -- what it can ----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["json", "msgpack", "protobuf"])
async def test_every_encoding_subscribes_publishes_reads_history_and_sees_who_is_there(
    encoding: EncodingName, gateway: Gateway
) -> None:
    values: list[object] = [{"a": [1, 2.5, None]}, b"\x00\xff", "é"]
    async with Client(f"{gateway.ws_url}?user=ann", encoding=encoding) as client:
        room = await client.subscribe("room:1").ready()
        places = [await client.publish("room:1", value) for value in values]
        assert [place.offset for place in places] == [1, 2, 3]
        heard = [await anext(room) for _ in values]
        assert [message.data for message in heard] == values
        me = (await client.online()).client
        assert {(message.client, message.user) for message in heard} == {(me, "ann")}
        page = await client.history("room:1", limit=2)
        assert (page.messages, page.complete) == (heard[1:], False)
        assert page.position == Position(places[0].epoch, 3)
        with client.presence("room:1") as presence:
            await presence.ready()
            assert [member.user for member in presence.members] == ["ann"]
            async with Client(f"{gateway.ws_url}?user=bob") as other:
                await other.subscribe("room:1").ready()
                await until(lambda: len(presence.members) == 2, "bob to be there")
            await until(lambda: len(presence.members) == 1, "bob to be gone")


async def test_two_subscriptions_to_a_channel_are_one_for_the_gateway(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as client:
        with client.subscribe("news") as first:
            second = await client.subscribe("news").ready()
            await gateway.publish("news", 1)
            assert ((await anext(first)).data, (await anext(second)).data) == (1, 1)
        await gateway.publish("news", 2)
        assert (await anext(second)).data == 2
        second.close()
        again = await client.subscribe("news").ready()
        await gateway.publish("news", 3)
        assert (await anext(again)).data == 3


async def test_events_beside_messages_can_be_iterated(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as client:
        events = client.subscribe("room:1").events()
        assert [type(await anext(events)) for _ in range(2)] == [Subscribed, Joined]
        await client.publish("room:1", 1)
        assert isinstance(await anext(events), Message)


async def test_what_the_gateway_refuses_is_raised(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as client:
        with pytest.raises(RinggateError, match="permission_denied"):
            await client.subscribe("@bob").ready()
        with pytest.raises(RinggateError, match="limit_exceeded"):
            await client.publish("news", "x" * 40_000)
        with pytest.raises(RinggateError, match="limit_exceeded"):
            await client.publish("news", "x" * 100_000)  # this one costs a connection, and is not repeated
        assert (await client.publish("news", 1)).offset == 1
        for wrong in ("", "no spaces"):
            with pytest.raises(UsageError, match="channel"):
                client.subscribe(wrong)


async def test_messages_of_channels_nobody_subscribed_to_are_told(gateway: Gateway) -> None:
    async with Client(f"{gateway.ws_url}?user=ann") as client:
        told: list[Any] = []
        remove = client.on_stray(told.append)
        await client.online()
        await gateway.publish("@ann", "to her")
        await until(lambda: told, "her message")
        assert (told[0].channel, told[0].data) == ("@ann", "to her")
        remove()
        mine = await client.subscribe("@ann").ready()
        await gateway.publish("@ann", "again")
        assert (await anext(mine)).data == "again"
        assert len(told) == 1


async def test_callback_that_fails_harms_nobody(gateway: Gateway) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with Client(gateway.ws_url) as client:
        client.on_status(lambda status: 1 / 0)
        bad = client.subscribe("news", on_message=lambda message: 1 / 0)
        good = Log(client, "news")
        await bad.ready()
        await gateway.publish("news", 1)
        await until(lambda: good.data == [1], "the message")
    assert {context["message"] for context in reported} == {"a callback of the client failed"}
    asyncio.get_running_loop().set_exception_handler(None)


async def test_tls(tmp_path: Path, gateway_process: StartGateway) -> None:
    authority = Authority(tmp_path)
    running = gateway_process(*authority.flags)
    url = f"wss://{running.edge}/ws"
    async with Client(url, tls=authority.client()) as client:
        assert (await client.publish("news", 1)).offset == 1
    async with Client(url, options=QUICK) as stranger:
        await until(lambda: stranger.status.state == "reconnecting", "an attempt")
        assert "certificate" in stranger.status.reason.lower()


# -- the end ----------------------------------------------------------------------------------------


async def test_closing_ends_everything_that_waits_and_leaves_no_task(gateway: Gateway) -> None:
    before = asyncio.all_tasks()
    client = Client("ws://127.0.0.1:9/ws", options=QUICK)
    client.connect()
    news = client.subscribe("news")
    waiting = [asyncio.ensure_future(thing) for thing in (news.ready(), anext(client.presence("news")))]
    published = client.publish("news", 1)
    statuses = asyncio.ensure_future(_all(client.statuses()))
    iterating = asyncio.ensure_future(_all(news))
    await until(lambda: client.status.state == "reconnecting", "an attempt that fails")
    await client.close()
    await client.close()
    with pytest.raises(RinggateError, match="closed"):
        await published
    with pytest.raises(RinggateError, match="closed"):
        await waiting[0]
    with pytest.raises(StopAsyncIteration):
        await waiting[1]
    assert await iterating == []
    assert (await statuses)[-1].state in {"offline", "reconnecting", "connecting"}
    for ask in (client.connect, lambda: client.publish("news", 1), lambda: client.subscribe("news")):
        with pytest.raises(RinggateError, match="closed"):
            ask()
    assert asyncio.all_tasks() <= before


async def _all(iterator: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in iterator]


async def test_gateway_that_refuses_is_told_and_ends_the_wait(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as client:
        me = (await client.online()).client
        async with httpx.AsyncClient() as http:
            assert (await http.post(f"{gateway.api_url}/api/disconnect", json={"client": me})).is_success
        await until(lambda: client.status.state == "offline", "the end")
        assert client.status.code == 4004
        with pytest.raises(RinggateError, match="disconnected"):
            await client.online()
        client.connect()
        await client.online()


# -- breaks -------------------------------------------------------------------------------------------


async def publishing(target: Callable[[int], Any], done: asyncio.Event) -> int:
    """Publish 1, 2, 3, ... until told to stop; return how many."""
    number = 0
    while not done.is_set():
        number += 1
        await target(number)
        await asyncio.sleep(0.003)
    return number


async def test_every_message_comes_once_and_in_order_over_a_bad_network(gateway: Gateway) -> None:
    async with proxied(gateway.edge_address) as proxy:
        url = f"ws://{proxy.address}/ws"
        async with Client(url, options=QUICK) as reader, Client(url, options=QUICK) as writer:
            elsewhere, own = Log(reader, "news"), Log(reader, "own")
            await elsewhere.subscription.ready()
            await own.subscription.ready()
            done, futures = asyncio.Event(), []
            outside = asyncio.create_task(publishing(lambda n: gateway.publish("news", n), done))

            async def offer(number: int) -> None:
                futures.append(writer.publish("own", number))

            inside = asyncio.create_task(publishing(offer, done))
            for fault in (proxy.cut, lambda: proxy.tear("down", 2), lambda: proxy.tear("up", 1)):
                before = proxy.accepted
                fault()
                await until(lambda at=before: proxy.accepted > at, "a return")  # type: ignore[misc]
                await asyncio.sleep(0.1)
            proxy.slice_bytes = 1
            await asyncio.sleep(0.1)
            proxy.slice_bytes = 0
            proxy.refusing = True
            proxy.cut()
            await asyncio.sleep(0.3)
            proxy.refusing = False
            done.set()
            count, offered = await outside, await inside
            async with asyncio.timeout(20):
                await asyncio.gather(*futures)
            await until(lambda: len(elsewhere.data) >= count and len(own.data) >= offered, "the rest")
            assert elsewhere.data == list(range(1, count + 1))
            assert own.data == list(range(1, offered + 1))
            assert (elsewhere.lost, own.lost) == ([], [])
            assert len(elsewhere.resumed) >= 3
            assert all(elsewhere.resumed[1:] + own.resumed[1:])


async def test_gateway_that_says_nothing_is_left_and_found_again() -> None:
    async with (
        gateway_with(websocket={"ping_interval": "300ms"}) as gateway,
        proxied(gateway.edge_address) as proxy,
        Client(f"ws://{proxy.address}/ws", options=QUICK) as client,
    ):
        news = Log(client, "news")
        await news.subscription.ready()
        proxy.stall()
        await gateway.publish("news", 1)
        published = client.publish("news", 2)
        await until(lambda: client.status.state != "online", "the silence to be noticed")
        proxy.cut()
        proxy.heal()
        await published
        await until(lambda: len(news.data) == 2, "what was missed")
        assert news.data == [1, 2]


async def test_what_is_too_old_is_told_as_lost() -> None:
    async with (
        gateway_with(namespace={"default": {"presence": False, "history_size": 3}}) as gateway,
        proxied(gateway.edge_address) as proxy,
        Client(f"ws://{proxy.address}/ws", options=QUICK) as client,
    ):
        news = Log(client, "news")
        await news.subscription.ready()
        proxy.refusing = True
        proxy.cut()
        await until(lambda: client.status.state == "reconnecting", "the break")
        for number in range(200):
            await gateway.publish("news", "x" * 10_000 + str(number))
        proxy.refusing = False
        await until(lambda: len(news.resumed) == 2, "the channel")
        assert (news.resumed[1], news.data) == (False, [])
        assert [(lost.reason, lost.first, lost.last) for lost in news.lost] == [("resume", 1, 200)]
        await gateway.publish("news", "new")
        await until(lambda: news.data == ["new"], "a new message")


async def test_slow_iterator_is_bounded_and_gets_everything(gateway: Gateway) -> None:
    async with Client(gateway.ws_url, options=Options(max_unread=10)) as client:
        news = await client.subscribe("news").ready()
        most, heard = 0, []
        for number in range(1, 91):
            await gateway.publish("news", number)
            await asyncio.sleep(0.001)
            most = max(most, len(news._unread))
            if number % 3 == 0:
                heard.append((await anext(news)).data)
        while len(heard) < 90:
            heard.append((await anext(news)).data)
        assert heard == list(range(1, 91))
        assert most < 60, "it does not keep what it does not hear"


async def test_planned_stop_is_followed_by_a_spread_return(gateway: Gateway) -> None:
    async with proxied(gateway.edge_address) as proxy:
        clients = [Client(f"ws://{proxy.address}/ws", options=QUICK) for _ in range(20)]
        for client in clients:
            client.connect()
        for client in clients:
            await client.online()
        other = gateway_with()
        async with other:
            host, _, port = str(other.edge_address).rpartition(":")
            proxy.target = (host, int(port))
            moved = [asyncio.create_task(_again(client)) for client in clients]
            await gateway.stop()
            delays = await asyncio.gather(*moved)
            assert {client.status.state for client in clients} == {"online"}
            # The gateway asks for a time between 0 and 2 s.
            assert max(delays) - min(delays) > 0.5
            await asyncio.gather(*(client.close() for client in clients))


async def _again(client: Client) -> float:
    """Wait until a client was away and is back; return how long it was away."""
    loop = asyncio.get_running_loop()
    await until(lambda: client.status.state != "online", "the stop")
    away_at = loop.time()
    async with asyncio.timeout(20):
        await client.online()
    return loop.time() - away_at


async def test_killed_gateway_is_left_for_another_node_and_nothing_is_lost_or_doubled(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        nodes = [gateway_process("--broker", redis.url, *NODE, unclean=True) for _ in range(2)]
        async with (
            proxied(nodes[0].edge) as proxy,
            Client(f"ws://{proxy.address}/ws", options=QUICK) as client,
        ):
            news, own = Log(client, "news"), Log(client, "own")
            await news.subscription.ready()
            await own.subscription.ready()
            await _publish(nodes[1], "news", 1)
            await client.publish("own", 1)
            await until(lambda: (news.data, own.data) == ([1], [1]), "the first")
            nodes[0].stop(signal.SIGKILL)
            proxy.refusing = True
            await until(lambda: client.status.state != "online", "the break")
            queued = [client.publish("own", number) for number in range(2, 12)]
            for number in range(2, 12):
                await _publish(nodes[1], "news", number)
            proxy.target = ("127.0.0.1", nodes[1].edge_port)
            proxy.refusing = False
            async with asyncio.timeout(20):
                await asyncio.gather(*queued)
            await until(lambda: len(news.data) >= 11 and len(own.data) >= 11, "the rest")
            await _publish(nodes[1], "news", 12)
            await until(lambda: len(news.data) >= 12, "the newest")
            assert news.data == list(range(1, 13))
            assert own.data == list(range(1, 12))
            assert news.lost + own.lost == []


async def _publish(node: GatewayProcess, channel: str, data: object) -> None:
    await asyncio.to_thread(post, node, "/api/publish", {"channel": channel, "data": data})
