"""The outbox in Redis, with several nodes and real servers: who delivers, and what a failover costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.broker.outbox import EVERY_ONE, OutboxOptions, Wanted
from gateway.broker.redis import lane_work
from gateway.broker.redis.lanes import LANES, lane_of
from gateway.errors import OutcomeUnknownError
from tests.support.outboxes import OPTIONS, Listener, OutboxNode, begin, outbox_nodes
from tests.support.redis_broker import shared_server
from tests.support.redis_servers import RedisServer, wait_until
from tests.support.redis_sets import RedisCluster, SentinelSet
from tests.support.waiting import until

KEYS = [f"room:{n}" for n in range(24)]


async def shares(*nodes: OutboxNode) -> None:
    """Wait until nodes hold all lanes in even parts."""
    few, more = divmod(LANES, len(nodes))
    even = sorted([few] * (len(nodes) - more) + [few + 1] * more)
    await until(lambda: sorted(node.lanes for node in nodes) == even)


async def test_lanes_are_shared_evenly_by_the_nodes_that_live() -> None:
    listener = Listener()
    async with outbox_nodes(shared_server().url, listener) as make:
        (one,) = await begin(make("one"))
        await shares(one)
        (two,) = await begin(make("two"))
        await shares(one, two)
        (three,) = await begin(make("three"))
        await shares(one, two, three)
        for key in KEYS:
            two.note(key, 1)
        await until(lambda: listener.count == len(KEYS))
        delivered = [node.outbox.stats()["delivered"] for node in (one, two, three)]
        assert all(delivered), "each delivers a part"
        await two.kill()
        await shares(one, three)
        await one.outbox.stop()
        await shares(three)


async def test_what_a_killed_node_had_is_delivered_and_its_channels_are_vacated() -> None:
    listener = Listener()
    async with outbox_nodes(shared_server().url, listener) as make:
        one, two, three = await begin(make("one"), make("two"), make("three"))
        await shares(one, two, three)
        listener.there = False
        for key in KEYS:
            two.occupy(key)
            two.note(key, 1)
        one.occupy(KEYS[0])
        await until(lambda: one.outbox.stats()["waiting"] + two.outbox.stats()["waiting"] > 10)
        await until(lambda: not two.outbox._buffered)
        await two.kill()
        listener.there = True
        story = ["channel_occupied", "subscribed", "channel_vacated"]
        for key in KEYS[1:]:
            await until(lambda key=key: listener.kinds(key) == story)  # type: ignore[misc]
        assert listener.kinds(KEYS[0]) == story[:2], "it is occupied still, at another node"
        one.vacate(KEYS[0])
        await until(lambda: listener.kinds(KEYS[0]) == story)


async def test_a_lane_changes_hands_without_a_repetition_and_in_order() -> None:
    listener = Listener()
    async with outbox_nodes(shared_server().url, listener) as make:
        (one,) = await begin(make("one"))
        await shares(one)
        listener.takes_s = 0.02
        told = {key: [one.note(key, n) for n in range(12)] for key in KEYS}
        await until(lambda: listener.count > 20)
        (two,) = await begin(make("two"))
        await shares(one, two)
        await until(lambda: listener.count >= sum(map(len, told.values())))
        assert {key: [notice.id for notice in listener.taken[key]] for key in KEYS} == told
        assert two.outbox.stats()["delivered"] > 0


async def test_node_that_was_away_for_longer_than_its_lease_says_anew_what_it_has() -> None:
    listener = Listener()
    async with outbox_nodes(shared_server().url, listener) as make:
        one, two = await begin(make("one"), make("two"))
        await shares(one, two)
        one.occupy("news")
        await until(lambda: listener.kinds("news") == ["channel_occupied"])
        for task in one.outbox._tasks:
            task.cancel()
        await until(lambda: listener.kinds("news")[-1] == "channel_vacated")
        one.outbox._tasks = [asyncio.create_task(work.serve()) for work in one.outbox._works]
        story = ["channel_occupied", "channel_vacated", "channel_occupied"]
        await until(lambda: listener.kinds("news") == story)
        one.vacate("news")
        await until(lambda: listener.kinds("news") == [*story, "channel_vacated"])


async def test_what_redis_lost_the_end_of_is_told_again(tmp_path: Path) -> None:
    listener = Listener()
    with RedisServer(tmp_path) as redis:
        async with outbox_nodes(redis.url, listener) as make:
            one, two = await begin(make("one"), make("two"))
            await shares(one, two)
            listener.there = False
            told = {key: [one.note(key, 1), one.note(key, 2)] for key in KEYS}
            one.occupy("left")
            await until(lambda: not one.outbox._buffered)
            await asyncio.to_thread(redis.ask, "SAVE")
            for key in KEYS:
                told[key] += [one.note(key, 3), one.note(key, 4)]
            two.occupy("come")
            one.vacate("left")
            await until(lambda: not one.outbox._buffered and not two.outbox._buffered)
            await asyncio.to_thread(redis.kill)
            await asyncio.to_thread(redis.start)
            listener.there = True
            for key in KEYS:
                await until(lambda key=key: listener.first(key) == told[key])  # type: ignore[misc]
            await until(lambda: listener.kinds("left") == ["channel_occupied", "channel_vacated"])
            await until(lambda: listener.kinds("come") == ["channel_occupied"])
            assert one.outbox.stats()["setbacks"] > 0
            assert one.outbox.stats()["dropped"] == 0


async def test_what_was_lost_is_told_again_however_long_nobody_could_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentinels may take longer to agree than what was told is remembered."""
    monkeypatch.setattr(lane_work, "_REMEMBERED_S", 1.0)
    listener = Listener()
    with RedisServer(tmp_path) as redis:
        slowly = OutboxOptions(grace_s=0.6, lease_s=1.0)
        async with outbox_nodes(redis.url, listener, slowly) as make:
            (one,) = await begin(make("one"))
            await shares(one)
            one.occupy("left")
            await until(lambda: listener.kinds("left") == ["channel_occupied"])
            await asyncio.to_thread(redis.ask, "SAVE")
            one.vacate("left")
            await until(lambda: not one.outbox._buffered)
            await asyncio.to_thread(redis.kill)
            await asyncio.sleep(1.5)
            await asyncio.to_thread(redis.start)
            await until(lambda: listener.kinds("left") == ["channel_occupied", "channel_vacated"])
            assert one.outbox.stats()["setbacks"] > 0


