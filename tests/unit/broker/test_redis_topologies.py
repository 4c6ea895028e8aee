"""The Redis broker where Redis is more than one server: a Cluster, and several independent ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.broker.interface import Control, ControlKind, State
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.slots import slot_of
from gateway.errors import BrokerUnavailableError, OutcomeUnknownError, StaleVersionError
from gateway.message.publication import Member, Position
from tests.support.redis_broker import make_broker
from tests.support.redis_servers import RedisServer
from tests.support.redis_sets import RedisCluster
from tests.unit.broker.harness import KEPT, STATE, RecordingRelay, message, patch

CHANNELS = [f"c{n}" for n in range(12)]


class Pair:
    """Two brokers, and the relay of the second."""

    def __init__(self, url: str) -> None:
        self.first, self.second = (make_broker(BrokerOptions(), url=url) for _ in range(2))
        self.relay = RecordingRelay()

    async def start(self) -> None:
        await self.first.start(RecordingRelay())
        await self.second.start(self.relay)

    async def stop(self) -> None:
        await self.first.stop()
        await self.second.stop()


@pytest.fixture(params=["cluster", "two_servers"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    if request.param == "cluster":
        with RedisCluster(tmp_path, replicas=False) as cluster:
            async for started in _started(cluster.url):
                yield started
    else:
        with RedisServer(tmp_path) as one, RedisServer(tmp_path) as other:
            async for started in _started(f"{one.url} {other.url}"):
                yield started


async def _started(url: str) -> AsyncIterator[Pair]:
    pair = Pair(url)
    await pair.start()
    yield pair
    await pair.stop()


async def until_heard(relay: RecordingRelay, count: int) -> None:
    async with asyncio.timeout(10):
        while len(relay.publications) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_channels_work_wherever_they_are(pair: Pair) -> None:
    epochs = {name: (await pair.second.subscribe(name, KEPT)).epoch for name in CHANNELS}
    for name in CHANNELS:
        publishes = (pair.first.publish(name, message(f"m{n}"), KEPT, key=f"k{n}") for n in range(3))
        await asyncio.gather(*publishes)
        assert (await pair.first.publish(name, message("m1"), KEPT, key="k1")).duplicate
    await until_heard(pair.relay, 3 * len(CHANNELS))
    for name in CHANNELS:
        assert pair.relay.offsets(name) == [1, 2, 3]
        page = await pair.first.history(name, KEPT, since=Position(epochs[name], 1), limit=10)
        assert ([p.offset for p in page.publications], page.complete) == ([2, 3], True)


async def test_states_are_where_their_channels_are(pair: Pair) -> None:
    for name in CHANNELS:
        epoch = (await pair.second.subscribe(name, STATE)).epoch
        assert (
            await pair.first.update(name, patch('{"a":1}'), STATE, base=Position(epoch, 0), key="k")
        ).offset == 1
        assert (await pair.second.update(name, patch('{"b":2}'), STATE, base=Position(epoch, 1))).offset == 2
        assert (
            await pair.second.update(name, patch('{"a":1}'), STATE, base=Position(epoch, 0), key="k")
        ).duplicate
        with pytest.raises(StaleVersionError) as stale:
            await pair.first.update(name, patch('{"c":3}'), STATE, base=Position(epoch, 1))
        assert stale.value.data == b'{"a":1,"b":2}'
        assert await pair.first.state(name, STATE) == State(epoch, 2, b'{"a":1,"b":2}')
    await until_heard(pair.relay, 2 * len(CHANNELS))
    assert all(pair.relay.offsets(name) == [1, 2] for name in CHANNELS)


async def test_presence_sessions_control_and_probe_work(pair: Pair) -> None:
    for name in CHANNELS:
        await pair.first.join(name, Member(client=f"of {name}"), KEPT)
    for name in CHANNELS:
        assert [m.client for m in await pair.second.presence(name, KEPT)] == [f"of {name}"]
        await pair.first.save_session(name, name.encode(), 10.0)
        assert await pair.second.take_session(name) == name.encode()
    pair.relay.reached = 2
    assert await pair.first.control(Control(kind=ControlKind.DISCONNECT, user="u")) == 2
    assert await pair.second.probe() > 0
    await pair.first.stop()
    assert [await pair.second.presence(name, KEPT) for name in CHANNELS] == [[] for _ in CHANNELS]


async def test_server_that_is_down_takes_only_its_own_channels_along(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as one, RedisServer(tmp_path) as other:
        async for pair in _started(f"{one.url} {other.url}"):
            other.kill()
            worked = [await published(pair.first, name) for name in CHANNELS]
            assert 0 < sum(worked) < len(CHANNELS)
            await look_for_the_dead(pair, str(other.port))
            one.kill()
            with pytest.raises(BrokerUnavailableError):
                await pair.first.probe()


async def test_master_that_is_down_shows_and_takes_only_its_own_channels_along(tmp_path: Path) -> None:
    options = [("cluster-require-full-coverage", "no")]
    with RedisCluster(tmp_path, replicas=False, options=options) as cluster:
        async for pair in _started(cluster.url):
            assert await pair.first.probe() > 0
            assert pair.first.unreachable == []
            dead = cluster.servers[1]
            alive = next(
                name for name in CHANNELS if cluster.owner(slot_of(b"{=%b}" % name.encode())) is not dead
            )
            dead.kill()
            await look_for_the_dead(pair, str(dead.port))
            assert (await pair.first.subscribe(alive, KEPT)).offset == 0


async def look_for_the_dead(pair: Pair, port: str) -> None:
    async with asyncio.timeout(15):
        while not await pair.first.probe() or len(pair.first.unreachable) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert port in pair.first.unreachable[0]
    assert {name: value for _, name, value in pair.first.samples() if value}["servers_unreachable"] == 1
    assert pair.first.healthy


async def published(broker: RedisBroker, channel: str) -> bool:
    try:
        await broker.publish(channel, message(), KEPT)
    except (BrokerUnavailableError, OutcomeUnknownError):  # the latter where it left before the end was seen
        return False
    return True
