"""Three brokers on one simulated Redis; a seed decides everything that happens.

Faults are letters:

    c  a connection for commands breaks, some of which are carried out     k  a node is killed; another comes
    p  a connection for pub/sub breaks                                     s  a node hears and reaches nobody
    l  a message is lost, and nobody notices                                  for a while
    w  Redis comes back without data          f  a replica takes over that lacks the end
    b  Redis comes back without the end, and does not say so; with k, every second time, it and all nodes

It knows brokers and what they are told, nothing of right and wrong: that is `verdict`'s.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random

from gateway.broker.interface import ChannelOptions, PublishResult
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.shard import Shard
from gateway.broker.redis.sharding import Sharding
from gateway.errors import OutcomeUnknownError
from gateway.message.publication import Position, Publication
from tests.simulated.logs import SimulatedLogs
from tests.simulated.loop import SimulatedLoop
from tests.simulated.redis import SimulatedRedis, SimulatedShard
from tests.unit.broker.harness import RecordingRelay, message

KEPT = ChannelOptions(history_size=100, history_bytes=0, history_ttl_s=1000.0, presence=True)
NOT_KEPT = ChannelOptions(history_size=0)
CHANNELS = {"kept": KEPT, "plain": NOT_KEPT}
NODES = 3
LEASE_S = 2.0
SESSION_TTL_S = 1000.0
_MOST_ROUNDS = 5000


class ListeningNode(RecordingRelay):
    """A node that holds what it is told to the promise: no hole and no repetition that is not announced."""

    def __init__(self, name: str, logs: SimulatedLogs) -> None:
        super().__init__()
        self.name, self.logs = name, logs
        self.position: dict[str, Position] = {}
        self.seen: dict[str, dict[Position, str]] = defaultdict(dict)
        self.told: list[str] = []
        self.broken: list[str] = []

    def on_publications(self, channel: str, epoch: str, publications: list[Publication]) -> None:
        for publication in publications:
            at = self.position.get(channel)
            if at is not None:
                self.logs.heard(self.name, channel, at, epoch, publication)
            if at is not None and at.epoch == epoch:
                if publication.offset != at.offset + 1:
                    self.broken.append(f"{channel}: {publication.offset} after {at}")
            elif at is not None and publication.offset != 1:
                self.broken.append(f"{channel}: {epoch} begins with {publication.offset}")
            self.position[channel] = Position(epoch, publication.offset)
            self.seen[channel][Position(epoch, publication.offset)] = publication.id

    def on_position(self, channel: str, epoch: str, offset: int) -> None:
        at = self.position.get(channel)
        if at is not None:
            self.logs.lost(self.name, channel, at, Position(epoch, offset))
        if at is not None and at.epoch == epoch and offset <= at.offset:
            self.broken.append(f"{channel}: nothing is lost up to {offset} after {at}")
        self.told.append(channel)
        self.position[channel] = Position(epoch, offset)


class Node:
    """A broker, its relay, and its connections.  It reaches nobody for `stalled` more steps."""

    def __init__(self, name: str, broker: RedisBroker, shard: SimulatedShard, relay: ListeningNode) -> None:
        self.name, self.broker, self.shard, self.relay = name, broker, shard, relay
        self.stalled = 0
        self.begun_at = 0  # in `SimulatedRedis.published`


class Stage:
    """What there is, and what can happen to it.

    `on_holds_lost` is called when a node's sessions are to be held anew, `on_kill` when a node was killed.
    """

    def __init__(self, seed: int, loop: SimulatedLoop) -> None:
        self.random = Random(seed)  # noqa: S311
        self.loop = loop
        self.redis = SimulatedRedis()
        self.ids = 0
        self.nodes: list[Node] = []
        self.gone: list[Node] = []
        self.published: dict[str, tuple[str, asyncio.Task[PublishResult]]] = {}
        self.older = self.redis.snapshot()
        keeps = {name: options.history_size for name, options in CHANNELS.items()}
        self.logs = SimulatedLogs(seed, keeps, lambda: loop.now_s)
        self.on_holds_lost: Callable[[Node], None] = lambda node: None
        self.on_kill: Callable[[Node], None] = lambda node: None
        for _ in range(NODES):
            self.add_node()

    def fresh_id(self) -> str:
        """Return a name that nobody has."""
        self.ids += 1
        return f"id{self.ids}"

    # -- nodes ----------------------------------------------------------------------------------

    def add_node(self) -> Node:
        """Start a node that hears every channel."""
        shard = SimulatedShard(self.redis, at_once=True)
        broker = RedisBroker(
            make_shards=lambda: sharding_of(shard),
            options=BrokerOptions(check_interval_s=1.0, lease_s=LEASE_S, idle_s=5000.0),
            loop=self.loop.loop,
            random_id=self.fresh_id,
        )
        broker.session_ttl_s = SESSION_TTL_S
        number = len(self.nodes) + len(self.gone)
        node = Node(f"n{number}", broker, shard, ListeningNode(f"n{number}", self.logs))
        broker.on_holds_lost = lambda: self.on_holds_lost(node)
        self.nodes.append(node)
        self.loop.run(self._start(node))
        self.logs.connected(node.name, node.relay.position.items())
        shard.at_once = False
        return node

    async def _start(self, node: Node) -> None:
        await node.broker.start(node.relay)
        for name, options in CHANNELS.items():
            node.relay.position[name] = await node.broker.subscribe(name, options)
        node.begun_at = len(self.redis.published)

    def kill(self, node: Node) -> None:
        """End a node without a word."""
        node.shard.at_once = False
        if node.shard.commands_up:
            node.shard.cut_commands(self.random)
        self.logs.left(node.name)
        self.nodes.remove(node)
        self.gone.append(node)
        self.on_kill(node)
        self.loop.run(node.shard.stop())
        self.loop.create_task(node.broker.stop())

    # -- what happens ---------------------------------------------------------------------------

    def publish(self, channel: str = "") -> None:
        """Publish a message at some node, with its own name as key."""
        broker = self.random.choice(self.nodes).broker
        channel = channel or self.random.choice(list(CHANNELS))
        name = f"m{self.fresh_id()}"
        self.logs.intent(channel, name)
        task = self.loop.create_task(broker.publish(channel, message(name), CHANNELS[channel], key=name))
        self.note_outcome(name, task)
        self.published[name] = (channel, task)

    def note_outcome(self, name: str, task: asyncio.Task[PublishResult]) -> None:
        """Write down what became of a message."""
        task.add_done_callback(lambda done: self.logs.outcome(name, done.exception() or done.result()))

    def move(self) -> None:
        """Let one command, reply or message get through."""
        shard = self.random.choice(self.nodes).shard
        kind = self.random.randrange(3)
        (shard.execute, shard.reply, shard.deliver)[kind]()

    def fault(self, kinds: str) -> None:
        """Break something."""
        node, kind = self.random.choice(self.nodes), self.random.choice(kinds)
        if kind == "c" and node.shard.commands_up:
            node.shard.cut_commands(self.random)
        elif kind == "p" and node.shard.pubsub_up:
            node.shard.cut_pubsub()
        elif kind == "l":
            node.shard.lose_message()
        elif kind == "s":
            node.stalled, node.shard.stalled = self.random.randint(20, 300), True
        elif kind == "k" and self.random.random() < 0.5:
            self.kill(node)
            self.add_node()
        elif kind in "wfb":
            site = kind == "b" and "k" in kinds and self.random.random() < 0.5
            self.restart_server(kind, site=site)

    def restart_server(self, kind: str, *, site: bool = False) -> None:
        """Kill the server: every connection breaks; it comes back without data, promoted, or with older
        data.  With `site` every node is killed as well: nobody is left who had heard what is lost.
        """
        killed = list(self.nodes) if site else []
        for node in killed:
            self.kill(node)
        for node in self.nodes:
            if node.shard.commands_up:
                node.shard.cut_commands(self.random)
            if node.shard.pubsub_up:
                node.shard.cut_pubsub()
        if kind == "w":
            self.redis.lose_all()
        else:
            self.redis.go_back(self.older)
        if kind == "f":
            self.redis.promote()
        for _ in killed:
            self.add_node()
        self.older = self.redis.snapshot()

    def mend(self) -> None:
        """Connect everybody again who is not."""
        for node in self.nodes:
            if not node.shard.commands_up:
                node.shard.mend_commands()
            if not node.shard.pubsub_up:
                node.shard.mend_pubsub()

    def step(self, faults: str) -> None:
        """Do one thing, and let the loop turn twice: more may follow from it, and may not yet have."""
        for node in self.nodes:
            if node.stalled:
                node.stalled -= 1
                node.shard.stalled = node.stalled > 0
        chance = self.random.random()
        if chance < 0.1:
            self.publish()
        elif chance < 0.13:
            if faults:
                self.fault(faults)
        elif chance < 0.16:
            self.mend()
        elif chance < 0.165:
            self.older = self.redis.snapshot()
        elif chance < 0.2:
            self.pass_time(0.3)
        else:
            self.move()
        self.loop.turn()
        self.loop.turn()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for nodes and for the server."""
        self.loop.advance(seconds)
        self.redis.now_ms += int(seconds * 1000)
        for node in self.nodes:
            node.broker.sweep()

    # -- the end --------------------------------------------------------------------------------

    def heal(self, rounds: int = 12) -> None:
        """Mend everything, and let it settle: positions are compared, what is missing is fetched."""
        for node in self.nodes:
            node.stalled, node.shard.stalled = 0, False
        for _ in range(rounds):
            self.mend()
            self.pass_time(1.1)
            self.rest()

    def rest(self) -> None:
        """Let everything get through that is on its way, and what follows from it."""
        for _ in range(_MOST_ROUNDS):
            moved = [node.shard.move() for node in self.nodes]
            self.loop.settle()
            if not any(moved):
                return
        raise AssertionError("it does not come to rest")

    def repeat_unknown(self) -> list[asyncio.Task[PublishResult]]:
        """Publish again, with the same key, whatever is not known to have happened."""
        repeated = []
        for name, (channel, task) in list(self.published.items()):
            if isinstance(task.exception(), OutcomeUnknownError):
                again = self.nodes[0].broker.publish(channel, message(name), CHANNELS[channel], key=name)
                repeated.append(self.loop.create_task(again))
                self.note_outcome(name, repeated[-1])
                self.published[name] = (channel, repeated[-1])
        return repeated

    def stop(self) -> None:
        """End all nodes in good order."""
        for node in self.nodes:
            node.shard.at_once = True
            self.loop.run(node.broker.stop())


def sharding_of(shard: SimulatedShard) -> Sharding[Shard]:
    """Return a deployment of this one."""
    return Sharding([(shard.name, shard)])
