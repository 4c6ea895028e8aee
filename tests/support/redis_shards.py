"""A listener that takes down what a shard reports, and scripts to try one with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from gateway.broker.redis.deployment import make_shard
from gateway.broker.redis.options import RedisOptions
from gateway.broker.redis.shard import Script, Shard
from gateway.errors import BrokerUnavailableError
from tests.support.redis_servers import RedisError

QUICK = RedisOptions(
    connect_timeout_s=2.0,
    command_timeout_s=0.6,
    heartbeat_s=0.4,
    backoff_first_s=0.02,
    backoff_most_s=0.2,
    topology_s=0.2,
)
"""Times for tests: what is dead is noticed within a second."""

ECHO = Script("echo", "return ARGV[3]")
WHERE = Script("where", "return {ARGV[1], ARGV[2]}")
PUBLISH = Script("publish", "return redis.call(ARGV[2], KEYS[1], ARGV[3])")
COUNT = Script("count", "return redis.call('INCR', KEYS[1])")


class Recorder:
    """A ShardListener.  `subscribed` are the channels that are confirmed now."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.batches: list[int] = []
        self.events: list[tuple[str, bytes]] = []
        self.subscribed: set[bytes] = set()

    def on_messages(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        self.messages += messages
        self.batches.append(len(messages))

    def on_subscribed(self, channels: Sequence[bytes]) -> None:
        self.events += [("subscribed", channel) for channel in channels]
        self.subscribed.update(channels)

    def on_interrupted(self, channels: Sequence[bytes]) -> None:
        self.events += [("interrupted", channel) for channel in channels]
        self.subscribed.difference_update(channels)


async def until(condition: Callable[[], object], what: str, within_s: float = 50.0) -> None:
    """Wait until something holds; OSError and RedisError mean that it does not yet."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                with suppress(OSError, RedisError):
                    if condition():
                        return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {within_s:g} s for {what}") from None


async def run_until_done(shard: Shard, script: Script, key: bytes, *args: bytes | int) -> Any:
    """Run a script again and again until it does not fail as unavailable; return its reply."""
    async with asyncio.timeout(50):
        while True:
            try:
                return await shard.run(script, [key], args, writes=False)
            except BrokerUnavailableError:
                await asyncio.sleep(0.02)


def shard_of(url: str, options: RedisOptions = QUICK, seed: int = 1) -> Shard:
    """The shard of a URL, in the running loop."""
    return make_shard(url, options, asyncio.get_running_loop(), Random(seed))  # noqa: S311
