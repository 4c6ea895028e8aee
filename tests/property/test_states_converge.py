"""Many editors of one state, on several nodes and through disconnects and faults: all copies converge.

A seed decides everything that happens.  In the end every copy is what the broker has; and on the way nobody
ever had another value at a version than anybody else, and what was acknowledged is what that version says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

import orjson
import pytest

from gateway.broker import Broker, ChannelOptions
from gateway.broker.memory import MemoryBroker
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.shard import Shard
from gateway.broker.redis.sharding import Sharding
from gateway.hub.channel import RingOptions
from gateway.node import Node
from gateway.options import Namespace, NodeOptions
from tests.simulated.redis import SimulatedRedis, SimulatedShard
from tests.support.editors import CHANNEL, Editor
from tests.support.rfc7396 import merge_patch
from tests.support.simulated import SimulatedTime, settle

OPTIONS = ChannelOptions(
    history_size=4, history_bytes=0, history_ttl_s=1000.0, max_state_bytes=10_000, state_ttl_s=10_000.0
)
# A ring that holds a few patches, so that some who return are served by history, and some by neither.
NODE_OPTIONS = NodeOptions(
    namespaces={"doc": Namespace(broker=OPTIONS, ring=RingOptions(bound_bytes=1024, idle_s=1.0))}
)
EDITORS = 6
STEPS = 600


def sharding_of(shard: SimulatedShard) -> Sharding[Shard]:
    return Sharding([(shard.name, shard)])


class Stage:
    """Nodes and editors, in simulated time; nothing but disconnects happens to those."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311
        self.time = SimulatedTime()
        self.ids = count(1)
        self.nodes: list[Node] = []
        self.editors = [Editor(f"e{n}", self.random) for n in range(EDITORS)]

    def make_node(self, broker: Broker) -> Node:
        node = Node(
            broker=broker,
            options=NODE_OPTIONS,
            loop=self.time.loop,
            wall_ms=lambda: 1_764_000_000_000,
            random_id=self.random_id,
        )
        self.nodes.append(node)
        return node

    def random_id(self) -> str:
        return f"id{next(self.ids)}"

    async def start(self) -> None:
        """Start a node that is on its own."""
        await self.make_node(MemoryBroker(clock=self.time.time, random_id=self.random_id)).start()

    async def stop(self) -> None:
        for editor in self.editors:
            editor.disconnect()
        for node in self.nodes:
            await node.stop()

    async def run(self) -> None:
        for _ in range(STEPS):
            editor = self.random.choice(self.editors)
            if self.random.random() < 0.6:  # else it edits what is perhaps old
                editor.take()
            chance = self.random.random()
            if editor.client is None:
                if chance < 0.15:
                    editor.connect(self.random.choice(self.nodes))
            elif chance < 0.03:
                editor.disconnect()
            elif chance < 0.4:
                editor.edit()
            elif chance < 0.43:
                self.pass_time(0.3)
            else:
                self.happen()
            await settle(3)

    def happen(self) -> None:
        """Let something else happen."""

    def pass_time(self, seconds: float) -> None:
        self.time.advance(seconds)

    async def flow(self) -> None:
        """Let everything that is on its way arrive."""
        await settle(20)

    async def converge(self) -> None:
        """Bring everybody back, and let everything settle."""
        for _ in range(12):
            for editor in self.editors:
                editor.take()
                if editor.client is None:
                    editor.connect(self.random.choice(self.nodes))
            self.pass_time(1.1)
            await self.flow()

    async def check(self, what: str) -> None:
        """Raise AssertionError unless all copies are equal, and always were."""
        state = await self.nodes[0].state(CHANNEL)
        for editor in self.editors:
            editor.take()
            assert editor.pending is None, f"{what}: {editor.name} was not answered: {editor.pending}"
            assert editor.position == (state.epoch, state.version), f"{what}: {editor.name}"
            assert editor.value == orjson.loads(state.data), f"{what}: {editor.name}"
        agreed: dict[tuple[str, int], object] = {}
        for editor in self.editors:
            for position, value in editor.had.items():
                assert agreed.setdefault(position, value) == value, f"{what}: {position}"
        for editor in self.editors:
            for (epoch, version), patch in editor.done.items():
                before, after = (epoch, version - 1), (epoch, version)
                if before in agreed and after in agreed:
                    assert merge_patch(agreed[before], patch) == agreed[after], f"{what}: {after}"