@pytest.mark.parametrize("lost", ["the reply to the beat", "what comes after it"])
async def test_node_that_is_cut_off_as_it_comes_back_says_what_it_has(lost: str) -> None:
    listener = Listener()
    async with outbox_nodes(shared_server().url, listener) as make:
        one, two = await begin(make("one"), make("two"))
        await shares(one, two)
        one.occupy("news")
        await until(lambda: listener.kinds("news") == ["channel_occupied"])
        for task in one.outbox._tasks:
            task.cancel()
        await until(lambda: listener.kinds("news")[-1] == "channel_vacated")
        for work in one.outbox._works:
            cut_off(work, "beat" if lost == "the reply to the beat" else "tell")
        one.outbox._tasks = [asyncio.create_task(work.serve()) for work in one.outbox._works]
        story = ["channel_occupied", "channel_vacated", "channel_occupied"]
        await until(lambda: listener.kinds("news") == story)


def cut_off(work: lane_work.LaneWork, what: str) -> None:
    """Have a lane lose the first answer."""
    usual = getattr(work.lane, what)

    async def once(*args: Any) -> None:
        setattr(work.lane, what, usual)
        if what == "beat":
            await usual(*args)
        raise OutcomeUnknownError("cut off")

    setattr(work.lane, what, once)


async def test_notices_whose_end_redis_forgot_do_not_stay_behind() -> None:
    """A replica that took over may have missed that a notice was delivered: the cursor is past it."""
    listener, redis = Listener(), shared_server()
    async with outbox_nodes(redis.url, listener) as make:
        (one,) = await begin(make("one"))
        await shares(one)
        listener.there = False
        told = [one.note("news", 1)]
        work = one.outbox._works[lane_of("news")]
        await until(lambda: len(work._in_hand) == 1)
        before = await asyncio.to_thread(redis.ask, "DUMP", work.lane._stream)
        listener.there = True
        await until(lambda: not work._in_hand)
        await asyncio.to_thread(redis.ask, "RESTORE", work.lane._stream, 0, before, "REPLACE")
        await until(lambda: listener.count == 2)
        await until(lambda: redis.ask("XLEN", work.lane._stream) == 0)
        assert listener.first("news") == told


# -- deployments ----------------------------------------------------------------------------------

Break = Callable[[], None]


# Sentinels on a busy machine may take a minute to agree; the row `service-sentinel` has them, too.
@pytest.fixture(params=[pytest.param("sentinel", marks=pytest.mark.full), "cluster", "shards"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Break, Break]]:
    """A deployment's URL; what breaks it, and what has to be waited for then."""
    with ExitStack() as stack:
        if request.param == "sentinel":
            sentinels = stack.enter_context(SentinelSet(tmp_path))
            master = sentinels.master
            yield sentinels.url, master.kill, lambda: sentinels.wait_promoted(master)
        elif request.param == "cluster":
            cluster = stack.enter_context(RedisCluster(tmp_path))
            slot = cluster.servers[0].ask("CLUSTER", "KEYSLOT", "{notices0}")
            owner = cluster.owner(slot)
            yield cluster.url, owner.kill, lambda: cluster.wait_promoted(slot, owner)
        else:
            one, two = (stack.enter_context(RedisServer(tmp_path, aof=True)) for _ in range(2))
            yield f"{one.url} {two.url}", one.kill, one.start


