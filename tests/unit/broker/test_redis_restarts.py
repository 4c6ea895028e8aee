"""A Redis that comes back with older data than it had acknowledged, and does not say so."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from gateway.broker.interface import ChannelOptions, HistoryPage
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.interest import Interest
from gateway.broker.redis.options import RedisOptions
from gateway.broker.redis.proving import surely_kept
from gateway.broker.redis.restarts import Restarts, went_back
from gateway.errors import BrokerError
from gateway.message.publication import Position, Proof
from tests.support.redis_broker import make_broker
from tests.support.redis_servers import RedisServer
from tests.support.simulated import settle
from tests.unit.broker.harness import KEPT, RecordingRelay, message
from tests.unit.broker.test_redis_nodes import Cluster, cluster

__all__ = ["cluster"]

PLAIN = ChannelOptions(history_size=0)


@pytest.mark.parametrize(
    ("heard", "run", "restarts", "expected"),
    [
        (10, "", (), False),
        (10, "", (("r2", 10),), False),
        (10, "", (("r2", 9),), True),
        (10, "r2", (("r2", 9),), False),
        (10, "r2", (("r2", 5), ("r3", 9)), True),
        (10, "r2", (("r2", 5), ("r3", 9), ("r4", 30)), True),
        (10, "r2", (("r2", 5), ("r3", 10), ("r4", 30)), False),
        (10, "long ago", (("r8", 5), ("r9", 30)), True),
    ],
)
def test_count_went_back(heard: int, run: str, restarts: Restarts, expected: bool) -> None:
    assert went_back(heard, run, restarts) is expected


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# -- simulated: the order is known -----------------------------------------------------------------


@pytest.mark.parametrize("options", [KEPT, PLAIN], ids=["history", "plain"])
@pytest.mark.parametrize("heard", [6, 10], ids=["nothing_lost", "lost"])
async def test_count_that_has_grown_past_what_was_heard_is_noticed(
    cluster: Cluster, options: ChannelOptions, heard: int
) -> None:
    first, second, _ = cluster.brokers
    before = await first.subscribe("c", options)
    for n in range(6):
        await first.publish("c", message(f"m{n}"), options)
    older = cluster.redis.snapshot()
    for n in range(6, heard):
        await first.publish("c", message(f"lost{n}"), options)
    await settle()
    cluster.shards[0].cut_pubsub()
    cluster.redis.go_back(older)
    for n in range(12):  # by a node that has not heard of what was lost
        await second.publish("c", message(f"n{n}"), options)
    cluster.shards[0].mend_pubsub()
    await settle(40)
    heard_of = [epoch for name, (epoch, _) in cluster.relays[0].losses]
    now = await first.publish("c", message("end"), options)
    await settle(20)
    if heard == 10:
        assert now.epoch != before.epoch
        assert heard_of == [now.epoch]
    else:
        assert now.epoch == before.epoch
        assert (cluster.relays[0].offsets("c") == [*range(1, 20)]) == bool(options.history_size)
    assert cluster.relays[0].ids("c")[-1] == "end"


async def test_loss_is_noticed_also_for_a_channel_that_was_left_meanwhile(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    before = await first.subscribe("c", KEPT)
    older = cluster.redis.snapshot()
    await first.publish("c", message("lost"), KEPT)
    await settle()
    cluster.shards[0].cut_pubsub()
    await first.unsubscribe("c")
    cluster.redis.go_back(older)
    await second.publish("c", message("again"), KEPT)
    cluster.shards[0].mend_pubsub()
    await settle()
    first.sweep()
    await settle(20)
    page = await second.history("c", KEPT, since=Position(before.epoch, 1), limit=10)
    assert not page.complete
    assert page.top.epoch != before.epoch


async def test_message_of_an_earlier_run_is_not_taken_for_one_of_the_next() -> None:
    """It was held when the connection broke; its offset is given to another one."""
    interest = Interest(PLAIN)
    for top, restarts in ((Position("e", 0), ()), (Position("e", 0), (("r2", 0),))):
        interest.confirmed()
        if not restarts:
            interest.published("e", 1, [message("lost")])
            interest.interrupted()
            interest.confirmed()
        assert interest.read(interest.turn, HistoryPage([], top, complete=False), restarts) == []
    assert interest.position == Position("e", 0)


# -- a real server, from a copy of its append-only file ----------------------------------------------


@pytest.fixture
async def brokers(
    tmp_path: Path,
) -> AsyncIterator[tuple[RedisServer, list[RedisBroker], list[RecordingRelay]]]:
    with RedisServer(tmp_path, aof=True) as server:
        options = BrokerOptions(check_interval_s=1.0, lease_s=3.0)
        slow = RedisOptions(backoff_first_s=1.0, backoff_most_s=1.0)  # the other publishes before it is back
        brokers = [make_broker(options, url=server.url, redis=each) for each in (slow, RedisOptions())]
        relays = [RecordingRelay() for _ in brokers]
        for broker, relay in zip(brokers, relays, strict=True):
            await broker.start(relay)
        yield server, brokers, relays
        for broker in brokers:
            await broker.stop()


async def publish_when_possible(broker: RedisBroker, text: str) -> Position:
    async with asyncio.timeout(20):
        while True:
            try:
                result = await broker.publish("c", message(text), KEPT, key=text)
                return Position(result.epoch, result.offset)
            except BrokerError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("loses", [False, True], ids=["whole", "older"])
async def test_server_that_comes_back_from_an_older_append_only_file(
    brokers: tuple[RedisServer, list[RedisBroker], list[RecordingRelay]], loses: bool
) -> None:
    server, (first, second), (relay, _) = brokers
    epoch = (await first.subscribe("c", KEPT)).epoch
    for n in range(5):
        await first.publish("c", message(f"m{n}"), KEPT)
    shutil.copytree(server.folder / "appendonlydir", server.folder / "older")
    for n in range(5):
        await first.publish("c", message(f"lost{n}"), KEPT)
    await until(lambda: len(relay.publications) == 10, "everything is heard")
    server.kill()
    if loses:
        shutil.rmtree(server.folder / "appendonlydir")
        (server.folder / "older").rename(server.folder / "appendonlydir")
    server.start()
    placed = [await publish_when_possible(second, f"n{n}") for n in range(12)]
    await until(lambda: relay.ids("c")[-1:] == ["n11"] or relay.losses, "the first node is back")
    last = await publish_when_possible(second, "end")
    await until(lambda: relay.ids("c")[-1] == "end", "the first node hears on")
    if loses:
        assert last.epoch != epoch
        assert relay.losses
        assert relay.losses[0][1].epoch != epoch
    else:
        assert (last.epoch, last.offset) == (epoch, 23)
        assert relay.losses == []
        assert relay.offsets("c") == [*range(1, 24)]
    assert placed[0].offset in (1, 6, 11)


# -- a client that comes back when nobody is left who had heard what was lost --------------------------


@pytest.mark.parametrize(
    ("offset", "mark", "restarts", "expected"),
    [
        (10, "0", (), True),
        (10, "0", (("run2-and-more", 10),), True),
        (10, "0", (("run2-and-more", 9),), False),
        (10, "run2-and", (("run2-and-more", 9),), True),
        (10, "run2-and", (("run2-and-more", 5), ("run3-and-more", 9)), False),
        (10, "", (("run2-and-more", 10), ("run3-and-more", 30)), True),
        (10, "0", tuple((f"run{n}", 20) for n in range(4)), False),
        (10, "run1", tuple((f"run{n}", 20) for n in range(4)), True),
    ],
)
def test_only_a_restart_below_a_position_makes_it_doubtful(
    offset: int, mark: str, restarts: Restarts, expected: bool
) -> None:
    assert surely_kept(offset, mark, restarts) is expected


async def test_read_of_an_id_is_shared_and_its_failure_told_to_all(cluster: Cluster) -> None:
    first, second, _ = cluster.brokers
    before = await first.subscribe("c", KEPT)
    cluster.shards[0].cut_pubsub()
    cluster.redis.go_back(cluster.redis.snapshot())
    cluster.shards[0].mend_pubsub()
    for n in range(3):
        await second.publish("c", message(f"n{n}"), KEPT)
    await settle()
    at = Position(before.epoch, 2)
    read = cluster.redis.executed.count("history")
    asked = [first.knows("c", KEPT, at, Proof(name, "0")) for name in ("n1", "n1", "lost1")]
    assert await asyncio.gather(*asked) == [True, True, False]
    assert cluster.redis.executed.count("history") == read + 1
    cluster.shards[0].cut_commands(Random(1))  # noqa: S311
    asked = [first.knows("c", KEPT, Position(before.epoch, 3), Proof("n2", "0")) for _ in range(2)]
    for problem in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(problem, BrokerError)
    cluster.shards[0].mend_commands()
    assert await first.knows("c", KEPT, Position(before.epoch, 3), Proof("n2", "0"))


@pytest.mark.parametrize("loses", [False, True], ids=["whole", "older"])
async def test_client_comes_back_after_redis_and_every_node_went_back(tmp_path: Path, loses: bool) -> None:
    """Nobody alive had heard what was lost, and the new count has passed it."""
    with RedisServer(tmp_path, aof=True) as server:
        gone = make_broker(BrokerOptions(), url=server.url)
        await gone.start(RecordingRelay())
        await gone.subscribe("c", KEPT)
        for n in range(5):
            await gone.publish("c", message(f"m{n}"), KEPT)
        epoch = (await gone.subscribe("c", KEPT)).epoch
        shutil.copytree(server.folder / "appendonlydir", server.folder / "older")
        mark = gone.mark("c")
        for n in range(5, 10):
            await gone.publish("c", message(f"m{n}"), KEPT)
        server.kill()
        await gone.stop()
        if loses:
            shutil.rmtree(server.folder / "appendonlydir")
            (server.folder / "older").rename(server.folder / "appendonlydir")
        server.start()
        come = make_broker(BrokerOptions(), url=server.url)
        await come.start(RecordingRelay())
        for n in range(12):
            await publish_when_possible(come, f"n{n}")
        assert (await come.subscribe("c", KEPT)).epoch == epoch  # it looks as if nothing had happened

        async def knows(offset: int, proof: Proof, options: ChannelOptions = KEPT) -> bool:
            return await come.knows("c", options, Position(epoch, offset), proof)

        assert await knows(5, Proof("m4", mark))
        assert await knows(8, Proof("m7", mark)) is not loses
        assert await knows(8, Proof("m7", "")) is not loses
        assert await knows(10, Proof("", mark)) is not loses  # subscribed there, and heard nothing
        new = 12 if loses else 17
        assert await knows(new, Proof("n6", mark))  # heard it after Redis had been restarted
        assert await knows(new, Proof("", come.mark("c")))
        assert not await knows(new, Proof("", mark))  # cannot be compared
        await come.unsubscribe("c")
        assert await knows(8, Proof("m7", mark)) is not loses
        await come.stop()
