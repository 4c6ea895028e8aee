"""The simulated Redis does what the Lua scripts do on a real one; and what nodes make of its faults."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from functools import partial
from random import Random
from typing import Any

import pytest

from gateway.broker.interface import ChannelOptions, PublishResult
from gateway.broker.redis.broker import BrokerOptions, RedisBroker
from gateway.broker.redis.commands import load_script
from gateway.broker.redis.names import ChannelKeys, Names
from gateway.broker.redis.shard import Shard
from gateway.broker.redis.sharding import Sharding
from gateway.errors import BrokerError, OutcomeUnknownError
from gateway.message.publication import Position, Publication
from tests.support.redis_broker import fresh_prefix, shared_server
from tests.support.simulated import SimulatedTime, settle
from tests.support.simulated_logs import SimulatedLogs
from tests.support.simulated_redis import SimulatedRedis, SimulatedShard
from tests.unit.broker.harness import RecordingRelay, message

OPERATIONS = 1500


def random_call(random: Random, names: Names) -> tuple[str, list[bytes], list[bytes | int]]:
    """Return a script with arguments that are likely to meet what earlier ones did."""
    keys = names.channel(random.choice("ab"))
    epoch = f"e{random.randint(1, 10**9)}".encode()
    bounds: list[bytes | int] = [
        random.choice((0, 3, 5, 40)),
        random.choice((0, 50, 200)),
        random.choice((0, 10**7)),
    ]
    owner, client = random.choice((b"n1", b"n2")), random.choice((b"c1", b"c2", b"c3"))
    kind = random.choices(
        (
            "publish",
            "position",
            "history",
            "renew",
            "join",
            "leave",
            "reap",
            "members",
            "lease",
            "bury",
            "call",
            "hold",
            "release",
            "take",
            "state",
            "update",
        ),
        (30, 5, 25, 2, 10, 5, 2, 5, 4, 1, 5, 4, 4, 4, 5, 15),
    )[0]
    life: list[bytes | int] = [epoch, 10**7]
    if kind == "publish":
        call_keys: list[bytes] = [*keys[:3]]
        args: list[bytes | int] = [*life, *bounds, 10**7]
        for _ in range(random.randint(1, 20)):
            place = 0
            if random.random() < 0.3:
                call_keys.append(keys.idempotency(f"k{random.randint(1, 30)}"))
                place = len(call_keys) - 3
            args += [b"\xc4\x01" + random.randbytes(1), random.choice((10, 30, 60)), place]
        return kind, call_keys, args
    if kind in ("state", "update"):
        call_keys = [*keys[:2]] if kind == "state" else [*keys[:3]]
        return kind, call_keys, random_update(random, keys, kind, call_keys, [*life, *bounds, 10**7])
    if kind == "history":
        mode = random.choice((b"since", b"next", b"before"))
        args = [*life, *bounds, mode, b"?", random.randint(-1, 60), random.randint(0, 30)]
        return kind, [*keys[:2]], args
    if kind in ("join", "leave", "reap", "members"):
        more: dict[str, list[bytes | int]] = {
            "join": [
                owner,
                client,
                b"\xa1" + client[1:],
                random.choice((0, 1)),
                random.choice((b"", b"a", b"bob")),
            ],
            "leave": [client],
            "reap": [owner],
            "members": [],
        }
        return kind, [keys.presence, keys.pubsub], more[kind]
    if kind in ("lease", "bury"):
        lease: list[bytes | int] = [owner, 10**7, 1] if kind == "lease" else [owner]
        return kind, [names.leases, names.claims, names.graves], lease
    if kind == "call":
        command = random.choice(([b"SET", b"x", b"PX", 10**7], [b"GETDEL"], [b"DEL"]))
        return kind, [names.session("s")], [*command]
    if kind in ("hold", "release", "take"):
        session: list[bytes | int] = [random.choice((b"s1", b"s2"))]
        held: dict[str, list[bytes | int]] = {
            "hold": [10**7, *session, client, random.choice((b"{}", b"{1 2}"))],
            "release": [*session, client],
            "take": session,
        }
        return kind, [names.held(owner.decode())], held[kind]
    if kind == "position":
        return kind, [*keys[:2]], life
    return kind, [*keys[:3]], [*life, b"?"]


def random_update(
    random: Random, keys: ChannelKeys, kind: str, call_keys: list[bytes], args: list[bytes | int]
) -> list[bytes | int]:
    """Return the arguments that follow those of a publish; half of the time there is an idempotency key."""
    keyed = random.random() < 0.5
    if keyed:
        call_keys.append(keys.idempotency(f"k{random.randint(1, 30)}"))
    if kind == "state":
        return args[:2]
    follows = b'{"n":%d}' % random.randint(0, 99)
    patch = b"\xc4\x01" + random.randbytes(1)
    return [*args, patch, random.choice((10, 60)), int(keyed), b"?", b"top", follows]


@pytest.mark.parametrize("seed", [1, 2])
async def test_simulated_redis_does_what_the_scripts_do(seed: int) -> None:
    random, server, simulated = Random(seed), shared_server(), SimulatedRedis()  # noqa: S311
    names = Names(fresh_prefix())
    epochs: dict[bytes, bytes] = {}
    outcomes: Counter[str] = Counter()
    for n in range(OPERATIONS):
        if random.random() < 0.005:
            simulated.promote()
        if random.random() < 0.02:
            simulated.restart()
        name, keys, args = random_call(random, names)
        known = epochs.get(keys[0], b"none") if random.random() < 0.9 else b"other"
        top = simulated.data.values.get(keys[0], {}).get("o", 0) if b"top" in args else 0
        top += random.random() < 0.2
        args = [known if arg == b"?" else int(top) if arg == b"top" else arg for arg in args]
        expected = simulated.execute(name, keys, args)
        # What the real one would publish is appended to a list instead.
        source = load_script(name).source
        found = server.ask("EVAL", source, len(keys), *keys, simulated.incarnation, "RPUSH", *args)
        if name == "members":
            found = sorted(value for value in found if b" " in value)
            expected = sorted(expected)
        assert found == expected, f"{name} {keys} {args}, operation {n}"
        if name in ("publish", "position", "history", "renew", "state"):
            epochs[keys[0]] = expected[0]
        if name == "update":
            outcomes["stale" if expected[0] == 0 else "known" if type(expected[1]) is bytes else "done"] += 1
    assert min(outcomes[kind] for kind in ("stale", "known", "done")) > 10, outcomes
    for channel in {channel for channel, _ in simulated.published}:
        sent = [payload for name, payload in simulated.published if name == channel]
        assert server.ask("LRANGE", channel, 0, -1) == sent
    assert len(simulated.published) > OPERATIONS / 4


# -- whole brokers, and faults in any order -------------------------------------------------------------

KEPT = ChannelOptions(history_size=100, history_bytes=0, history_ttl_s=1000.0)
NOT_KEPT = ChannelOptions(history_size=0)
CHANNELS = {"kept": KEPT, "plain": NOT_KEPT}


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


def sharding_of(shard: SimulatedShard) -> Sharding[Shard]:
    return Sharding([(shard.name, shard)])


class Stage:
    """Three brokers on one simulated Redis; a seed decides everything that happens."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311
        self.time = SimulatedTime()
        self.redis = SimulatedRedis()
        self.ids = iter(range(1, 10**9))
        self.shards: list[SimulatedShard] = []
        self.brokers: list[RedisBroker] = []
        self.relays: list[ListeningNode] = []
        self.published: dict[str, tuple[str, asyncio.Task[PublishResult]]] = {}
        self.older = self.redis.snapshot()
        keeps = {name: options.history_size for name, options in CHANNELS.items()}
        self.logs = SimulatedLogs(seed, keeps, lambda: self.time.now)

    async def start(self) -> None:
        for _ in range(3):
            shard = SimulatedShard(self.redis, at_once=True)
            broker = RedisBroker(
                make_shards=partial(sharding_of, shard),
                options=BrokerOptions(check_interval_s=1.0),
                loop=self.time.loop,
                random_id=lambda: f"id{next(self.ids)}",
            )
            relay = ListeningNode(f"n{len(self.relays)}", self.logs)
            await broker.start(relay)
            for name, options in CHANNELS.items():
                relay.position[name] = await broker.subscribe(name, options)
            self.logs.connected(relay.name, relay.position.items())
            shard.at_once = False
            self.shards.append(shard)
            self.brokers.append(broker)
            self.relays.append(relay)

    def publish(self, channel: str = "") -> None:
        broker = self.random.choice(self.brokers)
        channel = channel or self.random.choice(list(CHANNELS))
        name = f"m{next(self.ids)}"
        self.logs.intent(channel, name)
        task = asyncio.ensure_future(broker.publish(channel, message(name), CHANNELS[channel], key=name))
        self.note_outcome(name, task)
        self.published[name] = (channel, task)

    def note_outcome(self, name: str, task: asyncio.Task[PublishResult]) -> None:
        task.add_done_callback(lambda done: self.logs.outcome(name, done.exception() or done.result()))

    def move(self) -> None:
        shard = self.random.choice(self.shards)
        self.random.choice((shard.execute, shard.reply, shard.deliver))()

    def fault(self, kinds: str) -> None:
        shard, kind = self.random.choice(self.shards), self.random.choice(kinds)
        if kind == "c" and shard.commands_up:
            shard.cut_commands(self.random)
        elif kind == "p" and shard.pubsub_up:
            shard.cut_pubsub()
        elif kind == "l":
            shard.lose_message()
        elif kind in "wfb":
            self.restart_server(kind)

    def restart_server(self, kind: str) -> None:
        """Kill the server: every connection breaks; it comes back without data, promoted, or with older
        data.
        """
        for shard in self.shards:
            if shard.commands_up:
                shard.cut_commands(self.random)
            if shard.pubsub_up:
                shard.cut_pubsub()
        if kind == "w":
            self.redis.lose_all()
        elif kind == "f":
            self.redis.go_back(self.older)
            self.redis.promote()
        else:
            self.redis.go_back(self.older)
        self.older = self.redis.snapshot()

    def mend(self) -> None:
        for shard in self.shards:
            if not shard.commands_up:
                shard.mend_commands()
            if not shard.pubsub_up:
                shard.mend_pubsub()

    async def run(self, steps: int, faults: str) -> None:
        for _ in range(steps):
            chance = self.random.random()
            if chance < 0.1:
                self.publish()
            elif chance < 0.13 and faults:
                self.fault(faults)
            elif chance < 0.16:
                self.mend()
            elif chance < 0.165:
                self.older = self.redis.snapshot()
            elif chance < 0.2:
                self.pass_time(0.3)
            else:
                self.move()
            await settle(2)

    def pass_time(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.redis.now_ms += int(seconds * 1000)
        for broker in self.brokers:
            broker.sweep()

    async def heal(self) -> None:
        """Mend everything, and let it settle: positions are compared, what is missing is fetched."""
        for _ in range(12):
            self.mend()
            self.pass_time(1.1)
            for _ in range(60):
                for shard in self.shards:
                    shard.execute()
                    shard.reply()
                    shard.deliver()
                await settle(2)

    def repeat_unknown(self) -> list[asyncio.Task[PublishResult]]:
        """Publish again, with the same key, whatever is not known to have happened."""
        repeated = []
        for name, (channel, task) in list(self.published.items()):
            if isinstance(task.exception(), OutcomeUnknownError):
                again = self.brokers[0].publish(channel, message(name), CHANNELS[channel], key=name)
                repeated.append(asyncio.ensure_future(again))
                self.note_outcome(name, repeated[-1])
                self.published[name] = (channel, repeated[-1])
        return repeated

    async def stop(self) -> None:
        for shard in self.shards:
            shard.at_once = True
        for broker in self.brokers:
            await broker.stop()


@pytest.mark.parametrize(
    ("faults", "seeds"),
    [("", 3), ("p", 10), ("cp", 10), ("cpl", 15), ("cplw", 15), ("cplwf", 15), ("cplwfb", 15), ("b", 60)],
    ids=["none", "pubsub", "cuts", "losses", "wipes", "promotions", "counts_back", "counts_back_alone"],
)
async def test_nodes_hear_everything_once_in_order_or_are_told(faults: str, seeds: int) -> None:
    for seed in range(seeds):
        stage = Stage(seed)
        await stage.start()
        await stage.run(400, faults)
        stage.logs.healed()
        await stage.heal()
        repeated = stage.repeat_unknown()
        await stage.heal()
        for channel in CHANNELS:  # the head, where everybody has to be
            stage.publish(channel)
        await stage.heal()
        await stage.stop()
        assert all(task.exception() is None for task in repeated)
        check(stage, faults, f"seed {seed}")
        if "b" not in faults:  # else an offset may be two messages, before anybody knows
            stage.logs.epochs_change = bool(set("wf") & set(faults))
            assert stage.logs.judge() == [], f"seed {seed}"


def check_lives_that_go_on(stage: Stage, names_of: dict[tuple[str, Position], set[str]], what: str) -> None:
    """What a server lost, and did not say so, can be used twice, but not in a life that goes on."""
    for (channel, position), names in names_of.items():
        if position.epoch == stage.relays[0].position[channel].epoch:
            assert len(names) == 1, f"{what}: {position} of {channel} is {names}"


def check(stage: Stage, faults: str, what: str) -> None:
    assert [relay.broken for relay in stage.relays] == [[], [], []], what
    tops: dict[str, set[Any]] = {name: {relay.position[name] for relay in stage.relays} for name in CHANNELS}
    for name, positions in tops.items():
        assert len(positions) == 1, f"{what}: nodes stand at {positions} of {name}"
    names_of: dict[tuple[str, Position], set[str]] = defaultdict(set)
    for relay in stage.relays:
        for channel, seen in relay.seen.items():
            for position, name in seen.items():
                names_of[channel, position].add(name)
    if (
        "b" not in faults
    ):  # a server that goes back and does not say so uses offsets twice before anybody knows
        assert all(len(names) == 1 for names in names_of.values()), what
    check_lives_that_go_on(stage, names_of, what)
    for name, (channel, task) in stage.published.items():
        assert task.done(), f"{what}: {name} was never answered"
        if task.exception() is not None:
            assert isinstance(task.exception(), BrokerError)
            continue
        at = Position(task.result().epoch, task.result().offset)
        if not set("wfb") & set(faults):
            assert names_of.get((channel, at), {name}) == {name}, what
            assert [(c, p) for (c, p), names in names_of.items() if name in names] in ([], [(channel, at)]), (
                what
            )
    if not faults:
        assert all(relay.told == [] for relay in stage.relays), what
        assert all(len(relay.seen["kept"]) == len(stage.relays[0].seen["kept"]) for relay in stage.relays)
    if faults in ("p", "cp"):  # at most a few messages at a time are missed: history has them all
        assert all("kept" not in relay.told for relay in stage.relays), what
