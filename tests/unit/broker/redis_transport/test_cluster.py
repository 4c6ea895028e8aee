"""A shard that is a Cluster: slots that move, masters that die."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.broker.redis.shard import Script
from gateway.broker.redis.slots import SLOTS, slot_of
from gateway.errors import BrokerUnavailableError
from tests.support.redis_servers import HOST, RedisServer
from tests.support.redis_sets import RedisCluster
from tests.support.redis_shards import COUNT, PUBLISH, WHERE, Recorder, run_until_done, shard_of, until
from tests.unit.broker.redis_transport.conftest import StartShard

CHANNELS = [b"{=room:%d}" % number for number in range(12)]
BOTH = Script("both", "return {redis.call('INCR', KEYS[1]), redis.call('INCR', KEYS[2])}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters with a replica each; tests leave every slot with somebody, and everybody running."""
    with RedisCluster(tmp_path_factory.mktemp("cluster"), aof=True) as running:
        yield running


async def everywhere(cluster: RedisCluster, recorder: Recorder) -> None:
    """See that a message gets through on every channel, from its own master."""
    await until(lambda: recorder.subscribed == set(CHANNELS), "the subscriptions")
    recorder.messages.clear()
    for channel in CHANNELS:  # one whose slot has just moved may not have heard of it yet
        owner = cluster.owner(slot_of(channel))
        await until(partial(_heard, owner, channel), "the subscription on the channel's master")
    await until(lambda: len(recorder.messages) == len(CHANNELS), "the messages")
    assert {channel for channel, _ in recorder.messages} == set(CHANNELS)


def _heard(owner: RedisServer, channel: bytes) -> bool:
    return bool(owner.ask("SPUBLISH", channel, channel) == 1)


async def test_scripts_and_messages_find_their_masters(
    cluster: RedisCluster, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(cluster.url)
    shard.subscribe(CHANNELS)
    await everywhere(cluster, recorder)
    assert len({cluster.owner(slot_of(channel)).port for channel in CHANNELS}) == 3
    recorder.messages.clear()
    await asyncio.gather(*(shard.run(PUBLISH, [channel], [b"x"], writes=True) for channel in CHANNELS))
    await until(lambda: len(recorder.messages) == len(CHANNELS), "the messages")
    incarnation, word = await shard.run(WHERE, [CHANNELS[0]], [], writes=False)
    assert incarnation.startswith(b"aof:")
    assert word == b"SPUBLISH"
    assert shard.stats()["servers"] == 3
    assert shard.stats()["connected"] == 1.0
    shard.unsubscribe(CHANNELS)
    await until(
        lambda: all(cluster.owner(slot_of(c)).ask("SPUBLISH", c, "x") == 0 for c in CHANNELS), "the end"
    )


async def test_slot_that_moves_takes_scripts_and_subscriptions_along(
    cluster: RedisCluster, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(cluster.url)
    shard.subscribe(CHANNELS)
    await everywhere(cluster, recorder)
    channel = CHANNELS[0]
    slot = slot_of(channel)
    keys = [channel + b"one", channel + b"two"]
    source = cluster.owner(slot)
    target = next(cluster.owner(slot_of(each)) for each in CHANNELS if cluster.owner(slot_of(each)) != source)
    assert await shard.run(BOTH, keys, [], writes=True) == [1, 1]
    recorder.events.clear()

    cluster.begin_move(slot, source, target)
    assert await shard.run(BOTH, keys, [], writes=True) == [2, 2], "the keys are still at the source"
    assert await shard.run(COUNT, [channel + b"new"], [], writes=True) == 1, "a new key: ASK"
    source.ask("MIGRATE", HOST, target.port, keys[0], 0, 5000)
    with pytest.raises(BrokerUnavailableError, match="TRYAGAIN"):
        await shard.run(BOTH, keys, [], writes=True)
    waiting = asyncio.ensure_future(shard.run(BOTH, keys, [], writes=True))
    await asyncio.sleep(0.05)
    cluster.move_keys(slot, source, target)
    assert await waiting == [3, 3], "TRYAGAIN, until the keys were together again"
    assert recorder.events == []
    cluster.end_move(slot, source, target)

    assert await shard.run(BOTH, keys, [], writes=True) == [4, 4], "MOVED"
    await until(lambda: len(recorder.events) >= 2, "the subscription to move")
    assert recorder.events == [("interrupted", channel), ("subscribed", channel)]
    await everywhere(cluster, recorder)


async def test_slot_that_moves_to_a_server_nobody_knew(
    tmp_path: Path, cluster: RedisCluster, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(cluster.url)
    shard.subscribe(CHANNELS)
    await everywhere(cluster, recorder)
    channel = CHANNELS[1]
    assert await shard.run(COUNT, [channel + b"far"], [], writes=True) == 1
    target = cluster.add_master()
    before = cluster.owner(slot_of(channel))
    cluster.move(slot_of(channel), target)
    assert await shard.run(COUNT, [channel + b"far"], [], writes=True) == 2
    await everywhere(cluster, recorder)
    assert shard.stats()["servers"] == 4
    cluster.move(slot_of(channel), before)
    assert await shard.run(COUNT, [channel + b"far"], [], writes=True) == 3
    await everywhere(cluster, recorder)


async def test_master_that_is_killed_is_replaced(cluster: RedisCluster, start_shard: StartShard) -> None:
    shard, recorder = await start_shard(cluster.url)
    shard.subscribe(CHANNELS)
    await everywhere(cluster, recorder)
    channel = CHANNELS[2]
    master = cluster.owner(slot_of(channel))
    hit = {each for each in CHANNELS if cluster.owner(slot_of(each)) is master}
    incarnation, _ = await shard.run(WHERE, [channel], [], writes=False)
    recorder.events.clear()
    master.kill()
    assert (await run_until_done(shard, WHERE, channel))[0] != incarnation
    await until(lambda: recorder.subscribed == set(CHANNELS), "the subscriptions")
    assert {each for what, each in recorder.events if what == "interrupted"} == hit
    await until(lambda: shard.connected, "all masters")
    await everywhere(cluster, recorder)
    master.start()


async def test_server_that_is_no_member_is_refused(tmp_path: Path, cluster: RedisCluster) -> None:
    with RedisServer(tmp_path) as lonely:
        with pytest.raises(BrokerUnavailableError, match="cluster support disabled"):
            await shard_of(lonely.url.replace("redis:", "redis+cluster:")).start(Recorder())
        with pytest.raises(BrokerUnavailableError, match=r"write redis\+cluster://"):
            await shard_of(cluster.running[0].url).start(Recorder())
        lonely.kill()
        with pytest.raises(BrokerUnavailableError, match="Connection refused"):
            await shard_of(lonely.url.replace("redis:", "redis+cluster:")).start(Recorder())


async def test_cluster_without_slots_is_refused(tmp_path: Path) -> None:
    with RedisServer(tmp_path, options=[("cluster-enabled", "yes")]) as empty:
        with pytest.raises(BrokerUnavailableError, match="its creation is not finished"):
            await shard_of(empty.url.replace("redis:", "redis+cluster:")).start(Recorder())
        empty.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
