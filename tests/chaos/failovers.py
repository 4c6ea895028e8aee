"""Faults of Redis deployments that promote replicas by themselves: Sentinels, and a Cluster.

Replication is asynchronous: what a replica had not heard when its master died is lost, though it was
acknowledged.  Here a replica hears nothing for a while before.  What always holds: when a fault returns, the
server that was killed is back, and a replica in step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from tests.support.redis_servers import RedisError, RedisServer, wait_until
from tests.support.redis_sets import MASTER_NAME, SentinelSet

from .redis_site import ClusterSite, SentinelSite
from .scenario import Run, until

CHANNEL = "{=long:a}"


def _link_is(state: bytes, replica: RedisServer) -> bool:
    return b"master_link_status:" + state in replica.ask("INFO", "replication")


def _deafen(master: RedisServer, replica: RedisServer) -> None:
    """Let a replica hear nothing more: it cannot log in to its master any more, which it may not notice."""
    replica.ask("CONFIG", "SET", "masteruser", "nobody")
    replica.ask("CONFIG", "SET", "masterauth", "wrong")
    master.ask("CLIENT", "KILL", "TYPE", "replica")
    wait_until(partial(_link_is, b"down", replica), "the replica to hear nothing")


def _heal(promoted: RedisServer, old: RedisServer) -> None:
    """Bring the old master back, as a replica of the one that was promoted."""
    promoted.ask("CONFIG", "SET", "masteruser", "")
    promoted.ask("CONFIG", "SET", "masterauth", "")
    promoted.ask("CONFIG", "REWRITE")  # the Sentinels may have had the wrong ones written
    old.start()
    wait_until(lambda: old.ask("ROLE")[0] == b"slave", "the old master to follow", 30.0)
    wait_until(partial(_link_is, b"up", old), "the old master to be in step", 30.0)


async def _fail_over(
    run: Run, master: RedisServer, replica: RedisServer, wait: Callable[[], None], *, loses: bool
) -> None:
    if loses:
        run.note("a replica hears nothing any more")
        await asyncio.to_thread(_deafen, master, replica)
        await run.hold(1.0)
    run.note("SIGKILL to its master")
    await asyncio.to_thread(master.kill)
    await asyncio.to_thread(wait)
    run.note("the replica is the master")
    await run.hold(1.5)
    await asyncio.to_thread(_heal, replica, master)


async def _of_sentinels(run: Run, *, loses: bool) -> None:
    assert isinstance(run.site, SentinelSite)
    redis = run.site.redis
    master, replica = await asyncio.to_thread(lambda: (redis.master, redis.replica))
    await _fail_over(run, master, replica, lambda: redis.wait_promoted(master), loses=loses)
    await asyncio.to_thread(_wait_for_sentinels, redis)


def _wait_for_sentinels(redis: SentinelSet) -> None:
    """Wait until each Sentinel would promote the replica."""

    def good(sentinel: RedisServer) -> bool:
        (reply,) = sentinel.ask("SENTINEL", "REPLICAS", MASTER_NAME)
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        return bool(fields[b"flags"] == b"slave" and fields[b"master-link-status"] == b"ok")

    for sentinel in redis.sentinels:
        wait_until(partial(good, sentinel), "the Sentinels to see the replica", 30.0)


async def sentinel_promotes(run: Run) -> None:
    """The master dies; Sentinels promote its replica."""
    await _of_sentinels(run, loses=False)


async def sentinel_promotes_with_a_lost_tail(run: Run) -> None:
    """The same, and the replica lacks what was acknowledged last."""
    await _of_sentinels(run, loses=True)


async def sentinel_is_asked(run: Run) -> None:
    """A failover is asked for while the master lives: for a while there are two."""
    assert isinstance(run.site, SentinelSite)
    redis = run.site.redis
    run.note("a failover is asked for")
    await asyncio.to_thread(redis.failover)
    await run.hold(1.5)
    await asyncio.to_thread(redis.follow)
    await asyncio.to_thread(_wait_for_sentinels, redis)


async def _of_cluster(run: Run, *, loses: bool) -> None:
    assert isinstance(run.site, ClusterSite)
    redis = run.site.redis

    def find() -> tuple[int, RedisServer, RedisServer]:
        slot = redis.running[0].ask("CLUSTER", "KEYSLOT", CHANNEL)
        master = redis.owner(slot)
        return slot, master, redis.replica_of(master)

    await until(lambda: not _raises(find), "each master to have a replica")
    slot, master, replica = await asyncio.to_thread(find)
    await _fail_over(run, master, replica, lambda: redis.wait_promoted(slot, master), loses=loses)


def _raises(find: Callable[[], object]) -> bool:
    """Tell whether the Cluster has not yet told of a server that came back."""
    try:
        find()
    except RedisError:
        return True
    return False


async def cluster_promotes(run: Run) -> None:
    """A master of a Cluster dies; its replica takes its place."""
    await _of_cluster(run, loses=False)


async def cluster_promotes_with_a_lost_tail(run: Run) -> None:
    """The same, and the replica lacks what was acknowledged last."""
    await _of_cluster(run, loses=True)
