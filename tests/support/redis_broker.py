"""Redis brokers on one real redis-server that all tests of a run share, each test under a prefix of its
own.
"""

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path
from random import Random

from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.deployment import make_sharding
from gateway.broker.redis.options import RedisOptions
from gateway.identifiers import RandomIds
from tests.support.redis_servers import RedisServer

_prefixes = count(1)


@cache
def shared_server() -> RedisServer:
    """Return the server of this run, started the first time."""
    folder = tempfile.TemporaryDirectory(prefix="ringgate-redis-")
    server = RedisServer(Path(folder.name))
    server.start()

    def end() -> None:
        server.kill()
        folder.cleanup()

    atexit.register(end)
    return server


def fresh_prefix() -> str:
    """Return a prefix that no other test of this run uses."""
    return f"test{next(_prefixes)}"


def make_broker(
    options: BrokerOptions,
    *,
    url: str = "",
    redis: RedisOptions | None = None,
    kind: type[RedisBroker] = RedisBroker,
) -> RedisBroker:
    """Return a broker on `url`, or on the shared server; not started."""
    loop = asyncio.get_running_loop()
    where, connections = url or shared_server().url, redis or RedisOptions()
    return kind(
        make_shards=lambda: make_sharding(where.split(), connections, loop, Random(1)),  # noqa: S311
        options=options,
        loop=loop,
        random_id=RandomIds(),
    )


def kept(prefix: str, server: RedisServer | None = None) -> dict[str, int]:
    """Count what Redis keeps under a prefix, in the terms of `Broker.stats`."""
    ask = (server or shared_server()).ask
    names: list[bytes] = sorted(ask("KEYS", f"{prefix}:*"))

    def ending(end: bytes) -> Iterable[bytes]:
        return [name for name in names if name.endswith(b"}" + end)]

    stats = dict.fromkeys(
        ("channels", "publications", "history_bytes", "state_bytes", "keys", "members", "sessions"), 0
    )
    stats["channels"] = len([*ending(b"m")])
    stats["state_bytes"] = sum(ask("HSTRLEN", meta, "s") for meta in ending(b"m"))
    for stream in ending(b"s"):
        stats["publications"] += sum(int(fields[5]) for _, fields in ask("XRANGE", stream, "-", "+"))
        oldest = ask("XRANGE", stream, "-", "+", "COUNT", 1)
        total = ask("HGET", stream[:-1] + b"m", "c")
        stats["history_bytes"] += int(total) - int(oldest[0][1][3]) if oldest else 0
    stats["keys"] = sum(b"}k:" in name for name in names)
    stats["members"] = sum(b" " in value for name in ending(b"p") for value in ask("HVALS", name))
    sessions = (name for name in names if name.startswith(f"{prefix}:s:".encode()))
    stats["sessions"] = sum(b" " in ask("GET", name) for name in sessions)
    return stats
