"""`Shard.begin`: what `run` does, without a coroutine; and the end of a turn of the loop, when it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.broker.redis.options import RedisOptions
from gateway.broker.redis.replies import LostReplyError
from gateway.broker.redis.shard import Script, Shard
from gateway.broker.redis.turn import Turn
from gateway.errors import BrokerUnavailableError, OutcomeUnknownError
from tests.support.fake_redis import FakeRedis
from tests.support.redis_servers import RedisServer
from tests.support.redis_shards import COUNT, ECHO, shard_of, until
from tests.unit.broker.redis_transport.conftest import StartShard

WRONG = Script("wrong", "return redis.call('INCR', KEYS[1], 'x')")


async def begun(shard: Shard, script: Script, *args: bytes | int, writes: bool = True) -> Any:
    """What `take` is called with, once."""
    took: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    shard.begin(script, [b"k"], args, took.set_result, writes=writes)
    return await took


async def test_replies_come_in_order_also_after_the_script_was_forgotten(
    server: RedisServer, start_shard: StartShard
) -> None:
    shard, _ = await start_shard(server.url)
    assert await asyncio.gather(*(begun(shard, COUNT) for _ in range(5))) == [1, 2, 3, 4, 5]
    server.ask("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(begun(shard, COUNT) for _ in range(20))) == list(range(6, 26))
    assert await begun(shard, ECHO, b"\r\n") == b"\r\n"


async def test_errors_are_what_run_would_raise(server: RedisServer, start_shard: StartShard) -> None:
    not_started = shard_of(server.url)
    assert isinstance(await begun(not_started, ECHO, b"x"), BrokerUnavailableError)
    shard, _ = await start_shard(server.url)
    assert isinstance(await begun(shard, WRONG), OutcomeUnknownError)
    server.ask("CONFIG", "SET", "maxmemory", 1)
    refused = await begun(shard, COUNT)
    assert isinstance(refused, BrokerUnavailableError)
    assert "memory is full" in str(refused)
    server.ask("CONFIG", "SET", "maxmemory", 0)
    assert await begun(shard, COUNT) == 1


async def test_what_left_and_was_not_answered_is_unknown_for_writes_only(
    fake: FakeRedis, start_shard: StartShard
) -> None:
    shard, _ = await start_shard(fake.url, RedisOptions(max_commands=3))
    fake.answer = lambda command: None
    write = asyncio.ensure_future(begun(shard, ECHO, 1))
    read = asyncio.ensure_future(begun(shard, ECHO, 2, writes=False))
    await until(lambda: len(fake.named(b"EVALSHA")) == 2, "both to arrive")
    full = await begun(shard, ECHO, 3)
    assert isinstance(full, BrokerUnavailableError)
    assert "too many" in str(full)
    fake.cut()
    assert [type(problem) for problem in (await write, await read)] == [OutcomeUnknownError, LostReplyError]
    assert isinstance(await begun(shard, ECHO, 4), BrokerUnavailableError), "not connected"


async def test_turn_gathers_before_it_sends_and_both_in_one_callback() -> None:
    turn = Turn(asyncio.get_running_loop())
    done: list[str] = []

    def note(what: str, then: Callable[[], None] = lambda: None) -> Callable[[], None]:
        def work() -> None:
            done.append(what)
            then()

        return work

    turn.send(note("send"))
    turn.before_sending(note("gather", lambda: turn.send(note("send what was gathered"))))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["gather", "send", "send what was gathered"]
    turn.send(note("again"))
    await asyncio.sleep(0)
    assert done[3:] == ["again"]


async def test_turn_in_which_something_fails_does_the_rest_all_the_same() -> None:
    loop = asyncio.get_running_loop()
    turn, failed, done = Turn(loop), [], []
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))

    def fail() -> None:
        raise ValueError("mine")

    turn.before_sending(fail)
    turn.before_sending(lambda: done.append("gathered"))
    turn.send(fail)
    turn.send(lambda: done.append("sent"))
    for _ in range(4):
        await asyncio.sleep(0)
    assert ([str(problem) for problem in failed], done) == (["mine", "mine"], ["gathered", "sent"])
