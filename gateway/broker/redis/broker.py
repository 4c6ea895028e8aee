"""The Redis broker: a `Broker` for gateways on several machines, over one Redis deployment or several.

Puts the parts together, and knows of connections only `Shard`.  How it works: everything of a channel is on
one shard, chosen by its name, where Lua scripts change it atomically and publish what nodes must hear
(`publish.lua` and its neighbours); a node hears the channels in which it is interested (`feeds`), holds its
members under a lease (`presence`), and asks other nodes (`questions`) by way of the first shard.

What always holds: what this node publishes comes back to it through Redis like everything else, so all nodes
see one order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ...eager import run_eagerly
from ...errors import BrokerError, BrokerUnavailableError, UsageError
from ...message.publication import Member, Position, Proof, Publication
from ..interface import ChannelOptions, Control, HistoryPage, Publisher, PublishResult, Relay, State
from ..outbox import OutboxOptions
from ..state import next_state
from ._group import Piece
from .commands import Commands
from .feeds import Feeds
from .gathering import Awaited, Gathering
from .held import HOLD_AT_ONCE, Held, HeldSessions
from .lanes import Lane
from .names import Names
from .presence import Presence
from .probing import Probing
from .proving import Proofs
from .questions import Questions
from .shard import Shard
from .sharding import Sharding

_STOP_S: Final = 2.0
_CONTROL: Final = "control"

_logger = logging.getLogger(__name__)
_unpack_control: Final = msgspec.msgpack.Decoder(Control).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """What a configuration says to the Redis broker.  Times in seconds."""

    prefix: str = "ringgate"
    lease_s: float = 10.0
    """After so long without a sign of a node, its members are taken out."""
    check_interval_s: float = 20.0
    """Within this time every channel is compared with Redis, whatever happened."""
    idle_s: float = 600.0
    """So long a channel that nobody uses keeps its epoch and count."""
    subscribe_timeout_s: float = 3.0
    ask_timeout_s: float = 1.0
    probe_timeout_s: float = 1.5


class Side:
    """All that this node has to do with one shard."""

    def __init__(
        self,
        shard: Shard,
        relay: Relay,
        options: BrokerOptions,
        *,
        node: str,
        loop: asyncio.AbstractEventLoop,
        random_id: Callable[[], str],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        clock: Callable[[], float],
        session_ttl_s: Callable[[], float],
        on_holds_lost: Callable[[], None],
    ) -> None:
        self.shard = shard
        self.commands = Commands(shard, Names(options.prefix), random_id, idle_s=options.idle_s)
        self.gathering = Gathering(self.commands)
        self.held = HeldSessions(
            self.commands, lease_s=options.lease_s, ttl_s=session_ttl_s, on_lost=on_holds_lost
        )
        self.presence = Presence(
            self.commands, node=node, loop=loop, spawn=spawn, lease_s=options.lease_s, held=self.held
        )
        self.feeds = Feeds(
            self.commands,
            relay,
            loop=loop,
            spawn=spawn,
            check_interval_s=options.check_interval_s,
            subscribe_timeout_s=options.subscribe_timeout_s,
            used=self.presence.rooms,
        )
        self.proofs = Proofs(self.commands, self.feeds.restarts, loop=loop, spawn=spawn)
        self._loop = loop
        self.probing = Probing(
            self.commands,
            node=node,
            loop=loop,
            clock=clock,
            timeout_s=options.probe_timeout_s,
            hear=self.hear,
        )

    async def start(self) -> None:
        """Connect.  Raises BrokerUnavailableError."""
        await self.shard.start(self.feeds)
        self.probing.listen()

    def hear(self, channel: bytes, take: Callable[[bytes], None] | None) -> None:
        """Have the messages of a pub/sub channel of the broker's own, or (None) no longer."""
        if take is None:
            self.feeds.others.pop(channel, None)
            self.shard.unsubscribe([channel])
        else:
            self.feeds.others[channel] = take
            self.shard.subscribe([channel])

    def healthy(self, within_s: float) -> bool:
        """Tell whether a probe came back from any of its servers within the last so many seconds."""
        return self._loop.time() - self.probing.answered_at < within_s

    def stats(self) -> Iterator[tuple[str, float]]:
        """Yield gauges and counters."""
        yield from self.shard.stats().items()
        yield from self.feeds.stats().items()
        yield from self.presence.counts.items()
        yield "members_here", self.presence.members
        yield "publish_calls", self.gathering.calls
        yield "history_reads", self.commands.history_reads
        yield "servers_unreachable", len(self.probing.unreachable)
        yield "round_trip_seconds", self.probing.round_trip_s
        yield "probe_age_seconds", self._loop.time() - self.probing.answered_at


