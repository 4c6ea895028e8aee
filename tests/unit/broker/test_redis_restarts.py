"""A Redis that comes back with older data than it had acknowledged, and does not say so."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.broker.interface import ChannelOptions
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.options import RedisOptions
from gateway.broker.redis.restarts import Restarts, went_back
from gateway.errors import BrokerError
from gateway.message.publication import Position
from tests.support.redis_broker import make_broker
from tests.support.redis_servers import RedisServer
from tests.support.simulated import settle
from tests.unit.broker.harness import KEPT, RecordingRelay, message
from tests.unit.broker.test_redis_nodes import Cluster, cluster

__all__ = ["cluster"]

PLAIN = ChannelOptions(history_size=0)


@pytest.mark.parametrize(
    ("heard", "run", "restarts", "expected"),
    [
        (10, "", (), False),
        (10, "", (("r2", 10),), False),
        (10, "", (("r2", 9),), True),
        (10, "r2", (("r2", 9),), False),
        (10, "r2", (("r2", 5), ("r3", 9)), True),
        (10, "r2", (("r2", 5), ("r3", 9), ("r4", 30)), True),
        (10, "r2", (("r2", 5), ("r3", 10), ("r4", 30)), False),
        (10, "long ago", (("r8", 5), ("r9", 30)), True),
    ],
)
def test_count_went_back(heard: int, run: str, restarts: Restarts, expected: bool) -> None:
    assert went_back(heard, run, restarts) is expected


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# -- simulated: the order is known -----------------------------------------------------------------


@pytest.mark.parametrize("options", [KEPT, PLAIN], ids=["history", "plain"])
@pytest.mark.parametrize("heard", [6, 10], ids=["nothing_lost", "lost"])
async def test_count_that_has_grown_past_what_was_heard_is_noticed(
    cluster: Cluster, options: ChannelOptions, heard: int
) -> None:
    first, second, _ = cluster.brokers
    before = await first.subscribe("c", options)
    for n in range(6):
        await first.publish("c", message(f"m{n}"), options)
    older = cluster.redis.snapshot()
    for n in range(6, heard):
        await first.publish("c", message(f"lost{n}"), options)
    await settle()
    cluster.shards[0].cut_pubsub()
    cluster.redis.go_back(older)
    for n in range(12):  # by a node that has not heard of what was lost
        await second.publish("c", message(f"n{n}"), options)
    cluster.shards[0].mend_pubsub()
    await settle(40)
    heard_of = [epoch for name, (epoch, _) in cluster.relays[0].losses]
    now = await first.publish("c", message("end"), options)
    await settle(20)
    if heard == 10:
        assert now.epoch != before.epoch
        assert heard_of == [now.epoch]
    else:
        assert now.epoch == before.epoch
        assert (cluster.relays[0].offsets("c") == [*range(1, 20)]) == bool(options.history_size)
    assert cluster.relays[0].ids("c")[-1] == "end"


async def test_loss_is_noticed_also_for_a_channel_that_was_left_meanwhile(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    before = await first.subscribe("c", KEPT)
    older = cluster.redis.snapshot()
    await first.publish("c", message("lost"), KEPT)
    await settle()
    cluster.shards[0].cut_pubsub()
    await first.unsubscribe("c")
    cluster.redis.go_back(older)
    await second.publish("c", message("again"), KEPT)
    cluster.shards[0].mend_pubsub()
    await settle()
    first.sweep()
    await settle(20)
    page = await second.history("c", KEPT, since=Position(before.epoch, 1), limit=10)
    assert not page.complete
    assert page.top.epoch != before.epoch


# -- a real server, from a copy of its append-only file ----------------------------------------------


@pytest.fixture
async def brokers(
    tmp_path: Path,
) -> AsyncIterator[tuple[RedisServer, list[RedisBroker], list[RecordingRelay]]]:
    with RedisServer(tmp_path, aof=True) as server:
        options = BrokerOptions(check_interval_s=1.0, lease_s=3.0)
        slow = RedisOptions(backoff_first_s=1.0, backoff_most_s=1.0)  # the other publishes before it is back
        brokers = [make_broker(options, url=server.url, redis=each) for each in (slow, RedisOptions())]
        relays = [RecordingRelay() for _ in brokers]
        for broker, relay in zip(brokers, relays, strict=True):
            await broker.start(relay)
        yield server, brokers, relays
        for broker in brokers:
            await broker.stop()


async def publish_when_possible(broker: RedisBroker, text: str) -> Position:
    async with asyncio.timeout(20):
        while True:
            try:
                result = await broker.publish("c", message(text), KEPT, key=text)
                return Position(result.epoch, result.offset)
            except BrokerError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("loses", [False, True], ids=["whole", "older"])
async def test_server_that_comes_back_from_an_older_append_only_file(
    brokers: tuple[RedisServer, list[RedisBroker], list[RecordingRelay]], loses: bool
) -> None:
    server, (first, second), (relay, _) = brokers
    epoch = (await first.subscribe("c", KEPT)).epoch
    for n in range(5):
        await first.publish("c", message(f"m{n}"), KEPT)
    shutil.copytree(server.folder / "appendonlydir", server.folder / "older")
    for n in range(5):
        await first.publish("c", message(f"lost{n}"), KEPT)
    await until(lambda: len(relay.publications) == 10, "everything is heard")
    server.kill()
    if loses:
        shutil.rmtree(server.folder / "appendonlydir")
        (server.folder / "older").rename(server.folder / "appendonlydir")
    server.start()
    placed = [await publish_when_possible(second, f"n{n}") for n in range(12)]
    await until(lambda: relay.ids("c")[-1:] == ["n11"] or relay.losses, "the first node is back")
    last = await publish_when_possible(second, "end")
    await until(lambda: relay.ids("c")[-1] == "end", "the first node hears on")
    if loses:
        assert last.epoch != epoch
        assert relay.losses
        assert relay.losses[0][1].epoch != epoch
    else:
        assert (last.epoch, last.offset) == (epoch, 23)
        assert relay.losses == []
        assert relay.offsets("c") == [*range(1, 24)]
    assert placed[0].offset in (1, 6, 11)
