"""From URLs to the shards that they mean.

It knows every topology, and no socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from .cluster import ClusterShard
from .dialing import Dialer
from .options import RedisOptions
from .sentinel import SentinelGuide, SentinelShard
from .shard import Shard
from .sharding import Sharding
from .single import Fixed, SingleShard
from .url import RedisUrl, parse_url


def make_shard(
    url: str | RedisUrl, options: RedisOptions, loop: asyncio.AbstractEventLoop, random: Random
) -> Shard:
    """Return the shard of a URL, not started.  Raises ConfigError."""
    parsed = parse_url(url) if isinstance(url, str) else url
    dialer = Dialer(loop, options, parsed.login, parsed.tls)
    if parsed.topology == "cluster":
        return ClusterShard(dialer, random, parsed.name, parsed.addresses)
    if parsed.topology == "sentinel":
        sentinels = Dialer(loop, options, parsed.sentinel_login, parsed.tls)
        guide = SentinelGuide(sentinels, parsed.addresses, parsed.master_name)
        return SentinelShard(dialer, random, parsed.name, guide)
    return SingleShard(dialer, random, parsed.name, Fixed(parsed.addresses[0]))


def make_sharding(
    urls: Sequence[str], options: RedisOptions, loop: asyncio.AbstractEventLoop, random: Random
) -> Sharding[Shard]:
    """Return the shards of several URLs, not started.  Raises ConfigError."""
    shards = [make_shard(url, options, loop, random) for url in urls]
    return Sharding([(shard.name, shard) for shard in shards])
