"""Sentinels and members of a Cluster that do not agree, or that change their minds."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.support.fake_redis import INFO, Command, FakeRedis, array, bulk, confirmation, fake_redis
from tests.support.redis_servers import free_port
from tests.support.redis_shards import ECHO, until
from tests.unit.broker.redis_transport.conftest import StartShard


def number(value: int) -> bytes:
    return b":%d\r\n" % value


class FakeSentinel:
    """Makes a fake server a Sentinel that saw the master at a port."""

    def __init__(self, fake: FakeRedis, epoch: int, port: int) -> None:
        self._fake = fake
        self.epoch = epoch
        self.port = port
        fake.answer = self.answer

    def answer(self, command: Command) -> bytes | None:
        if command[0] != b"SENTINEL":
            return self._fake.agree(command)
        fields = (b"ip", b"127.0.0.1", b"port", b"%d" % self.port, b"config-epoch", b"%d" % self.epoch)
        return array(*map(bulk, fields))


class FakeMember:
    """Makes a fake server a member of a Cluster that believes a port to have every slot."""

    def __init__(self, fake: FakeRedis, epoch: int, owner: int) -> None:
        self._fake = fake
        self.epoch = epoch
        self.owner = owner
        self.refusals = 0
        fake.answer = self.answer

    def answer(self, command: Command) -> bytes | None:
        name = command[0].upper()
        if name == b"INFO":
            return bulk((INFO % self._fake.run_id).replace(b"standalone", b"cluster"))
        if command[:2] == (b"CLUSTER", b"SLOTS"):
            master = array(bulk(b"127.0.0.1"), number(self.owner), bulk(b"name"))
            return array(array(number(0), number(16383), master))
        if command[:2] == (b"CLUSTER", b"INFO"):
            return bulk(b"cluster_current_epoch:%d\r\ncluster_my_epoch:1\r\n" % self.epoch)
        if command[:2] == (b"CLUSTER", b"MYID"):
            return bulk(b"name")
        if name == b"SSUBSCRIBE" and self.refusals:
            self.refusals -= 1
            return b"-CLUSTERDOWN The cluster is down\r\n"
        if name in (b"SSUBSCRIBE", b"SUNSUBSCRIBE"):
            return confirmation(name.lower(), command[1])
        return self._fake.agree(command)


async def test_sentinel_with_the_highest_epoch_is_believed(start_shard: StartShard, fake: FakeRedis) -> None:
    async with AsyncExitStack() as stack:
        old, new = [await stack.enter_async_context(fake_redis()) for _ in range(2)]
        FakeSentinel(old, 8, free_port())
        FakeSentinel(new, 9, fake.port)
        shard, _ = await start_shard(f"redis+sentinel://127.0.0.1:{old.port},127.0.0.1:{new.port}/m")
        assert await shard.run(ECHO, [b"k"], [1], writes=False) == b"1"
        assert fake.named(b"EVALSHA")


async def test_member_with_the_highest_epoch_is_believed(start_shard: StartShard) -> None:
    async with AsyncExitStack() as stack:
        old, new = [await stack.enter_async_context(fake_redis()) for _ in range(2)]
        FakeMember(old, 8, old.port)
        FakeMember(new, 9, new.port)
        shard, _ = await start_shard(f"redis+cluster://127.0.0.1:{old.port},127.0.0.1:{new.port}")
        assert await shard.run(ECHO, [b"k"], [1], writes=False) == b"1"
        assert new.named(b"EVALSHA")
        assert not old.named(b"EVALSHA")


async def test_subscription_that_is_refused_is_tried_again_where_the_map_says(
    start_shard: StartShard, fake: FakeRedis
) -> None:
    member = FakeMember(fake, 1, fake.port)
    member.refusals = 3
    shard, recorder = await start_shard(f"redis+cluster://127.0.0.1:{fake.port}")
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    assert recorder.events == [("subscribed", b"room")]
    assert len(fake.named(b"SSUBSCRIBE")) == 4


async def test_subscription_that_the_server_ends_is_made_anew(
    start_shard: StartShard, fake: FakeRedis
) -> None:
    FakeMember(fake, 1, fake.port)
    shard, recorder = await start_shard(f"redis+cluster://127.0.0.1:{fake.port}")
    shard.subscribe([b"room"])
    await until(lambda: recorder.subscribed, "the subscription")
    fake.writers[-1].write(confirmation(b"sunsubscribe", b"room"))
    await until(lambda: len(recorder.events) == 3, "the subscription anew")
    assert recorder.events[1:] == [("interrupted", b"room"), ("subscribed", b"room")]


async def test_subscription_moves_with_the_map_although_the_old_server_says_nothing(
    start_shard: StartShard, fake: FakeRedis
) -> None:
    async with fake_redis() as other:
        here, there = FakeMember(fake, 1, fake.port), FakeMember(other, 1, fake.port)
        shard, recorder = await start_shard(f"redis+cluster://127.0.0.1:{fake.port}")
        shard.subscribe([b"room"])
        await until(lambda: recorder.subscribed, "the subscription")
        for member in (here, there):
            member.epoch, member.owner = 2, other.port
        fake.answer = lambda command: (
            b"-MOVED 0 127.0.0.1:%d\r\n" % other.port if command[0] == b"EVALSHA" else here.answer(command)
        )
        assert await shard.run(ECHO, [b"k"], [1], writes=True) == b"1"
        await until(lambda: len(recorder.events) == 3, "the subscription anew")
        assert recorder.events[1:] == [("interrupted", b"room"), ("subscribed", b"room")]
        assert other.named(b"SSUBSCRIBE")
        await until(lambda: not fake.writers, "the old server to be left, since it has no slots")
