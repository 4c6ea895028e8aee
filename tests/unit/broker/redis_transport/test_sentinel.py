"""A shard whose master Sentinels name: failovers, asked for and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import BrokerUnavailableError
from tests.support.redis_servers import HOST, free_port
from tests.support.redis_sets import SentinelSet
from tests.support.redis_shards import COUNT, WHERE, Recorder, run_until_done, shard_of, until
from tests.unit.broker.redis_transport.conftest import StartShard


def base_of(reply: list[bytes]) -> bytes:
    """The incarnation without the run of the server."""
    return reply[0].split(b" ")[0]


async def test_failovers(tmp_path: Path, start_shard: StartShard) -> None:
    """One set for all of it, since it takes seconds to start: restart, hand over, kill."""
    with SentinelSet(tmp_path, aof=True) as redis:
        shard, recorder = await start_shard(redis.url)
        shard.subscribe([b"room"])
        await until(lambda: recorder.subscribed, "the subscription")
        first = base_of(await shard.run(WHERE, [b"k"], [], writes=False))
        assert first.startswith(b"aof:")

        before = redis.master  # killed, and started again in time: nobody takes over, nothing is lost
        before.restart()
        assert base_of(await run_until_done(shard, WHERE, b"k")) == first

        redis.failover()  # while the old master lives
        await until(lambda: redis.master.clients(pubsub=True, name="ringgate"), "pub/sub on the new master")
        second = base_of(await run_until_done(shard, WHERE, b"k"))
        assert second != first, "another server took over, and may lack something"
        await until(lambda: recorder.subscribed and shard.connected, "the subscription anew")
        redis.follow()

        before = redis.master
        before.kill()
        await until(lambda: not shard.connected, "the loss to be noticed")
        with pytest.raises(BrokerUnavailableError):
            await shard.run(COUNT, [b"k"], [], writes=True)
        third = base_of(await run_until_done(shard, WHERE, b"k"))
        assert third not in (first, second)
        redis.wait_promoted(before)  # also for the Sentinel that the test asks
        await until(lambda: recorder.subscribed, "the subscription anew")
        redis.master.ask("PUBLISH", "room", "after")
        await until(lambda: recorder.messages[-1:] == [(b"room", b"after")], "the message")


async def test_sentinels_some_of_which_are_gone_or_stopped(tmp_path: Path, start_shard: StartShard) -> None:
    with SentinelSet(tmp_path) as redis:
        redis.sentinels[0].kill()
        redis.sentinels[1].pause()
        shard, _ = await start_shard(redis.url)
        assert await shard.run(COUNT, [b"k"], [], writes=True) == 1
        redis.sentinels[2].kill()
        assert await shard.run(COUNT, [b"k"], [], writes=True) == 2, "while nothing changes, nobody is missed"
        with pytest.raises(BrokerUnavailableError, match="Sentinel"):
            await shard_of(redis.url).start(Recorder())
        redis.sentinels[1].resume()
        with pytest.raises(BrokerUnavailableError, match="No such master"):
            await shard_of(redis.url.replace("mymaster", "yours")).start(Recorder())
        with pytest.raises(BrokerUnavailableError, match=r"as a Sentinel|unknown command"):
            await shard_of(f"redis+sentinel://{HOST}:{redis.servers[0].port}/m").start(Recorder())
        with pytest.raises(BrokerUnavailableError, match=r"write redis\+sentinel://"):
            await shard_of(f"redis://{HOST}:{redis.sentinels[1].port}").start(Recorder())
        with pytest.raises(BrokerUnavailableError, match="Connection refused"):
            await shard_of(f"redis+sentinel://{HOST}:{free_port()}/m").start(Recorder())
