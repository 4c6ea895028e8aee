"""The memory broker against a plain model: lists searched from end to end, in simulated time."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.broker.interface import ChannelOptions, HistoryPage, PresenceChange
from gateway.broker.log import ENTRY_BYTES
from gateway.broker.memory import MemoryBroker
from gateway.errors import BrokerUnavailableError
from gateway.message.publication import Member, Position, Publication
from tests.unit.broker.harness import RecordingRelay, message

IDLE_S = 4.0
MAX_KEYS = 4
OPTIONS = {
    "plain": ChannelOptions(history_size=0, idempotency_ttl_s=3.0),
    "few": ChannelOptions(history_size=3, history_ttl_s=1000.0, idempotency_ttl_s=10.0, presence=True),
    "brief": ChannelOptions(history_size=100, history_ttl_s=5.0, idempotency_ttl_s=2.0, presence=True),
    "small": ChannelOptions(
        history_size=100, history_bytes=3 * ENTRY_BYTES + 30, history_ttl_s=8.0, presence=True
    ),
}
names = st.sampled_from(sorted(OPTIONS))
clients = st.sampled_from(["c1", "c2", "c3"])
Result = TypeVar("Result")


@dataclass
class ModelChannel:
    """One life of a channel: everything ever published in it, and who is there."""

    epoch: str
    used_s: float
    published: list[tuple[float, Publication]] = field(default_factory=list)
    interested: bool = False
    members: dict[str, Member] = field(default_factory=dict)


@dataclass
class ModelKey:
    channel: str
    key: str
    until_s: float
    offset: int


class BrokerMachine(RuleBasedStateMachine):
    """Does the same to broker and model, and compares every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        ids = count(1)
        self.relay = RecordingRelay()
        self.broker = MemoryBroker(
            clock=lambda: self.now_s,
            random_id=lambda: f"e{next(ids)}",
            idle_s=IDLE_S,
            max_keys=MAX_KEYS,
        )
        self.channels: dict[str, ModelChannel] = {}
        self.keys: list[ModelKey] = []
        self.delivered: list[tuple[str, str, Publication]] = []
        self.changes: list[tuple[str, PresenceChange]] = []
        self.epochs_seen: set[str] = set()
        self.serial = 0
        self.run(self.broker.start(self.relay))

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Drive a coroutine that never suspends."""
        try:
            coroutine.send(None)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        raise AssertionError("the coroutine suspended")

    def kept(self, name: str) -> list[Publication]:
        """Return what history holds now, found the slow way: the longest tail within every bound."""
        options, tail, size = OPTIONS[name], list[Publication](), 0
        for arrived_s, publication in reversed(self.channels[name].published):
            size += len(publication.data) + ENTRY_BYTES
            too_old = arrived_s + options.history_ttl_s <= self.now_s
            if too_old or size > options.history_bytes or len(tail) >= options.history_size:
                break
            tail.insert(0, publication)
        return tail

    def use(self, name: str, epoch: str) -> ModelChannel:
        """Return the model's channel; a new one must have an epoch that was never seen."""
        channel = self.channels.get(name)
        if channel is None:
            assert epoch not in self.epochs_seen
            channel = self.channels[name] = ModelChannel(epoch, self.now_s)
        self.epochs_seen.add(epoch)
        assert channel.epoch == epoch
        channel.used_s = self.now_s
        return channel

    def live_keys(self) -> list[ModelKey]:
        return [key for key in self.keys if self.now_s < key.until_s]

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0, 3.0, 5.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(name=names, size=st.integers(0, 40) | st.just(3 * ENTRY_BYTES))
    def publish(self, name: str, size: int) -> None:
        self.serial += 1
        publication = message(f"{self.serial}:" + "y" * size)
        result = self.run(self.broker.publish(name, publication, OPTIONS[name]))
        assert not result.duplicate
        self.published(name, result.epoch, result.offset, publication)

    def published(self, name: str, epoch: str, offset: int, publication: Publication) -> None:
        channel = self.use(name, epoch)
        assert offset == len(channel.published) + 1
        numbered = message(publication.id, offset=offset)
        channel.published.append((self.now_s, numbered))
        if channel.interested:
            self.delivered.append((name, epoch, numbered))

    @rule(name=names, key=st.sampled_from(["k1", "k2", "k3"]))
    def publish_with_key(self, name: str, key: str) -> None:
        self.serial += 1
        publication = message(f"{self.serial}")
        known = [k for k in self.live_keys() if (k.channel, k.key) == (name, key)]
        try:
            result = self.run(self.broker.publish(name, publication, OPTIONS[name], key=key))
        except BrokerUnavailableError:
            assert not known
            assert len(self.live_keys()) == MAX_KEYS
            return
        if known:
            assert result == (self.channels[name].epoch, known[0].offset, True)
            return
        assert not result.duplicate
        assert len(self.live_keys()) < MAX_KEYS
        until_s = self.now_s + OPTIONS[name].idempotency_ttl_s
        self.keys.append(ModelKey(name, key, until_s, result.offset))
        self.published(name, result.epoch, result.offset, publication)

    @rule(name=names)
    def subscribe(self, name: str) -> None:
        position = self.run(self.broker.subscribe(name, OPTIONS[name]))
        channel = self.use(name, position.epoch)
        assert position.offset == len(channel.published)
        channel.interested = True

    @rule(name=names)
    def unsubscribe(self, name: str) -> None:
        self.run(self.broker.unsubscribe(name))
        channel = self.channels.get(name)
        if channel is not None and channel.interested:
            channel.interested = False
            channel.used_s = self.now_s

    @rule(name=names, back=st.integers(-1, 8), limit=st.integers(0, 6), other=st.booleans())
    def history(self, name: str, back: int, limit: int, other: bool) -> None:
        known = self.channels.get(name)
        epoch = known.epoch if known is not None and not other else "other"
        offset = (len(known.published) if known is not None else 0) - back
        page = self.run(self.broker.history(name, OPTIONS[name], since=Position(epoch, offset), limit=limit))
        channel = self.read(name, page)
        kept = self.kept(name)
        following = [publication for publication in kept if publication.offset > offset]
        right = epoch == channel.epoch and 0 <= back <= min(limit, len(kept))
        assert (page.publications, page.complete) == (following if right else [], right)

    @rule(name=names, back=st.integers(0, 8), limit=st.integers(0, 6), newest=st.booleans())
    def history_before(self, name: str, back: int, limit: int, newest: bool) -> None:
        known = self.channels.get(name)
        before = 0 if newest else max(1, (len(known.published) if known is not None else 0) + 2 - back)
        page = self.run(self.broker.history_before(name, OPTIONS[name], before=before, limit=limit))
        self.read(name, page)
        below = [publication for publication in self.kept(name) if newest or publication.offset < before]
        assert page.publications == (below[-limit:] if limit else [])
        assert page.complete == (len(below) <= limit)

    def read(self, name: str, page: HistoryPage) -> ModelChannel:
        channel = self.use(name, page.top.epoch)
        assert page.top.offset == len(channel.published)
        return channel

    @rule(name=names, client=clients, user=st.sampled_from(["u", "v"]))
    def join(self, name: str, client: str, user: str) -> None:
        member = Member(client=client, user=user)
        self.run(self.broker.join(name, member, OPTIONS[name]))
        if not OPTIONS[name].presence:
            return
        # join does not say the epoch; a read, which is a use as well, does
        page = self.run(self.broker.history_before(name, OPTIONS[name], before=0, limit=0))
        channel = self.use(name, page.top.epoch)
        if client not in channel.members and channel.interested:
            self.changes.append((name, PresenceChange(joined=True, member=member)))
        channel.members[client] = member

    @rule(name=names, client=clients)
    def leave(self, name: str, client: str) -> None:
        self.run(self.broker.leave(name, client, OPTIONS[name]))
        channel = self.channels.get(name)
        if channel is None or client not in channel.members:
            return
        member = channel.members.pop(client)
        if not channel.members:
            channel.used_s = self.now_s
        if channel.interested:
            self.changes.append((name, PresenceChange(joined=False, member=member)))

    @precondition(lambda self: self.channels)
    @rule()
    def sweep(self) -> None:
        while self.broker.sweep(limit=2):
            pass
        for name, channel in list(self.channels.items()):
            keyed = any(key.channel == name for key in self.live_keys())
            idle = channel.used_s + IDLE_S <= self.now_s
            if idle and not (channel.interested or channel.members or keyed or self.kept(name)):
                del self.channels[name]
        stats = self.broker.stats()
        assert stats["channels"] == len(self.channels)
        assert stats["keys"] == len(self.live_keys())
        kept = [publication for name in self.channels for publication in self.kept(name)]
        assert stats["publications"] == len(kept)
        assert stats["history_bytes"] == sum(len(p.data) + ENTRY_BYTES for p in kept)

    @invariant()
    def relay_heard_exactly_what_it_should(self) -> None:
        assert self.relay.publications == self.delivered
        assert self.relay.changes == self.changes

    @invariant()
    def presence_is_right(self) -> None:
        for name, options in OPTIONS.items():
            channel = self.channels.get(name)
            expected = list(channel.members.values()) if channel is not None else []
            assert self.run(self.broker.presence(name, options)) == expected
        members = sum(len(channel.members) for channel in self.channels.values())
        assert self.broker.stats()["members"] == members


BrokerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBrokerMachine = BrokerMachine.TestCase
