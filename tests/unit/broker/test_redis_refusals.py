"""What a real Redis refuses, and what is left of a channel then."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.broker.interface import ChannelOptions
from gateway.broker.redis.broker import BrokerOptions
from gateway.broker.redis.names import Names
from gateway.errors import BrokerUnavailableError
from gateway.message.publication import Position
from tests.support.redis_broker import make_broker
from tests.support.redis_servers import RedisServer
from tests.unit.broker.harness import KEPT, NOT_KEPT, RecordingRelay, message


@pytest.mark.parametrize("options", [KEPT, NOT_KEPT], ids=["kept", "not_kept"])
async def test_redis_without_memory_refuses_publications_and_keeps_what_it_has(
    tmp_path: Path, options: ChannelOptions
) -> None:
    with RedisServer(tmp_path) as server:
        broker = make_broker(BrokerOptions(), url=server.url)
        await broker.start(RecordingRelay())
        first = await broker.publish("c", message("m1"), options, key="k1")
        server.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(BrokerUnavailableError):
            await broker.publish("c", message("m2"), options, key="k2")
        server.ask("CONFIG", "SET", "maxmemory", 0)
        assert await broker.publish("c", message("m2"), options, key="k2") == (first.epoch, 2, False)
        page = await broker.history("c", options, since=Position(first.epoch, 0), limit=9)
        assert page.complete is (options is KEPT)
        await broker.stop()


async def test_stream_that_was_left_behind_does_not_stand_in_the_way(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        broker = make_broker(BrokerOptions(), url=server.url)
        await broker.start(RecordingRelay())
        first = await broker.publish("c", message("m1"), KEPT)
        keys = Names("ringgate").channel("c")
        server.ask("XADD", keys.stream, "77-0", "d", "x", "c", 0)
        assert await broker.publish("c", message("m2"), KEPT) == (first.epoch, 2, False)
        page = await broker.history("c", KEPT, since=Position(first.epoch, 1), limit=9)
        assert ([p.id for p in page.publications], page.complete) == (["m2"], True)
        await broker.stop()
