"""Several Redis brokers, and what they owe each other: leases, presence, questions, one call for one turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from random import Random

import pytest

from gateway.broker.interface import ChannelOptions, Control, ControlKind, PresenceChange, PublishResult
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.shard import Shard
from gateway.broker.redis.sharding import Sharding
from gateway.errors import BrokerUnavailableError, OutcomeUnknownError, StaleVersionError
from gateway.message.publication import Member, Position
from tests.simulated.redis import Data, SimulatedRedis, SimulatedShard
from tests.support.simulated import SimulatedTime, settle
from tests.unit.broker.harness import KEPT, STATE, RecordingRelay, message, patch

OPTIONS = BrokerOptions(lease_s=10.0, ask_timeout_s=0.2, probe_timeout_s=0.2)


def sharding_of(shard: SimulatedShard) -> Sharding[Shard]:
    return Sharding([(shard.name, shard)])


class Cluster:
    """Brokers on one simulated Redis that answers at once; leases are renewed when the test says so."""

    def __init__(self) -> None:
        self.redis = SimulatedRedis()
        self.time = SimulatedTime()
        self.ids = iter(range(10**9))
        self.shards: list[SimulatedShard] = []
        self.brokers: list[RedisBroker] = []
        self.relays: list[RecordingRelay] = []

    async def node(self) -> RedisBroker:
        shard, relay = SimulatedShard(self.redis, at_once=True), RecordingRelay()
        broker = RedisBroker(
            make_shards=partial(sharding_of, shard),
            options=OPTIONS,
            loop=self.time.loop,
            random_id=lambda: f"id{next(self.ids)}",
        )
        await broker.start(relay)
        self.shards.append(shard)
        self.relays.append(relay)
        self.brokers.append(broker)
        return broker

    async def pass_time(self, seconds: float, *alive: RedisBroker) -> None:
        """Let time pass, in steps in which the nodes that are alive renew their leases."""
        for _ in range(int(seconds / 2.5)):
            self.time.now += 2.5
            self.redis.now_ms += 2500
            for broker in alive:
                for side in broker._sides:
                    await side.presence.renew()
            await settle(20)

    async def present(self) -> list[str]:
        return [member.client for member in await self.brokers[0].presence("c", KEPT)]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    for _ in range(3):
        await cluster.node()
    yield cluster
    for shard in cluster.shards:
        shard.at_once = True
    for broker in cluster.brokers:
        await broker.stop()


async def test_publications_of_one_turn_are_one_call_and_one_message(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    await second.subscribe("c", KEPT)
    cluster.redis.executed.clear()
    cluster.redis.published.clear()
    results = await asyncio.gather(*(first.publish("c", message(f"m{n}"), KEPT) for n in range(100)))
    await settle()
    assert [result.offset for result in results] == list(range(1, 101))
    assert cluster.redis.executed == ["publish"]
    assert len(cluster.redis.published) == 1
    assert cluster.relays[1].offsets("c") == list(range(1, 101))


async def test_publish_that_was_sent_and_lost_is_of_unknown_outcome_and_safe_to_repeat(
    cluster: Cluster,
) -> None:
    first, shard = cluster.brokers[0], cluster.shards[0]
    await first.subscribe("c", KEPT)
    shard.at_once = False
    waits = asyncio.ensure_future(first.publish("c", message("m"), KEPT, key="k"))
    await settle()
    shard.execute()
    shard.cut_commands(Random(1))  # noqa: S311
    with pytest.raises(OutcomeUnknownError):
        await waits
    with pytest.raises(BrokerUnavailableError):
        await first.publish("c", message("never"), KEPT)
    shard.mend_commands()
    shard.at_once = True
    again = await first.publish("c", message("m"), KEPT, key="k")
    assert (again.offset, again.duplicate) == (1, True)


async def test_members_of_a_node_that_is_gone_leave_once_whoever_notices(cluster: Cluster) -> None:
    first, second, third = cluster.brokers
    await first.subscribe("c", KEPT)
    members = [Member(client=f"x{n}") for n in range(3)]
    for member in members:
        await third.join("c", member, KEPT)
    await second.join("c", Member(client="stays"), KEPT)
    await cluster.pass_time(7.5, first, second, third)
    await cluster.pass_time(7.5, first, second)
    assert await cluster.present() == ["x0", "x1", "x2", "stays"], "its lease has not run out"
    await cluster.pass_time(20, first, second)
    assert await cluster.present() == ["stays"]
    left = [change for _, change in cluster.relays[0].changes if not change.joined]
    assert left == [PresenceChange(joined=False, member=member) for member in members]
    reaped = sum(broker._sides[0].presence.counts["nodes_reaped"] for broker in (first, second))
    assert reaped == 1


BY_USER = ChannelOptions(presence=True, presence_by_user=True)


async def test_user_with_clients_on_two_nodes_leaves_with_the_last_also_when_nodes_die(
    cluster: Cluster,
) -> None:
    first, second, third = cluster.brokers
    await first.subscribe("c", BY_USER)
    for n, broker in enumerate((second, third, third)):
        await broker.join("c", Member(client=f"x{n}", user="alice"), BY_USER)
    await third.join("c", Member(client="y", user="bob"), BY_USER)
    await cluster.pass_time(35, first, second)
    assert [(change.joined, change.member.client) for _, change in cluster.relays[0].changes] == [
        (True, "x0"),
        (True, "y"),
        (False, "y"),
    ]
    await cluster.pass_time(35, first)
    assert [change.member.client for _, change in cluster.relays[0].changes][3:] == ["x0"]
    await cluster.pass_time(5, *cluster.brokers)
    changes = [(change.joined, change.member.user) for _, change in cluster.relays[0].changes][4:]
    assert sorted(changes) == [(True, "alice"), (True, "bob")], "they come back, each user once"


async def test_node_that_was_taken_for_dead_comes_back_with_its_members(cluster: Cluster) -> None:
    first, second, third = cluster.brokers
    await first.subscribe("c", KEPT)
    await third.join("c", Member(client="x"), KEPT)
    await cluster.pass_time(35, first, second)
    assert await cluster.present() == []
    await cluster.pass_time(2.5, first, second, third)
    assert await cluster.present() == ["x"]
    await cluster.pass_time(60, first, second, third)
    assert await cluster.present() == ["x"], "nobody takes it out under its new lease"
    assert [change.joined for _, change in cluster.relays[0].changes] == [True, False, True]


async def test_outage_of_redis_longer_than_leases_takes_nobody_out(cluster: Cluster) -> None:
    await cluster.brokers[0].subscribe("c", KEPT)
    for n, broker in enumerate(cluster.brokers):
        await broker.join("c", Member(client=f"x{n}"), KEPT)
    await settle()
    cluster.relays[0].changes.clear()
    await cluster.pass_time(60)
    await cluster.pass_time(30, *cluster.brokers)
    assert await cluster.present() == ["x0", "x1", "x2"]
    assert cluster.relays[0].changes == []


async def test_redis_that_lost_its_data_has_all_members_again_and_nobody_hears_of_it(
    cluster: Cluster,
) -> None:
    await cluster.brokers[0].subscribe("c", KEPT)
    for n, broker in enumerate(cluster.brokers):
        await broker.join("c", Member(client=f"x{n}"), KEPT)
    await settle()
    cluster.relays[0].changes.clear()
    cluster.redis.lose_all()
    await cluster.pass_time(2.5, *cluster.brokers)
    assert sorted(await cluster.present()) == ["x0", "x1", "x2"]
    assert cluster.relays[0].changes == []


async def test_members_are_entered_again_also_when_the_reply_to_a_new_lease_is_lost(cluster: Cluster) -> None:
    first, shard = cluster.brokers[0], cluster.shards[0]
    await first.join("c", Member(client="x"), KEPT)
    cluster.redis.data = Data()  # emptied, by the same server
    shard.at_once = False
    renewal = asyncio.ensure_future(first._sides[0].presence.renew())
    for _ in range(2):  # the lease is not known, and so it begins
        await settle()
        shard.execute()
        if not renewal.done() and len(shard.replies) and cluster.redis.executed.count("lease") % 2 == 0:
            shard.reply()
    shard.cut_commands(Random(1))  # noqa: S311
    with pytest.raises(BrokerUnavailableError):
        await renewal
    shard.mend_commands()
    shard.at_once = True
    await cluster.pass_time(2.5, *cluster.brokers)
    assert await cluster.present() == ["x"]


async def test_redis_that_lost_the_end_of_its_data_has_who_is_there_and_nobody_else(
    cluster: Cluster,
) -> None:
    first, second, _ = cluster.brokers
    await second.subscribe("c", KEPT)
    await first.join("c", Member(client="left"), KEPT)
    older = cluster.redis.snapshot()
    await first.leave("c", "left", KEPT)
    await first.join("c", Member(client="came"), KEPT)
    await settle()
    cluster.relays[1].changes.clear()
    for shard in cluster.shards:
        shard.cut_commands(Random(1))  # noqa: S311
    cluster.redis.go_back(older)
    for shard in cluster.shards:
        shard.mend_commands()
    assert await cluster.present() == ["left"]
    await cluster.pass_time(5, *cluster.brokers)
    assert await cluster.present() == ["came"]
    assert cluster.relays[1].changes == [], "all of it was told before"


async def test_leave_while_redis_is_away_happens_when_it_is_back(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    await second.subscribe("c", KEPT)
    await first.join("c", Member(client="x"), KEPT)
    cluster.shards[0].commands_up = False
    with pytest.raises(BrokerUnavailableError):
        await first.leave("c", "x", KEPT)
    assert (await second.presence("c", KEPT))[0].client == "x"
    cluster.shards[0].commands_up = True
    await cluster.pass_time(2.5, first)
    assert await cluster.present() == []
    assert [change.joined for _, change in cluster.relays[1].changes] == [True, False]


async def test_node_that_stops_in_good_order_leaves_nobody_behind(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    await first.subscribe("c", KEPT)
    await second.join("c", Member(client="x"), KEPT)
    await second.stop()
    assert await cluster.present() == []
    assert await first.control(Control(kind=ControlKind.DISCONNECT, user="u")) == 0


async def test_control_adds_up_what_all_nodes_reached(cluster: Cluster) -> None:
    for relay, reached in zip(cluster.relays, (1, 20, 300), strict=True):
        relay.reached = reached
    assert await cluster.brokers[1].control(Control(kind=ControlKind.DISCONNECT, user="u")) == 321


async def test_control_does_not_wait_long_for_a_node_that_is_silent(cluster: Cluster) -> None:
    for relay in cluster.relays:
        relay.reached = 1
    cluster.shards[2].at_once = False
    assert await cluster.brokers[0].control(Control(kind=ControlKind.DISCONNECT, user="u")) == 2


async def test_gather_has_the_answer_of_every_node_that_has_one(cluster: Cluster) -> None:
    for n, broker in enumerate(cluster.brokers[:2]):
        broker.on_question = lambda what, n=n: f"{what}{n}".encode()  # type: ignore[misc]
    assert sorted((await cluster.brokers[2].gather("node")).values()) == [b"node0", b"node1"]


async def test_probe_that_does_not_come_back_is_an_error(cluster: Cluster) -> None:
    assert await cluster.brokers[0].probe() >= 0
    cluster.shards[0].cut_pubsub()
    with pytest.raises(BrokerUnavailableError):
        await cluster.brokers[0].probe()
    cluster.shards[0].mend_pubsub()
    await settle()
    assert await cluster.brokers[0].probe() >= 0


async def test_subscribe_that_is_not_confirmed_ends_and_leaves_no_interest(cluster: Cluster) -> None:
    cluster.shards[0].cut_pubsub()
    with pytest.raises(BrokerUnavailableError):
        await cluster.brokers[0].subscribe("c", KEPT)
    cluster.shards[0].mend_pubsub()
    assert len(cluster.brokers[0]._sides[0].feeds) == 0


async def update(broker: RedisBroker, text: str, base: int, key: str = "") -> PublishResult:
    return await broker.update("doc", patch(text), STATE, base=Position("", base), key=key)


async def test_update_that_was_sent_and_lost_is_of_unknown_outcome_and_safe_to_repeat(
    cluster: Cluster,
) -> None:
    first, shard = cluster.brokers[0], cluster.shards[0]
    shard.at_once = False
    waits = asyncio.ensure_future(update(first, '{"a":1}', 0, key="k"))
    for _ in range(2):  # the read, and the write, whose reply is lost
        await settle()
        shard.execute()
        if cluster.redis.executed[-1] == "state":
            shard.reply()
    shard.cut_commands(Random(1))  # noqa: S311
    with pytest.raises(OutcomeUnknownError):
        await waits
    shard.mend_commands()
    shard.at_once = True
    await update(first, '{"a":2}', 1)
    assert (await update(first, '{"a":1}', 0, key="k"))[1:] == (1, True)
    assert (await first.state("doc", STATE)).data == b'{"a":2}'


async def test_update_that_comes_second_between_read_and_write_is_stale(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    cluster.shards[0].at_once = False
    waits = asyncio.ensure_future(update(first, '{"by":1}', 0))
    await settle()
    cluster.shards[0].execute()
    cluster.shards[0].reply()
    await settle()  # the first has read, and its write is on its way
    await update(second, '{"by":2}', 0)
    cluster.shards[0].at_once = True
    cluster.shards[0].execute()
    cluster.shards[0].reply()
    with pytest.raises(StaleVersionError) as stale:
        await waits
    assert (stale.value.version, stale.value.data) == (1, b'{"by":2}')
    assert (await second.state("doc", STATE)).data == b'{"by":2}'


async def test_state_outlives_a_promotion_as_version_zero_of_a_new_life(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    await update(first, '{"a":1}', 0)
    before = await first.state("doc", STATE)
    cluster.redis.promote()
    state = await second.state("doc", STATE)
    assert (state.version, state.data) == (0, before.data)
    assert state.epoch != before.epoch
    assert (await update(second, '{"b":2}', 0)).epoch == state.epoch
    assert (await first.state("doc", STATE)).data == b'{"a":1,"b":2}'
    cluster.redis.lose_all()
    assert (await first.state("doc", STATE))[1:] == (0, b"null")
