"""From a URL to the shard that it means.

It knows every topology, and no socket.
"""

from __future__ import annotations

import asyncio
from random import Random

from .dialing import Dialer
from .options import RedisOptions
from .shard import Shard
from .single import SingleShard
from .url import RedisUrl, parse_url


def make_shard(url: str | RedisUrl, options: RedisOptions, loop: asyncio.AbstractEventLoop, random: Random) -> Shard:
    """Return the shard of a URL, not started.  Raises ConfigError."""
    parsed = parse_url(url) if isinstance(url, str) else url
    dialer = Dialer(loop, options, parsed.login, parsed.tls)
    return SingleShard(dialer, random, parsed.addresses[0])
