"""Faults of Redis, of nodes, and of what is between them: a network that drops, refuses, stalls or lies.

Each is a function of a run against a `RedisSite` that breaks something, holds it, and mends it.  What always
holds: when it returns, nothing is broken any more by its doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from tests.support.redis_servers import RedisError, RedisServer

from .client import ChaosClient
from .proxy import BOTH, Direction, FaultProxy
from .publisher import Publisher
from .records import Acknowledged, Kind
from .redis_site import RedisSite
from .scenario import FaultFunction, Run, until
from .site import HISTORY

FLOOD: Final = "long:flood"
FLOOD_MESSAGES: Final = 800
CUT_OFF: Final = "for overcoming of output buffer limits"


def _site(run: Run) -> RedisSite:
    assert isinstance(run.site, RedisSite)
    return run.site


async def _ask(server: RedisServer, *command: str | int | bytes) -> object:
    return await asyncio.to_thread(server.ask, *command)


# -- nodes ------------------------------------------------------------------------------------


async def node_killed(run: Run) -> None:
    """A node is gone without a word, and comes back later."""
    site = _site(run)
    number = run.dice.randrange(len(site.gateways))
    run.note(f"SIGKILL to node {number}")
    old = site.gateways[number]
    old.popen.kill()
    await asyncio.to_thread(old.popen.wait)
    await run.hold(2.0)
    await site.restart(number)


async def _node_stopped(run: Run, seconds: float) -> None:
    site = _site(run)
    pid = run.dice.choice(site.gateways).pid
    run.note(f"SIGSTOP to node {pid}")
    os.kill(pid, signal.SIGSTOP)
    try:
        await run.hold(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def node_stopped_1s(run: Run) -> None:
    """A node does nothing for a second."""
    await _node_stopped(run, 1.0)


async def node_stopped_15s(run: Run) -> None:
    """A node does nothing for longer than its lease."""
    await _node_stopped(run, 15.0)


async def node_stopped_60s(run: Run) -> None:
    """A node does nothing for so long that everybody has forgotten it."""
    await _node_stopped(run, 60.0)


async def nodes_rolling(run: Run) -> None:
    """One node after the other ends and comes back."""
    for number in range(len(_site(run).gateways)):
        run.note(f"node {number} is restarted")
        await _site(run).restart(number)
        await run.hold(0.5)


# -- Redis itself -------------------------------------------------------------------------------


async def redis_restarted(run: Run) -> None:
    """Redis is killed and comes back with what is on its disk: all, with an append-only file, or nothing."""
    server = _site(run).redis
    run.note("SIGKILL to Redis")
    await asyncio.to_thread(server.kill)
    await run.hold(1.5)
    await asyncio.to_thread(server.start)
    await run.hold(1.0)


async def redis_stopped(run: Run) -> None:
    """Redis answers nothing for some seconds."""
    run.note("SIGSTOP to Redis")
    _site(run).redis.pause()
    try:
        await run.hold(4.0)
    finally:
        _site(run).redis.resume()


async def flushall(run: Run) -> None:
    """Somebody empties Redis."""
    run.note("FLUSHALL")
    await _ask(_site(run).redis, "FLUSHALL")
    await run.hold(1.0)


async def trimmed(run: Run) -> None:
    """Somebody cuts the history of every channel, while half of the clients are away."""
    server = _site(run).redis
    for proxy in run.site.client_proxies:
        proxy.refusing = True
        proxy.cut()
    await run.hold(1.0)
    run.note("every stream is trimmed to nothing")
    streams = await _ask(server, "KEYS", "*}s")
    assert isinstance(streams, list)
    for stream in streams:
        await _ask(server, "XTRIM", stream, "MAXLEN", 0)
    for proxy in run.site.client_proxies:
        proxy.heal()
    await run.hold(1.0)


async def promoted(run: Run) -> None:
    """A replica that lacks the last second of everything becomes the master."""
    site = _site(run)
    replica = await site.start_replica()
    await run.hold(0.5)
    run.note("the replica hears nothing any more")
    await _ask(replica, "REPLICAOF", "NO", "ONE")
    await run.hold(1.0)
    run.note("the replica is the master")
    await asyncio.to_thread(site.redis.kill)
    for proxy in site.redis_proxies:
        proxy.target = replica.address
        proxy.cut()
    site.redis = replica
    await run.hold(1.5)


# -- the network --------------------------------------------------------------------------------


def _some(run: Run) -> list[FaultProxy]:
    """The proxies of one node or of all."""
    proxies = _site(run).redis_proxies
    return proxies if run.dice.random() < 0.4 else [run.dice.choice(proxies)]


def stalled(seconds: float, directions: Sequence[Direction] = BOTH) -> FaultFunction:
    """Return a fault: packets between nodes and Redis are dropped in these directions."""

    async def fault(run: Run) -> None:
        proxies = _some(run)
        run.note(f"{len(proxies)} nodes: {'/'.join(directions)} is dropped for {seconds:g} s")
        for proxy in proxies:
            proxy.stall(directions)
        await run.hold(seconds)
        for proxy in proxies:
            proxy.heal()

    return fault


def refused(seconds: float) -> FaultFunction:
    """Return a fault: nodes are cut off from Redis, and refused."""

    async def fault(run: Run) -> None:
        proxies = _some(run)
        run.note(f"{len(proxies)} nodes are refused for {seconds:g} s")
        for proxy in proxies:
            proxy.refusing = True
            proxy.cut()
        await run.hold(seconds)
        for proxy in proxies:
            proxy.heal()

    return fault


async def flapping(run: Run) -> None:
    """The way to Redis breaks again and again, in every manner."""
    for _ in range(8):
        fault = run.dice.choice([refused(0.3), stalled(0.4), stalled(0.4, ["up"]), stalled(0.4, ["down"])])
        await fault(run)
        await run.hold(run.dice.uniform(0.05, 0.5))


async def slow(run: Run) -> None:
    """Redis is far away."""
    run.note("Redis is 100 ms away")
    for proxy in _site(run).redis_proxies:
        proxy.delay_s = 0.05
    await run.hold(4.0)
    for proxy in _site(run).redis_proxies:
        proxy.heal()


async def sliced(run: Run) -> None:
    """What Redis says comes in small pieces."""
    run.note("pieces of 7 bytes")
    for proxy in _site(run).redis_proxies:
        proxy.slice_bytes = 7
    await run.hold(3.0)
    for proxy in _site(run).redis_proxies:
        proxy.heal()


async def torn(run: Run) -> None:
    """Connections to Redis are reset in the middle of a reply, or of a command."""
    for _ in range(4):
        run.note("connections to Redis are reset in mid-reply")
        for proxy in _some(run):
            proxy.tear(run.dice.choice(BOTH), 2)
        await run.hold(0.5)
    for proxy in _site(run).redis_proxies:
        proxy.heal()


async def buffer_limit(run: Run) -> None:
    """A node reads too slowly, and Redis cuts off its pub/sub connection for a full buffer.

    Clients of a channel with a history, one on each node, get all of it nevertheless.
    """
    site = _site(run)
    begun, stalled = len(run.crowd), run.dice.randrange(len(site.gateways))
    run.logs.run.append(Kind(at=time.monotonic(), channel=FLOOD, history=HISTORY["long"]))
    clients = [ChaosClient(f"f{begun + n}", run.choose(n, proxied=False), {FLOOD}) for n in range(3)]
    run.crowd += clients
    for client in clients:
        client.start()
    await until(lambda: all(client.settled for client in clients), "the clients of the flood are there")
    publisher = Publisher(f"flood{begun}", [site.apis[stalled - 1]], [FLOOD], seed=begun, padding=30_000)
    run.publishers.append(publisher)
    await _ask(site.redis, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 0 0")
    cut_off = site.redis.log.count(CUT_OFF)
    run.note(f"node {stalled} does not read, and a lot is published")
    site.redis_proxies[stalled].stall(["down"])
    for _ in range(FLOOD_MESSAGES):
        await publisher.publish(FLOOD)
        if site.redis.log.count(CUT_OFF) > cut_off:
            break
    else:
        raise AssertionError("Redis bore it all: make the flood larger")
    site.redis_proxies[stalled].heal()
    await _ask(site.redis, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
    run.note("it was cut off, and reads again")
    await publisher.publish(FLOOD)
    answer = publisher.log[-1]
    assert isinstance(answer, Acknowledged)
    there = (answer.epoch, answer.offset)
    await until(lambda: all(c.positions.get(FLOOD) == there for c in clients), "all of the flood is there")


# -- errors ---------------------------------------------------------------------------------------


async def out_of_memory(run: Run) -> None:
    """Redis refuses writes: OOM."""
    server = _site(run).redis
    run.note("OOM")
    await _ask(server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await _ask(server, "CONFIG", "SET", "maxmemory", 1)
    await run.hold(3.0)
    await _ask(server, "CONFIG", "SET", "maxmemory", 0)


async def busy(run: Run) -> None:
    """A script of somebody else runs for seconds: BUSY."""
    server = _site(run).redis
    await _ask(server, "CONFIG", "SET", "lua-time-limit", 50)
    run.note("BUSY")
    script = asyncio.create_task(_ask(server, "EVAL", "while true do end", 0))
    await run.hold(2.5)
    with contextlib.suppress(RedisError):
        await _ask(server, "SCRIPT", "KILL")
    with contextlib.suppress(RedisError):
        await script


async def read_only(run: Run) -> None:
    """The master is made a replica of nobody that answers: READONLY; and a master again."""
    server = _site(run).redis
    run.note("READONLY")
    await _ask(server, "REPLICAOF", "127.0.0.1", 1)
    await run.hold(2.5)
    await _ask(server, "REPLICAOF", "NO", "ONE")


def babbling(answer: bytes) -> FaultFunction:
    """Return a fault: whatever is asked of Redis is answered so, and not done."""

    async def fault(run: Run) -> None:
        proxies = _some(run)
        for proxy in proxies:
            proxy.stall(["up"])
        await asyncio.sleep(0.3)  # what was asked before was done, and Redis itself answers it
        run.note(f"Redis says {answer[:30]!r}")
        for proxy in proxies:
            proxy.heal()
            proxy.babble = answer
        await run.hold(2.5)
        for proxy in proxies:
            proxy.heal()
            proxy.cut()

    return fault
