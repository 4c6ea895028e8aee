"""Sessions of connections that stand: held under their node's lease, and taken once."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from gateway.broker.redis.broker import RedisBroker
from gateway.errors import BrokerUnavailableError
from tests.support.simulated import settle
from tests.unit.broker.test_redis_nodes import Cluster, cluster

__all__ = ["cluster"]

LONG = 60.0


def hold(broker: RedisBroker, session: str, record: bytes = b"{}", *, client: str = "c1") -> None:
    broker.session_ttl_s = LONG
    broker.hold_sessions([(session, client, record)])


@pytest.fixture(autouse=True)
def keeps_sessions(cluster: Cluster) -> None:
    for broker in cluster.brokers:
        broker.session_ttl_s = LONG


async def test_held_session_is_taken_once_by_another_node_before_and_after_the_lease_ends(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.brokers
    for n in range(4):
        hold(third, f"s{n}", b'{"n":%d}' % n, client=f"c{n}")
    assert await first.take_session("s0") == b'{"n":0}'
    assert await second.take_session("s0") is None
    await cluster.pass_time(35, first, second)  # the third is dead, and buried
    assert await second.take_session("s1") == b'{"n":1}'
    assert await first.take_session("s1") is None
    assert await first.take_session("s0") is None
    await cluster.pass_time(45, first, second)
    assert await first.take_session("s2") is None, "its time is over"


async def test_held_session_lasts_while_its_node_lives_and_nothing_is_written_for_it(
    cluster: Cluster,
) -> None:
    hold(cluster.brokers[0], "s")
    await settle()
    cluster.redis.executed.clear()
    await cluster.pass_time(300, *cluster.brokers)
    assert "hold" not in cluster.redis.executed
    assert await cluster.brokers[1].take_session("s") == b"{}"


async def test_latest_record_is_the_one_that_is_taken(cluster: Cluster) -> None:
    hold(cluster.brokers[0], "s", b"old record")
    hold(cluster.brokers[0], "s", b"new record")
    assert await cluster.brokers[1].take_session("s") == b"new record"


async def test_node_whose_session_was_taken_does_not_save_it_when_it_notices_that_the_client_is_gone(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.brokers
    hold(first, "s", b"old", client="before")
    assert await second.take_session("s") == b"old"
    hold(second, "s", b"new", client="after")
    hold(first, "s", b"old", client="before")  # the connection that is dead still changes
    await first.save_session("s", b"old", LONG, client="before")
    assert await third.take_session("s") == b"new"
    assert await third.take_session("s") is None


async def test_session_that_came_back_to_its_own_node_is_not_ended_by_its_dead_connection(
    cluster: Cluster,
) -> None:
    first, second, _ = cluster.brokers
    hold(first, "s", b"old", client="before")
    assert await first.take_session("s") == b"old"
    hold(first, "s", b"new", client="after")
    await first.save_session("s", b"old", LONG, client="before")
    assert await second.take_session("s") == b"new"


async def test_saved_session_is_taken_once_and_not_from_what_was_held(cluster: Cluster) -> None:
    first, second, third = cluster.brokers
    hold(first, "s", b"held")
    await first.save_session("s", b"saved", LONG, client="c1")
    assert await second.take_session("s") == b"saved"
    assert await third.take_session("s") is None


async def test_dropped_session_cannot_be_taken(cluster: Cluster) -> None:
    hold(cluster.brokers[0], "s")
    cluster.brokers[0].drop_session("s", "c1")
    await settle()
    assert await cluster.brokers[1].take_session("s") is None


async def test_redis_that_lost_its_data_is_told_of_everything_again(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    told: list[str] = []
    first._sides[0].held._on_lost = lambda: told.append("first")
    hold(first, "s")
    await cluster.pass_time(5, *cluster.brokers)
    told.clear()
    await cluster.pass_time(5, *cluster.brokers)
    assert told == []
    cluster.redis.lose_all()
    await cluster.pass_time(2.5, *cluster.brokers)
    assert told == ["first"]
    assert await second.take_session("s") is None


async def test_session_that_ends_while_redis_is_away_is_saved_when_it_is_back(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    hold(first, "s", b"held")
    await settle()
    cluster.shards[0].commands_up = False
    with pytest.raises(BrokerUnavailableError):
        await first.save_session("s", b"saved", LONG, client="c1")
    cluster.shards[0].commands_up = True
    await cluster.pass_time(2.5, first)
    assert await second.take_session("s") == b"saved"
    assert await second.take_session("s") is None


async def test_session_that_was_saved_and_taken_is_not_saved_again_by_who_got_no_reply(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.brokers
    shard = cluster.shards[0]
    hold(first, "s", b"held")
    await settle()
    shard.at_once = False
    saving = asyncio.ensure_future(first.save_session("s", b"saved", LONG, client="c1"))
    for _ in range(2):  # it is held no longer, and it is saved
        await settle()
        shard.execute()
        if cluster.redis.executed[-1] == "release":
            shard.reply()
    assert cluster.redis.executed[-1] == "save"
    shard.cut_commands(Random(1))  # noqa: S311
    with pytest.raises(BrokerUnavailableError):
        await saving
    assert await second.take_session("s") == b"saved"
    shard.mend_commands()
    shard.at_once = True
    await cluster.pass_time(5, *cluster.brokers)
    assert await third.take_session("s") is None


async def test_session_that_was_taken_twice_from_one_node_is_not_saved_by_its_first_connection(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.brokers
    hold(first, "s", b"one", client="c1")
    assert await first.take_session("s") == b"one"
    hold(first, "s", b"two", client="c2")
    assert await second.take_session("s") == b"two"
    hold(second, "s", b"three", client="c3")
    await first.save_session("s", b"two", LONG, client="c2")
    await first.save_session("s", b"one", LONG, client="c1")
    assert await third.take_session("s") == b"three"
    assert await third.take_session("s") is None


async def test_node_that_slept_past_its_lease_knows_which_of_its_sessions_were_taken(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.brokers
    hold(third, "s", b"old", client="before")
    hold(third, "stays", b"mine", client="other")
    await cluster.pass_time(30, first, second)
    assert await first.take_session("s") == b"old"
    hold(first, "s", b"new", client="after")
    await cluster.pass_time(2.5, *cluster.brokers)  # it wakes up
    await third.save_session("s", b"old", LONG, client="before")
    await third.save_session("stays", b"mine", LONG, client="other")
    assert await second.take_session("s") == b"new"
    assert await second.take_session("stays") == b"mine"


async def test_nothing_is_looked_for_where_sessions_are_not_kept(cluster: Cluster) -> None:
    cluster.brokers[0].session_ttl_s = 0.0
    cluster.redis.executed.clear()
    assert await cluster.brokers[0].take_session("s") is None
    assert cluster.redis.executed == ["take_saved"]
