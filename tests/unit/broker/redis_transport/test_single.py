"""A shard that is one real server, and what happens to such servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.broker.redis.shard import Script
from gateway.errors import BrokerError, BrokerUnavailableError, OutcomeUnknownError
from tests.support.redis_servers import RedisServer, free_port
from tests.support.redis_shards import COUNT, ECHO, PUBLISH, WHERE, run_until_done, until
from tests.unit.broker.redis_transport.conftest import StartShard


async def test_scripts_and_messages_get_through(server: RedisServer, start_shard: StartShard) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room", b"hall"])
    await until(lambda: recorder.subscribed == {b"room", b"hall"}, "the subscriptions")
    for number in range(3):
        assert await shard.run(PUBLISH, [b"room"], [number], writes=True) == 1
    assert await shard.run(PUBLISH, [b"attic"], [b"x"], writes=True) == 0
    assert await shard.run(ECHO, [b"k"], [b"\x00\xff\r\n"], writes=False) == b"\x00\xff\r\n"
    assert await shard.run(Script("none", "return false"), [], [], writes=False) is None
    await until(lambda: len(recorder.messages) == 3, "the messages")
    assert recorder.messages == [(b"room", b"%d" % number) for number in range(3)]
    shard.unsubscribe([b"room"])
    await until(lambda: server.ask("PUBLISH", "room", "x") == 0, "the end of the subscription")
    assert await shard.run(WHERE, [b"k"], [], writes=False) == [
        server.ask("INFO", "server").split(b"run_id:")[1][:40],
        b"PUBLISH",
    ]


async def test_stats_count(server: RedisServer, start_shard: StartShard) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    await shard.run(PUBLISH, [b"room"], [1], writes=True)
    await until(lambda: recorder.messages, "the message")
    await until(lambda: shard.stats()["round_trip_s"] > 0, "a heartbeat")
    stats = shard.stats()
    assert (stats["connected"], stats["servers"], stats["reconnects"]) == (1.0, 1, 0)
    assert (stats["subscriptions"], stats["unconfirmed"], stats["messages"]) == (1, 0, 1)
    assert stats["queued_bytes"] == 0


async def test_two_connections_and_no_more(server: RedisServer, start_shard: StartShard) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    assert len(server.clients(pubsub=False, name="ringgate")) == 1
    assert len(server.clients(pubsub=True, name="ringgate")) == 1
    await shard.stop()
    await until(
        lambda: server.clients(pubsub=False, name="ringgate") == [] == server.clients(pubsub=True), "the end"
    )


async def test_kill_and_restart_without_data(server: RedisServer, start_shard: StartShard) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    incarnation, _ = await shard.run(WHERE, [b"k"], [], writes=False)
    server.kill()
    await until(lambda: not shard.connected, "the loss to be noticed")
    assert recorder.events == [("subscribed", b"room"), ("interrupted", b"room")]
    with pytest.raises(BrokerUnavailableError):
        await shard.run(COUNT, [b"k"], [], writes=True)
    server.start()
    await until(lambda: recorder.subscribed, "the subscription anew")
    assert recorder.events[2:] == [("subscribed", b"room")]
    assert await run_until_done(shard, ECHO, b"k", 1) == b"1"
    assert (await shard.run(WHERE, [b"k"], [], writes=False))[0] != incarnation
    server.ask("PUBLISH", "room", "after")
    await until(lambda: recorder.messages == [(b"room", b"after")], "the message")


async def test_kill_and_restart_with_append_only_file_keeps_the_incarnation_and_tells_of_the_run(
    tmp_path: Path, start_shard: StartShard
) -> None:
    with RedisServer(tmp_path, aof=True) as server:
        shard, _ = await start_shard(server.url)
        assert await shard.run(COUNT, [b"k"], [], writes=True) == 1
        (before, word) = await shard.run(WHERE, [b"k"], [], writes=False)
        assert before.split(b" ")[0] == b"aof"
        assert word == b"PUBLISH"
        server.restart()
        (after, _) = await run_until_done(shard, WHERE, b"k")
        assert after.split(b" ")[0] == b"aof"
        assert after != before
        assert await shard.run(COUNT, [b"k"], [], writes=True) == 2


async def test_append_only_file_that_is_switched_off_is_noticed_while_connected(
    tmp_path: Path, start_shard: StartShard
) -> None:
    with RedisServer(tmp_path, aof=True) as server:
        shard, _ = await start_shard(server.url)
        server.ask("CONFIG", "SET", "appendonly", "no")
        async with asyncio.timeout(15):
            while (await shard.run(WHERE, [b"k"], [], writes=False))[0].startswith(b"aof"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert shard.stats()["reconnects"] == 0


async def test_server_that_is_stopped_misses_deadlines_and_comes_back(
    server: RedisServer, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    server.pause()
    try:
        write = asyncio.ensure_future(shard.run(COUNT, [b"k"], [], writes=True))
        read = asyncio.ensure_future(shard.run(ECHO, [b"k"], [1], writes=False))
        with pytest.raises(OutcomeUnknownError, match="no reply within"):
            await write
        with pytest.raises(BrokerUnavailableError, match="no reply within"):
            await read
        await until(lambda: not recorder.subscribed, "the relay's silence to be noticed")
        with pytest.raises(BrokerUnavailableError, match="not connected"):
            await shard.run(COUNT, [b"k"], [], writes=True)
    finally:
        server.resume()
    await until(lambda: shard.connected and recorder.subscribed, "all to be well again")
    assert await shard.run(COUNT, [b"k"], [], writes=True) == 2, "the unknown one had happened"


async def test_commands_connection_killed_leaves_subscriptions_alone(
    server: RedisServer, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    (client,) = server.clients(pubsub=False, name="ringgate")
    server.ask("CLIENT", "KILL", "ID", client)
    await until(lambda: shard.stats()["reconnects"] == 1 and shard.connected, "the next connection")
    assert await shard.run(ECHO, [b"k"], [1], writes=False) == b"1"
    assert recorder.events == [("subscribed", b"room")]


async def test_pubsub_connection_killed_is_reported_and_mended(
    server: RedisServer, start_shard: StartShard
) -> None:
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room", b"hall"])
    await until(lambda: len(recorder.subscribed) == 2, "the subscriptions")
    recorder.events.clear()
    (client,) = server.clients(pubsub=True)
    server.ask("CLIENT", "KILL", "ID", client)
    assert await shard.run(ECHO, [b"k"], [1], writes=False) == b"1"
    await until(lambda: len(recorder.events) == 4, "the subscriptions anew")
    assert recorder.events == [
        (what, channel) for what in ("interrupted", "subscribed") for channel in (b"room", b"hall")
    ]


async def test_pubsub_cut_off_by_its_buffer_limit_is_reported_and_mended(
    server: RedisServer, start_shard: StartShard
) -> None:
    server.ask("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    shard, recorder = await start_shard(server.url)
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    flood = "for i = 1, 30 do redis.call('PUBLISH', 'room', string.rep('x', 1000000)) end"
    server.ask("EVAL", flood, 0)
    await until(lambda: ("interrupted", b"room") in recorder.events, "the cut-off")
    await until(lambda: recorder.subscribed, "the subscription anew")
    assert len(recorder.messages) < 30
    server.ask("PUBLISH", "room", "after")
    await until(lambda: recorder.messages and recorder.messages[-1] == (b"room", b"after"), "the message")


async def test_scripts_flushed_are_loaded_again(server: RedisServer, start_shard: StartShard) -> None:
    shard, _ = await start_shard(server.url)
    assert await shard.run(COUNT, [b"k"], [], writes=True) == 1
    server.ask("SCRIPT", "FLUSH")
    runs = (shard.run(COUNT, [b"k"], [], writes=True) for _ in range(20))
    assert await asyncio.gather(*runs) == list(range(2, 22)), "each ran once, and in order"


async def test_memory_full_is_unavailable_and_nothing_happened(
    server: RedisServer, start_shard: StartShard
) -> None:
    shard, _ = await start_shard(server.url)
    assert await shard.run(COUNT, [b"k"], [], writes=True) == 1
    server.ask("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(BrokerUnavailableError, match="memory is full"):
        await shard.run(COUNT, [b"k"], [], writes=True)
    server.ask("CONFIG", "SET", "maxmemory", 0)
    assert await shard.run(COUNT, [b"k"], [], writes=True) == 2


async def test_busy_script_of_somebody_else_is_unavailable(tmp_path: Path, start_shard: StartShard) -> None:
    with RedisServer(tmp_path, options=[("busy-reply-threshold", "50")]) as server:
        shard, _ = await start_shard(server.url)
        loop = asyncio.get_running_loop()

        def run_for_ever() -> None:
            with pytest.raises(Exception, match="killed"):
                server.ask("EVAL", "while true do end", 0, within_s=20)

        busy = loop.run_in_executor(None, run_for_ever)

        async def run_until_it_fails() -> None:
            while await shard.run(ECHO, [b"k"], [1], writes=True):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

        with pytest.raises(BrokerUnavailableError, match="busy with a script"):
            await asyncio.wait_for(run_until_it_fails(), 15)
        await asyncio.sleep(0.6)
        assert shard.connected, "a busy server is no dead one"
        await loop.run_in_executor(None, lambda: server.ask("SCRIPT", "KILL"))
        await busy
        assert await run_until_done(shard, ECHO, b"k", 1) == b"1"


async def test_master_that_becomes_a_replica_is_left(tmp_path: Path, start_shard: StartShard) -> None:
    with RedisServer(tmp_path) as server:
        shard, recorder = await start_shard(server.url)
        shard.subscribe([b"room"])
        await until(lambda: recorder.subscribed, "the subscription")
        server.ask("REPLICAOF", "127.0.0.1", free_port())
        await until(lambda: not shard.connected, "the change to be noticed, without a command")
        server.ask("REPLICAOF", "NO", "ONE")
        await until(lambda: shard.connected, "the master to be used again")
        await until(lambda: recorder.subscribed, "the subscription anew")


async def test_script_that_fails_is_unknown_for_writes(server: RedisServer, start_shard: StartShard) -> None:
    shard, _ = await start_shard(server.url)
    broken = Script("broken", "redis.call('SET', KEYS[1], 'x') return redis.call('LPUSH', KEYS[1], 'y')")
    with pytest.raises(OutcomeUnknownError, match="WRONGTYPE"):
        await shard.run(broken, [b"k"], [], writes=True)
    with pytest.raises(BrokerError, match="the script failed"):
        await shard.run(Script("worse", "return nonsense()"), [b"k"], [], writes=False)
    assert server.ask("GET", "k") == b"x"