@pytest.mark.timeout(120)
async def test_nothing_that_waits_is_lost_in_a_failover(deployment: tuple[str, Break, Break]) -> None:
    url, fail, wait = deployment
    listener = Listener()
    async with outbox_nodes(url, listener) as make:
        one, two = await begin(make("one"), make("two"))
        await shares(one, two)
        listener.there = False
        told = {key: [one.note(key, n) for n in range(3)] for key in KEYS}
        later = dict[str, str]()
        one.occupy("here")
        two.occupy("gone")
        await until(lambda: not one.outbox._buffered and not two.outbox._buffered)
        await asyncio.to_thread(fail)
        for key in KEYS:
            later[key] = two.note(key, 3)
        two.vacate("gone")
        await asyncio.to_thread(wait)
        listener.there = True
        try:
            await until(lambda: all(len(listener.first(key)) == 4 for key in KEYS), 40.0)
        except TimeoutError:
            took = {key: listener.first(key) for key in KEYS if len(listener.first(key)) != 4}
            pytest.fail(f"{took} tries {listener.tries}\n{one.describe()}\n{two.describe()}")
        for key in KEYS:
            # What was lost is told again by whoever told it, and what another tells meanwhile may come first.
            assert [id_ for id_ in listener.first(key) if id_ != later[key]] == told[key]
            assert later[key] in listener.first(key)
        await shares(one, two)
        # Leases ran out meanwhile, so that a node may have been given up and have come back.
        await until(lambda: listener.kinds("gone")[-1:] == ["channel_vacated"])
        await until(lambda: listener.kinds("here")[-1:] == ["channel_occupied"])
        assert listener.kinds("gone")[0] == listener.kinds("here")[0] == "channel_occupied"
        assert one.outbox.stats()["dropped"] == two.outbox.stats()["dropped"] == 0


# -- dead letters ---------------------------------------------------------------------------------


async def test_dead_letters_of_all_lanes_are_paged_through_counted_replayed_and_dropped() -> None:
    listener, quickly = Listener(), OutboxOptions(give_up_s=0.0, lease_s=1.0, grace_s=0.2)
    async with outbox_nodes(shared_server().url, listener, quickly) as make:
        one, two = await begin(make("one"), make("two"))
        await shares(one, two)
        listener.there = False
        told = {key: [one.note(key, n) for n in range(2)] for key in KEYS}

        def dead() -> int:
            return one.outbox.stats()["dead"] + two.outbox.stats()["dead"]

        await until(lambda: dead() == 2 * len(KEYS))
        found, after = [], ""
        while True:
            page = await one.outbox.dead_letters(EVERY_ONE, limit=7, after=after)
            found += page.letters
            after = page.next
            if not after:
                break
            assert len(page.letters) == 7
        assert [d.time_ms for d in found] == sorted(d.time_ms for d in found)
        ids = [d.notice.id for d in found]
        assert sorted(ids) == sorted(id_ for of_key in told.values() for id_ in of_key)
        (page,) = [await two.outbox.dead_letters(Wanted(key=KEYS[3]), limit=7)]
        assert [d.notice.id for d in page.letters] == told[KEYS[3]]
        assert not (await two.outbox.dead_letters(Wanted(kind="disconnect"), limit=7)).letters
        assert await two.outbox.drop(Wanted(key=KEYS[3])) == 2
        await until(lambda: dead() == 2 * len(KEYS) - 2)
        listener.there = True
        assert await one.outbox.replay(Wanted(ids=frozenset(told[KEYS[0]]))) == 2
        await until(lambda: listener.first(KEYS[0]) == told[KEYS[0]])
        assert await one.outbox.replay(EVERY_ONE) == 2 * len(KEYS) - 4
        await until(lambda: listener.count == 2 * len(KEYS) - 2)
        assert all(listener.first(key) == told[key] for key in KEYS if key != KEYS[3])
        await until(lambda: dead() == 0)


async def test_many_channels_are_vacated_soon_and_each_once() -> None:
    listener = Listener()
    async with outbox_nodes(shared_server().url, listener, OPTIONS) as make:
        (one,) = await begin(make("one"))
        channels = [f"crowd:{n}" for n in range(4000)]
        for channel in channels:
            one.occupy(channel)
        for channel in channels:
            one.vacate(channel)
        begun = time.monotonic()
        await until(lambda: listener.count == 2 * len(channels), 40.0)
        assert time.monotonic() - begun < 30.0
        assert all(listener.kinds(c) == ["channel_occupied", "channel_vacated"] for c in channels)


async def test_leaving_is_immediate(tmp_path: Path) -> None:
    listener = Listener()
    slow = OutboxOptions(grace_s=60.0, lease_s=60.0)
    with RedisServer(tmp_path) as redis:
        async with outbox_nodes(redis.url, listener, slow) as make:
            one, two = await begin(make("one"), make("two"))
            for node in (one, two):
                for work in node.outbox._works:
                    work.woken(b"h")
            await shares(one, two)
            await one.outbox.stop()
            await shares(two)
        wait_until(lambda: not [k for k in redis.ask("KEYS", "*:{notices*") if b"}h" in k], "nobody holds")
