"""Nodes that share an outbox in Redis, without gateways: brokers, outboxes, and one service for all."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from gateway.broker.outbox import Did, NotDeliveredError, Notice, OutboxOptions, Told
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.outbox import RedisOutbox
from gateway.hooks.notices import Maker, make_notice
from tests.support.redis_broker import fresh_prefix, make_broker
from tests.support.redis_shards import QUICK
from tests.unit.broker.harness import RecordingRelay

OPTIONS: Final = OutboxOptions(
    grace_s=0.2, lease_s=1.0, first_wait_s=0.02, most_wait_s=0.1, give_up_s=600.0, most_dead=1000
)


class Listener:
    """The service: takes notices while it is `there`, `takes_s` each.  What it took, by key, in order."""

    def __init__(self) -> None:
        self.there = True
        self.takes_s = 0.0
        self.taken: dict[str, list[Notice]] = defaultdict(list)
        self.tries = 0

    async def deliver(self, notice: Notice) -> None:
        self.tries += 1
        if not self.there:
            raise NotDeliveredError("away")
        self.taken[notice.key].append(notice)
        await asyncio.sleep(self.takes_s)

    @property
    def count(self) -> int:
        """How many notices it took, repetitions, too."""
        return sum(map(len, self.taken.values()))

    def first(self, key: str) -> list[str]:
        """The ids of what it took of a key, each once."""
        return list(dict.fromkeys(notice.id for notice in self.taken[key]))

    def kinds(self, key: str) -> list[str]:
        """The kinds of what it took of a key, each notice once."""
        return list({notice.id: notice.kind for notice in self.taken[key]}.values())


class OutboxNode:
    """One node: its broker and its outbox."""

    def __init__(self, name: str, broker: RedisBroker, listener: Listener, options: OutboxOptions) -> None:
        self.name = name
        self.broker = broker
        self._ids = Random(name)  # noqa: S311 names of a test
        self.outbox = RedisOutbox(
            broker, listener.deliver,
            Maker("/test", wall_ms=self._wall_ms, random_id=self._random_id), options,
            owner=name, loop=asyncio.get_running_loop(), random=Random(1), wall_ms=self._wall_ms,  # noqa: S311
        )  # fmt: skip

    @staticmethod
    def _wall_ms() -> int:
        return time.time_ns() // 1_000_000

    def _random_id(self) -> str:
        return f"{self._ids.getrandbits(64):x}"

    @property
    def lanes(self) -> int:
        """How many it holds."""
        return self.outbox.stats()["lanes"]

    def describe(self) -> str:
        """How things stand in every lane, for whoever looks at a test that failed."""
        lines = [f"{self.name}: {self.outbox.stats()} shards {dict(self.broker.stats())}"]
        now = asyncio.get_running_loop().time()
        for number, work in enumerate(self.outbox._works):
            courier, task = work.courier, self.outbox._tasks[number]
            lines.append(
                f"  {number}: held {work.held} chosen {work._chosen} after {work._after!r}"
                f" known {work._known} told {len(work.told)} remembered {len(work._remembered)}"
                f" owes {work._owes} in hand {len(work._in_hand)} there {work.waiting_there}"
                f" beat {work._next_beat - now:+.2f}s courier: waiting {courier.waiting}"
                f" may {courier._may.is_set()} until {courier._until - now:+.2f}s task done {task.done()}"
            )
        return "\n".join(lines)

    def note(self, key: str, number: int) -> str:
        """Tell of something; return the id of the notice."""
        id_ = f"{key}-{number}"
        notice = make_notice("subscribed", key, {"channel": key}, id_=id_, time_ms=self._wall_ms())
        self.outbox.tell(Told(Did.NOTICE, key, notice.encode()))
        return id_

    def occupy(self, channel: str) -> None:
        """Tell that the first subscriber is here."""
        id_, fields = f"n_{self._random_id()}", {"channel": channel}
        notice = make_notice("channel_occupied", channel, fields, id_=id_, time_ms=self._wall_ms())
        self.outbox.tell(Told(Did.OCCUPY, channel, notice.encode()))

    def vacate(self, channel: str) -> None:
        """Tell that the last one has left."""
        self.outbox.tell(Told(Did.VACATE, channel))

    async def kill(self) -> None:
        """Do nothing more, without a word."""
        for task in self.outbox._tasks:
            task.cancel()
        for work in self.outbox._works:
            await work.courier.stop()
        await self.broker.stop()


@asynccontextmanager
async def outbox_nodes(
    url: str, listener: Listener, options: OutboxOptions = OPTIONS
) -> AsyncIterator[Callable[[str], OutboxNode]]:
    """Give what makes nodes around one Redis; each has to be started by `begin`."""
    prefix, nodes = fresh_prefix(), list[OutboxNode]()

    def make(name: str) -> OutboxNode:
        broker = make_broker(BrokerOptions(prefix=prefix), url=url, redis=QUICK)
        nodes.append(OutboxNode(name, broker, listener, options))
        return nodes[-1]

    try:
        yield make
    finally:
        for node in nodes:
            await node.outbox.stop()
            await node.broker.stop()


async def begin(*nodes: OutboxNode) -> Sequence[OutboxNode]:
    """Start nodes."""
    for node in nodes:
        await node.broker.start(RecordingRelay())
        await node.outbox.start()
    return nodes