class ClusterStage(Stage):
    """Two nodes on one simulated Redis, whose every command and message moves when the seed says so."""

    def __init__(self, seed: int, faults: str) -> None:
        super().__init__(seed)
        self.faults = faults
        self.redis = SimulatedRedis()
        self.shards: list[SimulatedShard] = []

    async def start(self) -> None:
        for _ in range(2):
            shard = SimulatedShard(self.redis, at_once=True)
            broker = RedisBroker(
                make_shards=partial(sharding_of, shard),
                options=BrokerOptions(check_interval_s=1.0),
                loop=self.time.loop,
                random_id=self.random_id,
            )
            await self.make_node(broker).start()
            shard.at_once = False
            self.shards.append(shard)

    async def check(self, what: str) -> None:
        for shard in self.shards:
            shard.at_once = True
        await super().check(what)

    def happen(self) -> None:
        shard, chance = self.random.choice(self.shards), self.random.random()
        if chance < 0.03 and self.faults:
            self.fault(shard, self.random.choice(self.faults))
        elif chance < 0.1:
            self.mend()
        else:
            for _ in range(6):
                shard = self.random.choice(self.shards)
                self.random.choice((shard.execute, shard.reply, shard.deliver))()

    def fault(self, shard: SimulatedShard, kind: str) -> None:
        if kind == "c" and shard.commands_up:
            shard.cut_commands(self.random)
        elif kind == "p" and shard.pubsub_up:
            shard.cut_pubsub()
        elif kind == "l":
            shard.lose_message()
        elif kind == "w" and self.random.random() < 0.3:
            for each in self.shards:
                if each.commands_up:
                    each.cut_commands(self.random)
                if each.pubsub_up:
                    each.cut_pubsub()
            self.random.choice((self.redis.lose_all, self.redis.promote))()

    def mend(self) -> None:
        for shard in self.shards:
            if not shard.commands_up:
                shard.mend_commands()
            if not shard.pubsub_up:
                shard.mend_pubsub()

    def pass_time(self, seconds: float) -> None:
        self.redis.now_ms += int(seconds * 1000)
        super().pass_time(seconds)

    async def flow(self) -> None:
        self.mend()
        for _ in range(60):
            for shard in self.shards:
                shard.execute()
                shard.reply()
                shard.deliver()
            await settle(3)


async def play(make: Callable[[int], Stage], seeds: int) -> list[Editor]:
    """Run stages; return all of their editors."""
    editors = []
    for seed in range(seeds):
        stage = make(seed)
        await stage.start()
        await stage.run()
        await stage.converge()
        await stage.check(f"seed {seed}")
        await stage.stop()
        editors += stage.editors
    return editors


def check_that_much_happened(editors: list[Editor]) -> None:
    """Else the test would say nothing."""
    seeds = len(editors) // EDITORS
    assert sum(len(editor.done) for editor in editors) > 15 * seeds
    assert sum(editor.stale for editor in editors) > 5 * seeds
    assert sum(editor.states for editor in editors) > EDITORS * seeds
    assert sum(editor.recoveries for editor in editors) > 2 * seeds


async def test_copies_converge_on_one_node() -> None:
    check_that_much_happened(await play(Stage, 10))


@pytest.mark.parametrize(
    "faults", ["", "p", "cp", "cpl", "cplw"], ids=["none", "pubsub", "cuts", "losses", "lives"]
)
async def test_copies_converge_on_two_nodes(faults: str) -> None:
    check_that_much_happened(await play(lambda seed: ClusterStage(seed, faults), 8))
