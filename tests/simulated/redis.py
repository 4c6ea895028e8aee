"""A Redis without a process: does what the Lua scripts do, and brings messages and replies when a test says
so.

Held to the real scripts on a real server by tests/unit/broker/test_redis_simulated.py.  `SimulatedRedis` is
the server: its data, a clock that only the test moves, and faults of whole servers (lost data, a count that
goes back, a promotion).  A `SimulatedShard` is one node's two connections to it: what they carry waits in
queues until the test moves it on, and can be cut at any place.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from gateway.broker.redis.messages import Published, unpack
from gateway.broker.redis.shard import Script, ShardListener, tell_reply
from gateway.eager import drive
from gateway.errors import BrokerUnavailableError, OutcomeUnknownError

pack = msgspec.msgpack.encode


class Kept(NamedTuple):
    """One entry of a stream: what the real one's id and fields say."""

    offset: int
    arrival_ms: int
    packed: bytes
    before: int
    holds: int  # publications

    @property
    def first(self) -> int:
        """The offset of its first publication."""
        return self.offset - self.holds + 1


class Data:
    """Everything a server has, and until when."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self.numbered: dict[tuple[bytes, str, int], str] = {}
        """What there ever was, by pub/sub channel, epoch and offset: ids.  No gateway sees it."""
        self.until_ms: dict[bytes, int] = {}


class SimulatedRedis:
    """One server.  `execute` runs a script by its name, atomically, as the Lua file of that name does."""

    def __init__(self) -> None:
        self.now_ms = 1_764_000_000_000
        self.incarnation = b"aof1 run1"
        self.data = Data()
        self.shards: list[SimulatedShard] = []
        self.published: list[tuple[bytes, bytes]] = []
        self.executed: list[str] = []
        self._lives = 1

    # -- faults ---------------------------------------------------------------------------------

    def lose_all(self) -> None:
        """Start again without data."""
        self.data = Data()
        self.promote()

    def promote(self) -> None:
        """Have another server, with the same data, in its place."""
        self._lives += 1
        self.incarnation = b"aof%d run%d" % (self._lives, self._lives)

    def snapshot(self) -> Data:
        """Return the data as it is now."""
        return copy.deepcopy(self.data)

    def go_back(self, data: Data) -> None:
        """Have older data, and claim that nothing was lost."""
        self.data = copy.deepcopy(data)
        self.restart()

    def restart(self) -> None:
        """Be another process, with an append-only file that lost nothing."""
        self._lives += 1
        self.incarnation = self.incarnation.split(b" ")[0] + b" run%d" % self._lives

    # -- scripts --------------------------------------------------------------------------------

    def execute(self, name: str, keys: Sequence[bytes], args: Sequence[bytes | int]) -> Any:
        """Run a script; `args` are those after the shard's own two."""
        self.executed.append(name)
        texts = [str(arg).encode() if isinstance(arg, int) else arg for arg in args]
        return getattr(self, f"_{name}")(list(keys), texts)

    def _get(self, key: bytes) -> Any:
        until = self.data.until_ms.get(key)
        if until is not None and until <= self.now_ms:
            self._delete(key)
        return self.data.values.get(key)

    def _delete(self, *keys: bytes) -> None:
        for key in keys:
            self.data.values.pop(key, None)
            self.data.until_ms.pop(key, None)

    def _expire(self, key: bytes, ttl_ms: int) -> None:
        if key in self.data.values:
            self.data.until_ms[key] = self.now_ms + ttl_ms

    def _send(self, channel: bytes, payload: bytes) -> None:
        self.published.append((channel, payload))
        for shard in self.shards:
            shard.receive(channel, payload)

    def _life(self, keys: list[bytes], candidate: bytes, idle_ms: bytes) -> dict[str, Any]:
        meta = self._get(keys[0])
        if meta is not None and meta["i"] != self.incarnation and b" " in self.incarnation:
            base, run = self.incarnation.split(b" ")
            if meta["i"].split(b" ")[0] == base:
                words = [*meta.get("r", b"").split(), run, b"%d" % meta["o"]][-8:]
                meta = {**meta, "i": self.incarnation, "r": b" ".join(words)}
                self.data.values[keys[0]] = meta
        if meta is None or meta["i"] != self.incarnation:
            state = {"s": meta["s"]} if meta is not None and "s" in meta else {}
            self._delete(keys[0], keys[1])
            meta = {"e": candidate, "o": 0, "i": self.incarnation, "c": 0, **state}
            self.data.values[keys[0]] = meta
            self._expire(keys[0], int(idle_ms))
        return dict(meta)

    def _state(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        life = self._life(keys, *args[:2])
        self._expire(keys[0], int(args[1]))
        known = self._get(keys[2]) if len(keys) > 2 else None
        return [life["e"], life["o"], life.get("s", b""), known or b""]

    def _update(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        *rest, of, version, follows = args
        if len(keys) < 4 or self._get(keys[3]) is None:
            life = self._life(keys, *args[:2])
            if (life["e"], life["o"]) != (of, int(version)):
                return [0, life["e"], life["o"], life.get("s", b"")]
            self.data.values[keys[0]]["s"] = follows
        return self._publish(keys, rest)

    def _number(self, channel: bytes, payload: bytes) -> None:
        try:
            message = unpack(payload)
        except msgspec.ValidationError:  # the scripts take any bytes for publications, and a test gives such
            return
        assert isinstance(message, Published)
        for offset, publication in enumerate(message.publications, message.first):
            self.data.numbered[channel, message.epoch, offset] = publication.id

    def _publish(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        size, bound, ttl_ms, key_ms = map(int, args[2:6])
        life = self._life(keys, *args[:2])
        first, keeps = life["o"] + 1, size > 0 and ttl_ms > 0
        stream: list[Kept] = list(self._get(keys[1]) or [])
        results: list[Any] = [life["e"]]
        packed: list[bytes] = []
        for at in range(6, len(args), 4):
            count, place = int(args[at + 2]), int(args[at + 3])
            known = self._get(keys[2 + place]) if place else None
            if known is not None:
                results.append(known)
                continue
            if len(keys) > 3 or at == 6:
                results.append(life["o"] + 1)
            life["o"] += count
            packed.append(args[at])
            counted = int(args[at + 1])
            if keeps and 0 < bound < counted:
                stream = []
            elif keeps:
                stream = [*stream, Kept(life["o"], self.now_ms, args[at], life["c"], count)]
                stream = [kept for kept in stream if kept.offset > life["o"] - size]
                life["c"] += counted
            if place:
                self.data.values[keys[2 + place]] = b"%b:%d" % (life["e"], life["o"])
                self._expire(keys[2 + place], key_ms)
        if packed:
            if not keeps and life["c"]:
                stream, life["c"] = [], 0
            if keeps and bound:
                stream = [kept for kept in stream if life["c"] - kept.before <= bound]
            if keeps and life["o"] // 16 > (first - 1) // 16:
                stream = [kept for kept in stream if kept.arrival_ms > self.now_ms - ttl_ms]
            self._put_stream(keys[1], stream)
            self._expire(keys[1], ttl_ms)
            self.data.values[keys[0]] = life
            self._expire(keys[0], int(args[1]))
            head = (
                b"\x94\x01"
                + pack(life["e"].decode())
                + pack(first)
                + b"\xdc"
                + (life["o"] - first + 1).to_bytes(2, "big")
            )
            self._number(keys[2], head + b"".join(packed))
            self._send(keys[2], head + b"".join(packed))
        return results

    def _put_stream(self, key: bytes, stream: list[Kept]) -> None:
        if stream:
            self.data.values[key] = stream
        else:
            self._delete(key)

    def _position(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        life = self._life(keys, *args[:2])
        self._expire(keys[0], int(args[1]))
        return [life["e"], life["o"], life.get("r", b"")]

    def _history(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        size, bound, ttl_ms = map(int, args[2:5])
        mode, epoch, offset, limit = args[5], args[6], int(args[7]), int(args[8])
        life = self._life(keys, *args[:2])
        self._expire(keys[0], int(args[1]))
        stream = [kept for kept in self._get(keys[1]) or [] if kept.arrival_ms > self.now_ms - ttl_ms]
        top, restarts = life["o"], life.get("r", b"")
        stream = [kept for kept in stream if kept.offset > top - size] if size > 0 and ttl_ms > 0 else []
        stream = [kept for kept in stream if not bound or life["c"] - kept.before <= bound]
        self._put_stream(keys[1], stream)
        oldest = max(stream[0].first, top - size + 1) if stream else top + 1
        if mode == b"before":
            last = offset - 1 if 0 < offset <= top else top
            first = max(oldest, last - max(limit, 0) + 1)
            complete = int(first == oldest or oldest > last)
        else:
            count = top - offset
            if epoch != life["e"] or offset + 1 < oldest or count < 0 or (mode == b"since" and count > limit):
                return [life["e"], top, 0, restarts, 1, 0, 1, 0]
            first, last, complete = offset + 1, min(top, offset + limit), 1
        page = [kept for kept in stream if kept.offset >= first and kept.first <= last]
        start, held = (page[0].first, sum(kept.holds for kept in page)) if page else (first, 0)
        head = [life["e"], top, complete, restarts, first, last, start, held]
        return [*head, *(kept.packed for kept in page)]

    def _renew(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        life = self._life(keys, *args[:2])
        if life["e"] == args[2]:
            life.update(e=args[0], o=0, c=0)
            life.pop("r", None)
            self.data.values[keys[0]] = life
            self._delete(keys[1])
            self._send(keys[2], b"\x92\x03" + pack(args[0].decode()))
        self._expire(keys[0], int(args[1]))
        return [life["e"], life["o"]]

    # -- presence and leases -----------------------------------------------------------------------

    def _announce(self, channel: bytes, joined: bool, member: bytes) -> None:
        self._send(channel, b"\x93\x02" + (b"\xc3" if joined else b"\xc2") + member)

    def _join(self, keys: list[bytes], args: list[bytes]) -> int:
        room = self.data.values.setdefault(keys[0], {"joins": 0, "members": {}, "users": {}})
        old = room["members"].get(args[1])
        if old is not None:
            room["members"][args[1]] = (old[0], args[0], self._counted_user(old) + args[2])
            return 0
        room["joins"] += 1
        user = args[4]
        mark = b"u%d" % len(user) if user else b""
        room["members"][args[1]] = (b"%d%b" % (room["joins"], mark), args[0], user + args[2])
        room["users"][user] = room["users"].get(user, 0) + 1
        if args[3] == b"1" and (not user or room["users"][user] == 1):
            self._announce(keys[1], True, args[2])
        return 1

    @staticmethod
    def _counted_user(member: tuple[bytes, bytes, bytes]) -> bytes:
        return member[2][: int(member[0].partition(b"u")[2] or 0)]

    def _remove(self, keys: list[bytes], clients: list[bytes], *, tell: bool = True) -> None:
        room = self.data.values[keys[0]]
        for client in clients:
            gone = room["members"].pop(client)
            user = self._counted_user(gone)
            room["users"][user] -= 1
            if not room["members"]:
                self._delete(keys[0])
            if tell and (not user or not room["users"][user]):
                self._announce(keys[1], False, gone[2][len(user) :])

    def _leave(self, keys: list[bytes], args: list[bytes]) -> int:
        room = self._get(keys[0])
        if room is None or args[0] not in room["members"]:
            return 0
        self._remove(keys, [args[0]])
        return 1

    def _reap(self, keys: list[bytes], args: list[bytes]) -> int:
        members = (self._get(keys[0]) or {"members": {}})["members"]
        gone = sorted(
            (int(order.partition(b"u")[0]), client)
            for client, (order, owner, _) in members.items()
            if owner == args[0]
        )
        if gone:
            self._remove(keys, [client for _, client in gone], tell=args[1] == b"1")
        return len(gone)

    def _members(self, keys: list[bytes], args: list[bytes]) -> list[bytes]:
        members = (self._get(keys[0]) or {"members": {}})["members"]
        return [b"%b %b %b" % member for member in members.values()]

    def _lease(self, keys: list[bytes], args: list[bytes]) -> list[Any]:
        leases, claims, graves = (self.data.values.setdefault(key, {}) for key in keys)
        if args[0] in claims or args[0] in graves:
            return [-1]
        result: list[Any] = [int(args[0] in leases)]
        if not result[0] and args[3] != b"1":
            return result
        leases[args[0]] = self.now_ms + int(args[1])
        if args[2] == b"1":
            for other in [
                o for _, o in sorted((until, o) for o, until in leases.items()) if leases[o] <= self.now_ms
            ]:
                if claims.get(other, 0) <= self.now_ms:
                    claims[other] = self.now_ms + int(args[1])
                    result.append(other)
        return result[:9]

    def _bury(self, keys: list[bytes], args: list[bytes]) -> int:
        leases, claims, graves = (self.data.values.setdefault(key, {}) for key in keys)
        leases.pop(args[0], None)
        claims.pop(args[0], None)
        graves[args[0]] = self.now_ms
        return 1

    # -- held sessions -----------------------------------------------------------------------------

    def _hold(self, keys: list[bytes], args: list[bytes]) -> list[bytes]:
        held, former = dict(self._get(keys[0]) or {}), []
        for at in range(1, len(args), 3):
            session, client, record = args[at : at + 3]
            known = held.get(session, client).partition(b" ")[0]
            if known != client:
                former.append(known)
            if held.get(session) != client:
                held[session] = client + b" " + record
        self.data.values[keys[0]] = held
        self._expire(keys[0], int(args[0]))
        return former

    def _release(self, keys: list[bytes], args: list[bytes]) -> int:
        held = dict(self._get(keys[0]) or {})
        kept = held.get(args[0])
        if kept is None:
            return 1
        if kept.partition(b" ")[0] != args[1] or (kept == args[1] and args[2] != b"1"):
            return 0
        del held[args[0]]
        self.data.values[keys[0]] = held
        if not held:
            self._delete(keys[0])
        return int(kept != args[1])

    def _take(self, keys: list[bytes], args: list[bytes]) -> bytes | None:
        held = dict(self._get(keys[0]) or {})
        client, space, record = held.get(args[0], b"").partition(b" ")
        if not space:
            return None
        held[args[0]] = client
        self.data.values[keys[0]] = held
        return bytes(record)

    def _save(self, keys: list[bytes], args: list[bytes]) -> int:
        client, record, ttl_ms, again = args
        kept = self._get(keys[0])
        if again == b"1" and kept is not None and (kept == client or b" " in kept):
            return 0
        self.data.values[keys[0]] = client + b" " + record
        self._expire(keys[0], int(ttl_ms))
        return 1

    def _take_saved(self, keys: list[bytes], args: list[bytes]) -> bytes | None:
        client, space, record = (self._get(keys[0]) or b"").partition(b" ")
        if not space:
            return None
        self.data.values[keys[0]] = client
        return bytes(record)

    def _owners(self, keys: list[bytes], args: list[bytes]) -> list[bytes]:
        leases, graves = (self._get(key) or {} for key in keys)
        buried = [(at, owner) for owner, at in graves.items() if at >= self.now_ms - int(args[0])]
        live = sorted((until, owner) for owner, until in leases.items())
        return [owner for _, owner in (*live, *sorted(buried))]

    # -- the rest -----------------------------------------------------------------------------------

    def _ask(self, keys: list[bytes], args: list[bytes]) -> int:
        live: int = sum(until > self.now_ms for until in self.data.values.get(keys[0], {}).values())
        self._send(keys[1], args[0])
        return live

    def _tell(self, keys: list[bytes], args: list[bytes]) -> int:
        self._send(keys[0], args[0])
        return 1

    def _call(self, keys: list[bytes], args: list[bytes]) -> Any:
        key, command, rest = keys[0], args[0], args[1:]
        value = self._get(key)
        if command == b"DEL":
            self._delete(key)
            return int(value is not None)
        if command == b"PEXPIRE":
            self._expire(key, int(rest[0]))
            return int(value is not None)
        if command == b"HVALS":
            return sorted((value or {}).values())
        if command == b"SMEMBERS":
            return sorted(value or set())
        had = set(value or set())
        now = had | {rest[0]} if command == b"SADD" else had - {rest[0]}
        self.data.values[key] = now
        return int(now != had)


class _Command(NamedTuple):
    script: Script
    keys: Sequence[bytes]
    args: Sequence[bytes | int]
    writes: bool
    waits: asyncio.Future[Any]


class SimulatedShard:
    """One node's connections to a `SimulatedRedis`: a `Shard`.  With `at_once` nothing waits to be
    moved on.
    """

    name = "simulated"

    def __init__(self, redis: SimulatedRedis, *, at_once: bool = False) -> None:
        self.redis = redis
        self.at_once = at_once
        self.commands_up = self.pubsub_up = self.stalled = False
        self.reconnects = 0
        self._incarnation = redis.incarnation
        self.listener: ShardListener | None = None
        self.sent: deque[_Command] = deque()
        self.replies: deque[tuple[_Command, Any]] = deque()
        self.incoming: deque[Callable[[ShardListener], None]] = deque()
        self._wanted: dict[bytes, None] = {}
        self._heard: set[bytes] = set()

    @property
    def connected(self) -> bool:
        return self.commands_up and self.pubsub_up

    def servers(self) -> Mapping[str, bytes]:
        return {self.name: b"0"}

    def incarnations(self) -> frozenset[bytes]:
        return frozenset((self._incarnation,))

    def reaches(self, key: bytes) -> bool:
        return self.connected

    async def start(self, listener: ShardListener) -> None:
        self.listener = listener
        self.commands_up = self.pubsub_up = True
        self.redis.shards.append(self)

    async def stop(self) -> None:
        self.commands_up = self.pubsub_up = False
        if self in self.redis.shards:
            self.redis.shards.remove(self)

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], *, writes: bool
    ) -> Any:
        if not self.commands_up:
            raise BrokerUnavailableError("cut")
        waits = asyncio.get_running_loop().create_future()
        self.sent.append(_Command(script, keys, list(args), writes, waits))
        if self.at_once:
            self.execute()
            self.reply()
        return await waits

    def begin(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | int],
        take: Callable[[Any], None],
        *,
        writes: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        drive(tell_reply(self.run(script, keys, args, writes=writes), take), loop)

    def before_sending(self, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(work)

    def subscribe(self, channels: Sequence[bytes]) -> None:
        self._wanted.update(dict.fromkeys(channels))
        if self.pubsub_up:
            self._hear(list(channels))

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        for channel in channels:
            self._wanted.pop(channel, None)
            self._heard.discard(channel)

    def stats(self) -> Mapping[str, float]:
        return {"connected": float(self.connected), "reconnects": float(self.reconnects)}

    # -- what moves ---------------------------------------------------------------------------------

    def _hear(self, channels: list[bytes]) -> None:
        self._heard.update(channels)
        self._bring(lambda listener: listener.on_subscribed(channels))

    def _bring(self, event: Callable[[ShardListener], None]) -> None:
        self.incoming.append(event)
        if self.at_once:
            asyncio.get_running_loop().call_soon(self.deliver)

    def receive(self, channel: bytes, payload: bytes) -> None:
        """Take what the server published."""
        if self.pubsub_up and channel in self._heard:
            self._bring(lambda listener: listener.on_messages([(channel, payload)]))

    def execute(self) -> None:
        """Have the server carry out one command that was sent."""
        if self.sent and not self.stalled:
            command = self.sent.popleft()
            self.replies.append(
                (command, self.redis.execute(command.script.name, command.keys, command.args))
            )

    def reply(self) -> None:
        """Bring one reply."""
        if self.replies and not self.stalled:
            command, reply = self.replies.popleft()
            if not command.waits.done():
                command.waits.set_result(reply)

    def deliver(self) -> None:
        """Bring one message, or one confirmation."""
        if self.incoming and self.listener is not None and not self.stalled:
            self.incoming.popleft()(self.listener)

    def move(self) -> bool:
        """Bring on one of each; tell whether there was anything."""
        waits = bool(self.sent or self.replies or self.incoming)
        self.execute()
        self.reply()
        self.deliver()
        return waits

    def lose_message(self) -> None:
        """Lose what would be brought next, without anybody noticing; confirmations are not lost."""
        if self.incoming and "on_messages" in self.incoming[0].__code__.co_names:
            self.incoming.popleft()

    # -- faults -------------------------------------------------------------------------------------

    def cut_commands(self, random: Random) -> None:
        """Break the connection for commands; some that were sent are still carried out, though unanswered."""
        stalled, self.stalled = self.stalled, False
        for _ in range(random.randint(0, len(self.sent))):
            self.execute()
        self.stalled = stalled
        lost = [command for command, _ in self.replies] + list(self.sent)
        self.sent.clear()
        self.replies.clear()
        self.commands_up = False
        for command in lost:
            if not command.waits.done():
                problem = OutcomeUnknownError if command.writes else BrokerUnavailableError
                command.waits.set_exception(problem("cut"))

    def mend_commands(self) -> None:
        """Connect for commands again."""
        self.commands_up = True
        self._incarnation = self.redis.incarnation
        self.reconnects += 1

    def cut_pubsub(self) -> None:
        """Break the connection for pub/sub: what it would have brought is lost."""
        self.incoming.clear()
        self._heard.clear()
        self.pubsub_up = False
        if self.listener is not None:
            self.listener.on_interrupted(list(self._wanted))

    def mend_pubsub(self) -> None:
        """Connect for pub/sub again, and subscribe to everything anew."""
        self.pubsub_up = True
        self._hear(list(self._wanted))
