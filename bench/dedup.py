"""Would a Bloom filter in front of the idempotency keys help?  `python -m bench.dedup`.

Compares, per key, what is asked now with what a filter would do: in memory a probe of the broker's dictionary
with one of `rbloom` (made for 0.1 % of false positives), and what entering a new key costs it besides; with
Redis, what looking a key up and entering it costs the server inside of a script, which bounds from above
what skipping the look-up could save.  Prints a table; docs/decisions/0004 says what follows from it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from gateway.broker import ChannelOptions
from gateway.broker.memory import MemoryBroker
from gateway.message.publication import Publication
from tests.support.redis_servers import RedisServer

KEYS: Final = 1_000_000
ASKED: Final = 200_000
FALSE_POSITIVES: Final = 0.001
ROUNDS: Final = 5
PUBLISHED: Final = 5_000
FEW: Final = 50


def least(work: Callable[[], object], count: int) -> float:
    """Return the least of some runs, in microseconds for each of `count`."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return 1e6 * min(taken) / count


def in_memory() -> list[tuple[str, float]]:
    """Measure a dictionary, and the filter if its package is there."""
    random = Random(7)  # noqa: S311
    keys = [f"{random.getrandbits(96):x}" for _ in range(KEYS)]
    new = [f"{random.getrandbits(96):x}" for _ in range(ASKED)]
    known = dict.fromkeys(keys, 0)

    def probe_dictionary() -> None:
        for key in new:
            key in known  # noqa: B015

    rows = [("dictionary: that a key is new", least(probe_dictionary, ASKED))]
    try:
        Bloom = importlib.import_module("rbloom").Bloom  # noqa: N806
    except ImportError:
        print("rbloom is not installed: make bench installs it", file=sys.stderr)
        return rows
    bloom: Any = Bloom(KEYS, FALSE_POSITIVES)
    bloom.update(keys)

    def probe_filter() -> None:
        for key in new:
            key in bloom  # noqa: B015

    def enter() -> None:
        fresh: Any = Bloom(KEYS, FALSE_POSITIVES)
        for key in new:
            fresh.add(key)

    rows += [
        ("filter: that a key is new", least(probe_filter, ASKED)),
        ("filter: to enter a new key besides", least(enter, ASKED)),
        ("filter: false positives, of a thousand", 1000 * sum(key in bloom for key in new) / ASKED),
        ("filter: bytes for each key", bloom.size_in_bits / 8 / KEYS),
    ]
    return rows


async def memory_broker() -> list[tuple[str, float]]:
    """Measure whole publications with the memory broker, without a key and with a new one."""
    broker = MemoryBroker(clock=time.monotonic, random_id=lambda: "epoch")
    options = ChannelOptions(history_size=0)

    async def run(keyed: bool) -> float:
        taken = []
        for turn in range(ROUNDS):
            begun = time.process_time()
            for n in range(PUBLISHED):
                key = f"{turn}-{n}" if keyed else ""
                await broker.publish("c", Publication(id="i", data=b"{}", time_ms=0), options, key=key)
            taken.append(time.process_time() - begun)
        return 1e6 * min(taken) / PUBLISHED

    class Nobody:
        def __getattr__(self, name: str) -> Callable[..., int]:
            return lambda *_: 0

    relay: Any = Nobody()
    await broker.start(relay)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(PUBLISHED):
        await broker.publish("m", Publication(id="i", data=b"{}", time_ms=0), options, key=f"m-{n}")
    weight = (tracemalloc.get_traced_memory()[0] - before) / PUBLISHED
    tracemalloc.stop()
    rows = [
        ("memory broker: a publication without a key", await run(keyed=False)),
        ("memory broker: with a new key", await run(keyed=True)),
        ("memory broker: bytes for each key", weight),
    ]
    await broker.stop()
    return rows


async def with_redis(server: RedisServer) -> list[tuple[str, float]]:
    """Measure what the server spends on a script that looks up a new key, enters it, or neither."""
    import redis.asyncio as redis

    client = redis.Redis.from_url(server.url)
    scripts = {
        "nothing": "return 1",
        "GET of a key that is new": "return redis.call('GET', KEYS[1])",
        "SET of it": "return redis.call('SET', KEYS[1], 'e:1', 'PX', 300000)",
        "GET and SET, as publish.lua does": (
            "redis.call('GET', KEYS[1]) return redis.call('SET', KEYS[1], 'e:1', 'PX', 300000)"
        ),
    }
    rows = []
    for name, script in scripts.items():
        call = client.register_script(script)
        best = float("inf")
        for turn in range(ROUNDS):
            before = await _cpu(client)
            for batch in range(PUBLISHED // FEW):
                async with client.pipeline(transaction=False) as pipeline:
                    for n in range(FEW):
                        await call(keys=[f"{name}:{turn}:{batch}:{n}"], client=pipeline)
                    await pipeline.execute()
            best = min(best, await _cpu(client) - before)
        rows.append((f"Redis, CPU of the server for a script: {name}", 1e6 * best / PUBLISHED))
    used = (await client.info("memory"))["used_memory"]
    for n in range(20_000 // FEW):
        async with client.pipeline(transaction=False) as pipeline:
            for k in range(FEW):
                pipeline.set(f"ringgate:k:chat:1:{n}-{k}-0123456789abcdef", "c592f021bcf156a5:17", px=300_000)
            await pipeline.execute()
    rows.append(("Redis: bytes for each key", ((await client.info("memory"))["used_memory"] - used) / 20_000))
    await client.aclose()
    return rows


async def _cpu(client: Any) -> float:
    info = await client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def main() -> int:
    """Measure, and print the table."""
    rows = [*in_memory(), *asyncio.run(memory_broker())]
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        rows += asyncio.run(with_redis(server))
    width = max(len(name) for name, _ in rows)
    for name, figure in rows:
        print(f"{name:{width}}  {figure:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
