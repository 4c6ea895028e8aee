"""Two gateways on one Redis: for clients and services they are one; what breaks is filled or announced."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import metrics, post, request
from tests.support.peers import Peer, hang_up, since
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer
from tests.support.workers import ask

QUICK = (
    *("--redis-lease", "2s", "--redis-check-interval", "1s", "--redis-command-timeout", "1s"),
    *("--namespace", "default.presence=false", "--namespace", "room.presence=true"),
    *("--namespace", "team.join_leave=user", "--namespace", "team.presence=true"),
)


class Cluster:
    """Gateways on one Redis."""

    def __init__(self, start: StartGateway, redis: RedisServer) -> None:
        self._start = start
        self.redis = redis
        self.nodes = [self.start(), self.start()]

    def start(self, *flags: str, unclean: bool = False) -> GatewayProcess:
        return self._start("--broker", self.redis.url, *QUICK, *flags, unclean=unclean)


@pytest.fixture(params=[False], ids=["no_data"])
async def cluster(
    request: pytest.FixtureRequest, gateway_process: StartGateway, tmp_path: Path
) -> AsyncIterator[Cluster]:
    with RedisServer(tmp_path, aof=request.param) as redis:
        yield Cluster(gateway_process, redis)
        await hang_up()


async def publish(gateway: GatewayProcess, channel: str, data: object, **more: object) -> dict[str, Any]:
    body = {"channel": channel, "data": data, **more}
    return dict(await asyncio.to_thread(post, gateway, "/api/publish", body))


async def status_of(gateway: GatewayProcess, method: str, path: str, body: bytes | None = None) -> int:
    headers = {"Content-Type": "application/json"} if body else None
    return (await asyncio.to_thread(request, gateway.api, method, path, body, headers))[0]


async def until(condition: Callable[[], Awaitable[bool]], what: str, within_s: float = 15.0) -> float:
    begun = time.monotonic()
    while not await condition():
        assert time.monotonic() - begun < within_s, what
        await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def clients_present(gateway: GatewayProcess, channel: str) -> list[str]:
    return [m["client"] for m in (await ask(gateway, f"/api/channels/{channel}/presence"))["members"]]


# -- one gateway ---------------------------------------------------------------------------------


async def test_what_is_published_anywhere_is_heard_everywhere_in_one_order(cluster: Cluster) -> None:
    peers = [await Peer.connect(node) for node in cluster.nodes]
    for peer in peers:
        assert (await peer.ask("subscribe", channel="news"))["offset"] == 0

    async def publish_some(node: GatewayProcess, name: str) -> None:
        for n in range(30):
            await publish(node, "news", f"{name}{n}")

    await asyncio.gather(*(publish_some(node, name) for node, name in zip(cluster.nodes, "ab", strict=True)))
    heard = []
    for peer in peers:
        events = [await peer.event() for _ in range(60)]
        assert [event["offset"] for event in events] == list(range(1, 61))
        heard.append([event["data"] for event in events])
    assert heard[0] == heard[1]
    for name in "ab":
        mine = [data for data in heard[0] if data[0] == name]
        assert mine == [f"{name}{n}" for n in range(30)]


async def test_client_resumes_on_another_node_with_its_session_and_every_message(cluster: Cluster) -> None:
    first, second = cluster.nodes
    peer = await Peer.connect(first, "alice")
    subscribed = await peer.ask("subscribe", channel="news")
    await publish(first, "news", "before")
    assert await peer.messages(1) == [1]
    session, epoch = peer.hello["session"], subscribed["epoch"]
    await peer.connection.close()
    for n in range(5):
        await publish(first, "news", n)
    again = await Peer.connect(second, "alice")

    async def taken() -> bool:
        answer = await again.ask("connect", session=session, since={"news": since(epoch, 1)})
        return bool(answer["type"] == "reply")

    await until(taken, "the session is taken up")
    heard = [await again.event() for _ in range(5)]
    assert [(event["offset"], event["data"]) for event in heard] == [(n + 2, n) for n in range(5)]


async def test_storm_of_resuming_clients_costs_one_read_of_history(cluster: Cluster) -> None:
    first, second = cluster.nodes
    epoch = (await publish(first, "news", 0))["epoch"]
    for n in range(1, 60):
        await publish(first, "news", n)

    async def come_back(offset: int) -> None:
        peer = await Peer.connect(second)
        answer = await peer.ask("subscribe", channel="news", since=since(epoch, offset))
        assert answer["recovered"] is True
        assert await peer.messages(60 - offset) == list(range(offset + 1, 61))

    before = reads(second)
    await asyncio.gather(*(come_back(n % 60) for n in range(0, 1000, 7)))
    assert reads(second) - before == 1


def reads(gateway: GatewayProcess) -> float:
    return sum(value for name, value in metrics(gateway).items() if "broker_history_reads" in name)


async def test_services_reach_clients_on_whatever_node_they_are(cluster: Cluster) -> None:
    first, second = cluster.nodes
    peer = await Peer.connect(second, "bob")
    client = peer.hello["client"]
    sent = await asyncio.to_thread(post, first, "/api/send", {"client": client, "data": "hi"})
    assert sent["connections"] == 1
    assert (await peer.event())["data"] == "hi"
    body = {"user": "bob", "channel": "room:1"}
    assert (await asyncio.to_thread(post, first, "/api/subscribe", body))["connections"] == 1
    assert (await peer.event())["type"] == "subscribed"
    assert (await asyncio.to_thread(post, first, "/api/unsubscribe", body))["connections"] == 1
    while (event := await peer.event())["type"] != "unsubscribed":
        assert event["type"] == "join"
    listed = await ask(first, "/api/connections")
    assert [c["client"] for c in listed["connections"]] == [client]
    assert [n["connections"] for n in (await ask(first, "/api/nodes"))["nodes"]].count(1) == 1
    assert (await asyncio.to_thread(post, first, "/api/disconnect", {"user": "bob"}))["connections"] == 1
    await asyncio.wait_for(peer.connection.wait_closed(), 10)
    assert (await asyncio.to_thread(post, first, "/api/disconnect", {"user": "bob"}))["connections"] == 0


async def test_channels_are_listed_once_with_the_subscribers_of_all_nodes(cluster: Cluster) -> None:
    for node in cluster.nodes:
        await (await Peer.connect(node)).ask("subscribe", channel="news")
    for node in cluster.nodes:
        (channel,) = (await ask(node, "/api/channels"))["channels"]
        assert (channel["name"], channel["subscribers"]) == ("news", 2)


# -- what breaks -----------------------------------------------------------------------------------


async def test_members_of_a_killed_node_leave_once(cluster: Cluster) -> None:
    third = cluster.start(unclean=True)
    watcher = await Peer.connect(cluster.nodes[0])
    await watcher.ask("subscribe", channel="room:1")
    lost = [await Peer.connect(third) for _ in range(3)]
    for peer in lost:
        await peer.ask("subscribe", channel="room:1")
    clients = {peer.hello["client"] for peer in lost}
    await watcher.ask("subscribe", channel="team:1")
    alices = [await Peer.connect(node, "alice") for node in (third, cluster.nodes[1])]
    for peer in (*alices, await Peer.connect(third, "bob")):
        await peer.ask("subscribe", channel="team:1")
    assert len(await clients_present(cluster.nodes[1], "team:1")) == 3

    async def all_there() -> bool:
        return len(await clients_present(cluster.nodes[1], "room:1")) == 4

    await until(all_there, "everybody is present")
    third.stop(signal.SIGKILL)

    async def all_gone() -> bool:
        return await clients_present(cluster.nodes[1], "room:1") == [watcher.hello["client"]]

    await until(all_gone, "the dead node's members are taken out")
    there = [watcher.hello["client"], alices[1].hello["client"]]

    async def each_user_once() -> bool:
        return await clients_present(cluster.nodes[1], "team:1") == there

    await until(each_user_once, "who is there shows by another client")
    for channel in ("room:1", "team:1"):
        await publish(cluster.nodes[1], channel, "end")
    heard = [await watcher.event()]
    while [event["type"] for event in heard].count("message") < 2:
        heard.append(await watcher.event())
    left = [event["client"] for event in heard if event["type"] == "leave" and event["channel"] == "room:1"]
    assert sorted(left) == sorted(clients)
    team = [(e["type"], e["user"]) for e in heard if e["channel"] == "team:1" and "user" in e]
    assert team == [("join", "alice"), ("join", "bob"), ("leave", "bob")]


async def test_sessions_of_a_killed_node_are_resumed_elsewhere_at_once_and_after_its_lease(
    cluster: Cluster,
) -> None:
    third = cluster.start(unclean=True)
    lost = [await Peer.connect(third, user) for user in ("alice", "bob")]
    for peer in lost:
        subscribed = await peer.ask("subscribe", channel="news")
    await asyncio.sleep(1.0)  # what was subscribed a moment ago may not have been held yet
    third.stop(signal.SIGKILL)
    await publish(cluster.nodes[0], "news", "while they are away")
    where = since(subscribed["epoch"], 0)

    async def resume(peer: Peer, node: GatewayProcess) -> None:
        again = await Peer.connect(node, peer.hello["user"])
        answer = await again.ask("connect", session=peer.hello["session"], since={"news": where})
        assert answer["type"] == "reply", answer
        channels = {s["channel"]: s.get("recovered") for s in answer["subscriptions"]}
        assert channels["news"] is True
        assert await again.messages(1) == [1]

    await resume(lost[0], cluster.nodes[1])

    async def buried() -> bool:
        found = (metrics(node) for node in cluster.nodes)
        return any("nodes_reaped" in name and value for each in found for name, value in each.items())

    await until(buried, "the dead node's lease is over")
    await resume(lost[1], cluster.nodes[0])


@pytest.mark.parametrize("cluster", [False, True], indirect=True, ids=["no_data", "aof"])
async def test_redis_is_killed_and_comes_back(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    first, second = cluster.nodes
    peers = [await Peer.connect(node) for node in cluster.nodes]
    for peer in peers:
        await peer.ask("subscribe", channel="news")
    before = [await publish(first, "news", n) for n in range(3)]
    for peer in peers:
        assert await peer.messages(3) == [1, 2, 3]
    cluster.redis.kill()

    async def not_ready() -> bool:
        return await status_of(first, "GET", "/health/ready") == 503

    await until(not_ready, "readiness tells of the dead broker", within_s=5)
    begun = time.monotonic()
    assert await status_of(first, "POST", "/api/publish", b'{"channel":"news","data":1}') in (503, 504)
    assert time.monotonic() - begun < 3, "publish fails fast"
    cluster.redis.start()
    for node in cluster.nodes:

        async def ready(node: GatewayProcess = node) -> bool:
            return await status_of(node, "GET", "/health/ready") == 200

        await until(ready, "readiness comes back")
    after = await publish(second, "news", "after")
    for peer in peers:
        events = [await peer.event()]
        while events[-1].get("data") != "after":
            events.append(await peer.event())
        if "aof" in request.node.name:
            assert (after["epoch"], after["offset"]) == (before[0]["epoch"], 4)
            assert [event["type"] for event in events] == ["message"]
        else:
            assert after["epoch"] != before[0]["epoch"]
            assert events[0]["type"] == "gap"
            assert events[0]["epoch"] == after["epoch"]
            assert [event["type"] for event in events[1:]] == ["message"]
        await peer.expect_nothing()


async def test_what_is_published_while_a_node_is_cut_off_is_filled(cluster: Cluster) -> None:
    first, second = cluster.nodes
    peer = await Peer.connect(second)
    await peer.ask("subscribe", channel="news")
    await publish(first, "news", 0)
    assert await peer.messages(1) == [1]
    for n in range(1, 30):
        if n % 5 == 0:
            cluster.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await publish(first, "news", n)
    assert await peer.messages(29) == list(range(2, 31))
    await peer.expect_nothing()
    assert sum(v for name, v in metrics(second).items() if "broker_fetched" in name) > 0


async def test_workers_are_nodes_of_the_cluster(cluster: Cluster) -> None:
    both = cluster.start("--workers", "2")
    assert len((await ask(cluster.nodes[0], "/api/nodes"))["nodes"]) == 4
    peers = [await Peer.connect(both) for _ in range(6)]
    for peer in peers:
        await peer.ask("subscribe", channel="news")
    await publish(cluster.nodes[0], "news", 1)
    await publish(both, "news", 2)
    for peer in peers:
        assert await peer.messages(2) == [1, 2]
    assert (await ask(cluster.nodes[1], "/api/channels"))["channels"][0]["subscribers"] == 6
    assert (await ask(both, "/health/ready"))["status"] == "ready"


async def test_redis_and_every_gateway_go_back_and_a_client_comes_with_what_was_lost(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, aof=True) as redis:
        flags = ("--broker", redis.url, *QUICK)
        gateway = gateway_process(*flags, unclean=True)
        peer = await Peer.connect(gateway)
        subscribed = await peer.ask("subscribe", channel="news")
        events = []
        for n in range(10):
            if n == 5:
                shutil.copytree(redis.folder / "appendonlydir", redis.folder / "older")
            await publish(gateway, "news", n)
            events.append(await peer.event())
        gateway.popen.kill()
        redis.kill()
        shutil.rmtree(redis.folder / "appendonlydir")
        (redis.folder / "older").rename(redis.folder / "appendonlydir")
        redis.start()
        gateway = gateway_process(*flags)
        for n in range(12):
            answer = await publish(gateway, "news", f"new {n}")
        assert answer == {"epoch": subscribed["epoch"], "offset": 17}  # as if nothing had happened
        at = since(subscribed["epoch"], 10)
        expected: list[tuple[dict[str, object], bool]] = [
            ({"id": events[9]["id"], "mark": subscribed["mark"]}, False),
            ({"id": events[9]["id"]}, False),
            ({"mark": subscribed["mark"]}, False),
            ({"id": events[4]["id"], "mark": subscribed["mark"], "offset": 5}, True),
            ({}, True),  # an older client: it is believed
        ]
        for proof, recovered in expected:
            peer = await Peer.connect(gateway)
            assert (await peer.ask("subscribe", channel="news", since={**at, **proof}))[
                "recovered"
            ] is recovered
        peer = await Peer.connect(gateway)
        await peer.ask("subscribe", channel="news", since=since(subscribed["epoch"], 5))
        last = [await peer.event() for _ in range(12)][-1]
        heard_later = since(subscribed["epoch"], 17) | {"id": last["id"], "mark": subscribed["mark"]}
        other = await Peer.connect(gateway, encoding="protobuf")
        assert (await other.ask("subscribe", channel="news", since=heard_later))["recovered"] is True
        await hang_up()
