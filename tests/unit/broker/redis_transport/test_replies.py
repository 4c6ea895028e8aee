"""Error replies and nonsense, as whoever runs a script sees them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.broker.redis.options import RedisOptions
from gateway.errors import BrokerError, BrokerUnavailableError, OutcomeUnknownError
from tests.support.fake_redis import Command, FakeRedis
from tests.support.redis_shards import ECHO, QUICK, run_until_done, until
from tests.unit.broker.redis_transport.conftest import StartShard

NOTHING_HAPPENED = [
    "OOM command not allowed when used memory > 'maxmemory'.",
    "BUSY Redis is busy running a script.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down",
    "CLUSTERDOWN The cluster is down",
    "MISCONF Redis is configured to save RDB snapshots",
    "NOREPLICAS Not enough good replicas to write.",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions",
    "MOVED 1 127.0.0.1:1",
    "TRYAGAIN Multiple keys request during rehashing of slot",
]
USELESS = ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH")


@pytest.mark.parametrize("error", NOTHING_HAPPENED)
async def test_error_reply_before_anything_happened_is_unavailable(
    fake: FakeRedis, start_shard: StartShard, error: str
) -> None:
    shard, _ = await start_shard(fake.url)
    fake.answer = lambda command: (
        f"-{error}\r\n".encode() if command[0] == b"EVALSHA" else fake.agree(command)
    )
    with pytest.raises(BrokerUnavailableError) as caught:
        await shard.run(ECHO, [b"k"], [1], writes=True)
    assert error in str(caught.value)
    fake.answer = fake.agree
    assert shard.connected == (error.partition(" ")[0] not in USELESS)
    assert await run_until_done(shard, ECHO, b"k", 7) == b"7"


@pytest.mark.parametrize("error", ["ERR Error running script", "WRONGTYPE Operation against a key", "", "x"])
async def test_error_reply_of_a_script_that_ran_is_unknown_if_it_writes(
    fake: FakeRedis, start_shard: StartShard, error: str
) -> None:
    shard, _ = await start_shard(fake.url)
    fake.answer = lambda command: (
        f"-{error}\r\n".encode() if command[0] == b"EVALSHA" else fake.agree(command)
    )
    with pytest.raises(OutcomeUnknownError, match="the script failed"):
        await shard.run(ECHO, [b"k"], [1], writes=True)
    with pytest.raises(BrokerError, match="the script failed") as caught:
        await shard.run(ECHO, [b"k"], [1], writes=False)
    assert type(caught.value) is BrokerError
    assert shard.connected


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\n\r\n", b"$5\r\nabc", b"*2\r\n+a\r\n", None])
async def test_reply_that_does_not_come_whole_is_unknown_for_writes_and_unavailable_for_reads(
    fake: FakeRedis, start_shard: StartShard, reply: bytes | None
) -> None:
    shard, _ = await start_shard(fake.url)
    replies = [reply]

    def answer_once(command: Command) -> bytes | None:
        if command[0] == b"SCRIPT":
            return b"+OK\r\n"
        return replies.pop() if command[0] == b"EVALSHA" and replies else None

    fake.answer = answer_once
    write = shard.run(ECHO, [b"k"], [1], writes=True)
    read = shard.run(ECHO, [b"k"], [2], writes=False)
    problems = await asyncio.gather(write, read, return_exceptions=True)
    assert isinstance(problems[0], OutcomeUnknownError)
    assert isinstance(problems[1], BrokerUnavailableError)
    fake.answer = fake.agree
    assert await run_until_done(shard, ECHO, b"k", 7) == b"7"


async def test_script_is_loaded_once_ahead_of_its_first_use(fake: FakeRedis, start_shard: StartShard) -> None:
    shard, _ = await start_shard(fake.url)
    await asyncio.gather(*(shard.run(ECHO, [b"k"], [number], writes=True) for number in range(5)))
    await shard.run(ECHO, [b"k"], [5], writes=True)
    names = [command[0] for command in fake.commands if command[0] in (b"SCRIPT", b"EVALSHA", b"EVAL")]
    assert names == [b"SCRIPT"] + [b"EVALSHA"] * 6


async def test_script_that_the_server_forgot_goes_along_with_its_source(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    shard, _ = await start_shard(fake.url)
    await shard.run(ECHO, [b"k"], [0], writes=True)
    fake.answer = lambda command: (
        b"-NOSCRIPT No matching script.\r\n" if command[0] == b"EVALSHA" else fake.agree(command)
    )
    assert await asyncio.gather(*(shard.run(ECHO, [b"k"], [number], writes=True) for number in range(3))) == [
        b"0",
        b"1",
        b"2",
    ]
    assert [command[1] for command in fake.named(b"EVAL")] == [ECHO.source.encode()] * 3


async def test_queue_that_is_full_refuses_at_once(fake: FakeRedis, start_shard: StartShard) -> None:
    shard, _ = await start_shard(fake.url, RedisOptions(max_commands=20))
    fake.answer = lambda command: None
    runs = [asyncio.ensure_future(shard.run(ECHO, [b"k"], [n], writes=True)) for n in range(40)]
    done, pending = await asyncio.wait(runs, timeout=0.1)
    assert {type(task.exception()) for task in done} == {BrokerUnavailableError}
    assert len(pending) <= 20
    assert shard.stats()["in_flight"] == 20
    fake.cut()
    results = await asyncio.gather(*pending, return_exceptions=True)
    assert {type(result) for result in results} == {OutcomeUnknownError}


async def test_not_connected_refuses_at_once(fake: FakeRedis, start_shard: StartShard) -> None:
    shard, _ = await start_shard(fake.url)
    fake.run_id = b""  # nobody will believe that it is a Redis
    fake.cut()
    await until(lambda: not shard.connected and not shard.stats()["in_flight"], "the cut to be noticed")
    with pytest.raises(BrokerUnavailableError, match="not connected"):
        await shard.run(ECHO, [b"k"], [1], writes=True)
    await asyncio.sleep(3 * QUICK.backoff_most_s)
    assert not shard.connected
    fake.run_id = b"2" * 40
    await until(lambda: shard.connected, "the next connection")


async def test_stop_lets_what_was_sent_be_answered(fake: FakeRedis, start_shard: StartShard) -> None:
    shard, _ = await start_shard(fake.url)
    fake.answer = lambda command: None if command[0] == b"EVALSHA" else fake.agree(command)
    run = asyncio.ensure_future(shard.run(ECHO, [b"k"], [1], writes=True))
    await until(lambda: fake.named(b"EVALSHA"), "the command")
    fake.answer = lambda command: b"+done\r\n" + b"+PONG\r\n"
    await shard.stop()
    assert await run == b"done"
    assert not shard.connected
    await shard.stop()
    with pytest.raises(BrokerUnavailableError):
        await shard.run(ECHO, [b"k"], [1], writes=True)
