"""The smallest rule for a user of Redis, as docs/cluster.md has it: all works under it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.broker.interface import ChannelOptions, Control, ControlKind
from gateway.broker.outbox import EVERY_ONE, Did, OutboxOptions, Told
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.lanes import LANES
from gateway.hooks.notices import make_notice
from gateway.message.publication import Member, Position
from tests.support.outboxes import Listener, OutboxNode
from tests.support.redis_broker import make_broker
from tests.support.redis_servers import RedisServer
from tests.support.waiting import until
from tests.unit.broker.harness import RecordingRelay, message

GUIDE = Path(__file__).parents[3] / "docs" / "cluster.md"
OPTIONS = ChannelOptions(history_size=5, history_bytes=200, presence=True, presence_by_user=True)


def rule() -> list[str]:
    """The words behind ACL SETUSER in the guide."""
    found = re.search(r"^ACL SETUSER (.+?)\n```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, "the guide has no rule"
    return found[1].replace("\\\n", " ").split()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        server.ask("ACL", "SETUSER", *rule())
        yield server


async def use(broker: RedisBroker, other: RedisBroker) -> None:
    """Do everything that a broker does."""
    start = await broker.subscribe("c", OPTIONS)
    for n in range(20):
        await other.publish("c", message(f"m{n}"), OPTIONS, key=f"k{n}")
    await broker.history("c", OPTIONS, since=Position(start.epoch, 18), limit=10)
    await broker.history_before("c", OPTIONS, before=0, limit=3)
    await broker.state("c", OPTIONS)
    for client in ("a", "b"):
        await other.join("c", Member(client=client, user="alice"), OPTIONS)
    assert len(await broker.presence("c", OPTIONS)) == 2
    await other.leave("c", "a", OPTIONS)
    await broker.control(Control(kind=ControlKind.DISCONNECT, user="u"))
    for each in (broker, other):
        each.session_ttl_s = 60.0
    other.hold_sessions([("held", "a", b"1"), ("dropped", "b", b"2")])
    other.drop_session("dropped", "b")
    await other.save_session("saved", b"3", 10.0, client="c")
    assert [await broker.take_session(name) for name in ("held", "dropped", "saved")] == [b"1", None, b"3"]
    (side,) = broker._sides
    keys = side.commands.names.channel("c")
    await side.commands.renew(keys, OPTIONS, start.epoch)
    await side.presence.renew()
    await side.commands.lease("gone", 0.001, claim=False, begin=True)
    await side.presence._bury("gone")
    await broker.probe()
    await broker.unsubscribe("c")
    await use_notices(broker, other)


async def use_notices(broker: RedisBroker, other: RedisBroker) -> None:
    """Do everything that an outbox does: tell, deliver, give up, hand on, take back, replay."""
    listener, options = Listener(), OutboxOptions(grace_s=0.1, lease_s=0.3, give_up_s=0.0, most_dead=LANES)
    one, two = (OutboxNode(n, b, listener, options) for n, b in (("one", broker), ("two", other)))
    await one.outbox.start()
    await until(lambda: one.lanes == LANES)
    await two.outbox.start()
    await until(lambda: one.lanes == LANES // 2 == two.lanes)
    listener.there = False
    for n in range(3):
        one.note("c", n)
    await until(lambda: one.outbox.counts["dropped"] + two.outbox.counts["dropped"] == 2)
    listener.there = True
    assert await one.outbox.replay(EVERY_ONE) >= 1
    two.occupy("d")
    two.outbox.tell(Told(Did.ENTER, "d", make_notice("disconnect", "d", {}, id_="d", time_ms=1).encode()))
    await until(lambda: listener.kinds("d") == ["channel_occupied"] and not two.outbox._buffered)
    for task in two.outbox._tasks:
        task.cancel()
    await until(lambda: sorted(listener.kinds("d")) == ["channel_occupied", "channel_vacated", "disconnect"])
    for node in (one, two):
        await node.outbox.stop()


async def test_everything_works_under_the_smallest_rule(server: RedisServer) -> None:
    url = f"redis://ringgate:secret@{server.url.removeprefix('redis://')}"
    brokers = [make_broker(BrokerOptions(), url=url) for _ in range(2)]
    for broker in brokers:
        await broker.start(RecordingRelay())
    try:
        await use(*brokers)
    finally:
        for broker in brokers:
            await broker.stop()
    refused = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in server.ask("ACL", "LOG")]
    assert [(entry[b"reason"], entry[b"object"]) for entry in refused] == []


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "another:key"),
        ("PUBLISH", "another", "x"),
        ("SUBSCRIBE", "another"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
    ],
)
def test_nothing_else_works_under_the_smallest_rule(server: RedisServer, command: tuple[str, ...]) -> None:
    assert b"no permissions" in server.ask("ACL", "DRYRUN", "ringgate", *command)