class RedisBroker:
    """A `Broker` over one or more shards.

    `make_shards` returns shards that are not started, anew for each start.  `random_id` returns a text that
    no node ever returned before. `clock` measures round trips, which are shorter than a loop's
    clock may tell.  `on_question` answers what `gather` asks of this node; an empty answer is
    left out.  `session_ttl_s` says for how long lost sessions are kept.
    """

    def __init__(
        self,
        *,
        make_shards: Callable[[], Sharding[Shard]],
        options: BrokerOptions,
        loop: asyncio.AbstractEventLoop,
        random_id: Callable[[], str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.on_question: Callable[[str], bytes] = lambda what: b""
        self.on_holds_lost: Callable[[], None] = lambda: None
        self.session_ttl_s = 0.0
        self._make_shards = make_shards
        self._options = options
        self._loop = loop
        self._random_id = random_id
        self._clock = clock
        self._relay: Relay | None = None
        self._sides: Sequence[Side] = ()
        self._sharding: Sharding[Side] | None = None
        self._questions: Questions | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._swept_at = loop.time()

    # -- life -----------------------------------------------------------------------------------

    async def start(self, relay: Relay) -> None:
        """See `Broker.start`.  Raises UsageError when it is running."""
        if self._relay is not None:
            raise UsageError("the broker is running already")
        node = self._random_id()
        self._relay = relay
        sides = [
            Side(
                shard, relay, self._options, node=node, loop=self._loop, random_id=self._random_id,
                spawn=self._spawn, clock=self._clock, session_ttl_s=lambda: self.session_ttl_s,
                on_holds_lost=self.on_holds_lost,
            )
            for shard in self._make_shards().shards
        ]  # fmt: skip
        self._sharding = Sharding([(side.shard.name, side) for side in sides])
        self._sides = sorted(sides, key=lambda side: side.shard.name)  # the first is the same for all nodes
        try:
            await asyncio.gather(*(side.start() for side in self._sides))
            self._questions = self._listen(self._sides[0], node)
            await asyncio.gather(*(side.presence.renew() for side in self._sides))
            await asyncio.gather(*(side.probing.probe() for side in self._sides))
        except BaseException:
            await self.stop()
            raise
        self._swept_at = self._loop.time()
        self._keeper = self._loop.create_task(self._keep())

    def _listen(self, side: Side, node: str) -> Questions:
        questions = Questions(
            side.commands,
            node=node,
            loop=self._loop,
            spawn=self._spawn,
            answer=self._answer,
            timeout_s=self._options.ask_timeout_s,
        )
        side.hear(side.commands.names.everybody, questions.take_question)
        side.hear(side.commands.names.answers(node), questions.take_answer)
        return questions

    async def stop(self) -> None:
        """See `Broker.stop`."""
        sides, self._sides, relay, self._relay = self._sides, (), self._relay, None
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_S)
        if relay is not None:
            for side in sides:
                side.gathering.flush()
                if side.shard.connected:
                    with contextlib.suppress(TimeoutError):  # its lease runs out
                        async with asyncio.timeout(_STOP_S):
                            await self._logged(side.presence.withdraw())
                side.feeds.stop()
                await side.shard.stop()
        for task in list(self._tasks):
            task.cancel()
        self._questions = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something nobody waits for, at once as far as it goes."""
        task = run_eagerly(self._logged(work), self._loop)
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BrokerError as problem:
            _logger.warning("redis: %s", problem)
        except Exception:
            _logger.exception("redis: background work failed")

    async def _keep(self) -> None:
        """Renew leases, and see that messages come back."""
        while True:
            await asyncio.sleep(self._options.lease_s / 3)
            for side in self._sides:
                if side.shard.connected:
                    self._spawn(side.presence.renew())
                self._spawn(_ignored(side.probing.probe()))

    def sweep(self) -> bool:
        """See `Broker.sweep`: compare a part of the channels with Redis."""
        now = self._loop.time()
        for side in self._sides:
            side.feeds.check_some(now - self._swept_at)
        self._swept_at = now
        return False

    def _of(self, name: str) -> Side:
        if self._relay is None or self._sharding is None:
            raise BrokerUnavailableError("the broker is not running")
        return self._sharding.shard_of(name)

    # -- channels ---------------------------------------------------------------------------------

    async def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, *, key: str = ""
    ) -> PublishResult:
        """See `Broker.publish`.  What is published in one turn of the loop leaves together."""
        side, waits = self._of(channel), Awaited(self._loop)
        side.gathering.begin_publish(channel, publication, options, key, waits)
        return await waits.future

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        """See `Broker.begin_publish`.  What is published in one turn of the loop leaves together."""
        sharding = self._sharding
        if sharding is None or self._relay is None:
            publisher.settle(BrokerUnavailableError("the broker is not running"))
            return
        side = sharding.shard_of(channel)
        side.gathering.begin_publish(channel, publication, options, key, publisher)

    async def update(
        self,
        channel: str,
        publication: Publication,
        options: ChannelOptions,
        *,
        base: Position,
        key: str = "",
    ) -> PublishResult:
        """See `Broker.update`: the next state is made here, and set if nobody else was faster."""
        commands = self._of(channel).commands
        keys = commands.names.channel(channel)
        now, known = await commands.state(keys, options, key)
        if known is not None:
            return known
        follows = next_state(now, base, publication.data, options)
        piece = Piece(publication, key)
        return await commands.update(keys, piece, options, now=now, follows=follows)

    async def state(self, channel: str, options: ChannelOptions) -> State:
        """See `Broker.state`."""
        commands = self._of(channel).commands
        return (await commands.state(commands.names.channel(channel), options))[0]

    async def subscribe(self, channel: str, options: ChannelOptions) -> Position:
        """See `Broker.subscribe`."""
        return await self._of(channel).feeds.subscribe(channel, options)

    @property
    def proving(self) -> RedisBroker:
        """See `Broker.proving`."""
        return self

    def mark(self, channel: str) -> str:
        """See `Proving.mark`."""
        return self._of(channel).proofs.mark(channel)

    async def knows(self, channel: str, options: ChannelOptions, at: Position, proof: Proof) -> bool:
        """See `Proving.knows`."""
        return await self._of(channel).proofs.knows(channel, options, at, proof)

    async def unsubscribe(self, channel: str) -> None:
        """See `Broker.unsubscribe`."""
        self._of(channel).feeds.unsubscribe(channel)

    async def history(
        self, channel: str, options: ChannelOptions, *, since: Position, limit: int
    ) -> HistoryPage:
        """See `Broker.history`."""
        commands = self._of(channel).commands
        return await commands.history(commands.names.channel(channel), options, "since", since, limit)

    async def history_before(
        self, channel: str, options: ChannelOptions, *, before: int, limit: int
    ) -> HistoryPage:
        """See `Broker.history_before`."""
        commands, since = self._of(channel).commands, Position("", before)
        return await commands.history(commands.names.channel(channel), options, "before", since, limit)

    # -- presence ---------------------------------------------------------------------------------

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        """See `Broker.join`.  The member is this node's: it leaves when the node's lease has run out."""
        presence = self._of(channel).presence
        if options.presence:
            await presence.join(channel, member, options)

    async def leave(self, channel: str, client: str, options: ChannelOptions) -> None:
        """See `Broker.leave`.  Where this raises, it is done as soon as Redis can be reached."""
        await self._of(channel).presence.leave(channel, client)

    async def presence(self, channel: str, options: ChannelOptions) -> list[Member]:
        """See `Broker.presence`."""
        commands = self._of(channel).commands
        return await commands.members(commands.names.channel(channel)) if options.presence else []

    # -- between nodes ------------------------------------------------------------------------------

    async def control(self, control: Control) -> int:
        """See `Broker.control`: a node that does not answer in time counts as 0."""
        answers = await self._ask(_CONTROL, msgspec.msgpack.encode(control))
        return sum(int.from_bytes(answer, "big") for answer in answers.values())

    async def gather(self, what: str) -> Mapping[str, bytes]:
        """Ask all nodes for something; return the answers by node.  One that is silent is left out."""
        return {node: answer for node, answer in (await self._ask(what, b"")).items() if answer}

    async def _ask(self, what: str, data: bytes) -> dict[str, bytes]:
        if self._questions is None:
            raise BrokerUnavailableError("the broker is not running")
        return await self._questions.ask(what, data)

    def _answer(self, what: str, data: bytes) -> bytes:
        try:
            if what != _CONTROL:
                return self.on_question(what)
            reached = self._relay.on_control(_unpack_control(data)) if self._relay is not None else 0
            return reached.to_bytes(4, "big")
        except Exception:
            _logger.exception("a question of another node could not be answered: %s", what)
            return b""

    def lane(self, number: int, options: OutboxOptions) -> Lane:
        """Return a lane of the outbox that all nodes share.  Raises BrokerUnavailableError."""
        return Lane(self._of(f"notices{number}").shard, self._options.prefix, number, options)

    def hear(self, number: int, channel: bytes, take: Callable[[bytes], None]) -> None:
        """Have the messages of a lane's pub/sub channel.  Raises BrokerUnavailableError."""
        self._of(f"notices{number}").hear(channel, take)

    async def save_session(self, session: str, record: bytes, ttl_s: float, *, client: str = "") -> None:
        """See `Broker.save_session`.  Where this raises, it is done as soon as Redis can be reached."""
        await self._of(session).held.save(session, client, record, ttl_s)

    def hold_sessions(self, sessions: Iterable[tuple[str, str, bytes]]) -> None:
        """Keep sessions (session, client, record) of connections that stand, should this node die.

        Then they can be taken for `session_ttl_s` seconds at least.  Redis may lose them:
        `on_holds_lost` is called then, and all are to be held anew.
        """
        if self._relay is None or self._sharding is None:
            return
        parts: dict[Side, list[Held]] = {}
        for held in sessions:
            parts.setdefault(self._sharding.shard_of(held[0]), []).append(Held(*held))
        for side, part in parts.items():
            for at in range(0, len(part), HOLD_AT_ONCE):
                self._spawn(side.held.hold(part[at : at + HOLD_AT_ONCE]))

    def drop_session(self, session: str, client: str) -> None:
        """Keep a session no longer that is not to be resumed."""
        if self._relay is not None:
            self._spawn(self._of(session).held.save(session, client, None, 0.0))

    async def take_session(self, session: str) -> bytes | None:
        """See `Broker.take_session`: also one whose node died, or does not know that it was lost."""
        side = self._of(session)
        record = await side.commands.take_session(session)
        return record if record is not None else await side.held.take(session)

    async def spend(
        self, user: str, spent: tuple[float, float], rate: tuple[float, float]
    ) -> tuple[float, float]:
        """Add what a user spent on this node, messages and bytes; return what is spent on all.

        It sinks by `rate` in a second.  Raises BrokerError.
        """
        return await self._of(user).commands.spend(user, spent, rate)

    async def probe(self) -> float:
        """See `Broker.probe`: through every server of every shard and back; the longest of the times.

        Raises BrokerUnavailableError when none answers; `unreachable` names those that did not.
        """
        if not self._sides or self._relay is None:
            raise BrokerUnavailableError("the broker is not running")
        tried = await asyncio.gather(*(side.probing.probe() for side in self._sides), return_exceptions=True)
        times = [seconds for seconds in tried if isinstance(seconds, float)]
        if not times:
            raise BrokerUnavailableError("no message comes back from Redis")
        return max(times)

    @property
    def unreachable(self) -> list[str]:
        """The servers from which the last probe did not come back."""
        return [server for side in self._sides for server in side.probing.unreachable]

    @property
    def healthy(self) -> bool:
        """Messages came through some server a moment ago."""
        return bool(self._sides) and any(side.healthy(self._options.lease_s) for side in self._sides)

    def stats(self) -> dict[str, int]:
        """Return nothing: Redis tells what is kept.  `samples` has what this node counts."""
        return {}

    def samples(self) -> Iterable[tuple[str, str, float]]:
        """Yield (shard, name, value) of what this node knows of each shard."""
        for side in self._sides:
            for name, value in side.stats():
                yield side.shard.name, name, value


async def _ignored(work: Coroutine[Any, Any, float]) -> None:
    try:
        await work
    except BrokerError as problem:
        _logger.debug("a probe did not come back: %s", problem)
