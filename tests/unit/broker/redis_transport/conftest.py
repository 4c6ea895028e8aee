"""Fixtures for shards: they are stopped when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.broker.redis.options import RedisOptions
from gateway.broker.redis.shard import Shard
from tests.support.fake_redis import FakeRedis, fake_redis
from tests.support.redis_servers import RedisServer
from tests.support.redis_shards import QUICK, Recorder, shard_of

StartShard = Callable[..., Awaitable[tuple[Shard, Recorder]]]


@pytest_asyncio.fixture
async def start_shard() -> AsyncIterator[StartShard]:
    """Start a shard of a URL; return it with its listener."""
    shards: list[Shard] = []

    async def start(url: str, options: RedisOptions = QUICK) -> tuple[Shard, Recorder]:
        shard = shard_of(url, options)
        shards.append(shard)
        recorder = Recorder()
        await shard.start(recorder)
        return shard, recorder

    yield start
    for shard in shards:
        await shard.stop()


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeRedis]:
    """A server that answers as the test says."""
    async with fake_redis() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A real server that keeps nothing."""
    with RedisServer(tmp_path) as running:
        yield running
