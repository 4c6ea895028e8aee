"""The Lua scripts, as calls with types.

Knows how arguments and replies of each script look, and nothing of when to call it.  The text of a script is
its file behind that of `common.lua`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from ...errors import BrokerUnavailableError, StaleVersionError
from ...message.publication import Member, Position
from ..interface import ChannelOptions, HistoryPage, PublishResult, State
from ..state import NOTHING
from ._group import Group, Piece
from .messages import number, unpack_member, unpack_publications
from .names import ChannelKeys, Names
from .restarts import Restarts
from .shard import Script, Shard

Argument = bytes | int

_PARTS: Final = {"update": ("common", "update", "publish")}


@cache
def load_script(name: str) -> Script:
    """Return one of the scripts beside this module."""
    folder = files(__package__)
    text = [(folder / f"{part}.lua").read_text() for part in _PARTS.get(name, ("common", name))]
    return Script(name, "\n".join(text))


class Leased(NamedTuple):
    """How a lease stands (`HELD`, `UNKNOWN`, `LOST`), and owners whose leases ran out, claimed for the
    caller.
    """

    state: int
    claimed: list[str]


HELD, UNKNOWN, LOST = 1, 0, -1
_MOST_OPTIONS: Final = 256
_ARRAY: Final = b"\xdd"  # of msgpack, with 32 bits of length


def ms(seconds: float) -> int:
    """Return whole milliseconds, at least one where `seconds` is more than none."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


class Commands:
    """The scripts on one shard.

    `random_id` gives candidates for epochs, each another.  A channel that nobody uses is forgotten
    `idle_s` seconds later, or when its history and keys are gone, whichever is last.
    """

    def __init__(self, shard: Shard, names: Names, random_id: Callable[[], str], *, idle_s: float) -> None:
        self.shard = shard
        self.names = names
        self._random_id = random_id
        self._idle_s = idle_s
        self._scripts: dict[str, Script] = {}
        self._publish_options: dict[ChannelOptions, tuple[Argument, ...]] = {}
        self._candidate_base = random_id().encode()
        self._candidates = 0
        self.history_reads = 0

    async def _run(
        self, name: str, keys: Sequence[bytes], args: Iterable[Argument] = (), *, writes: bool
    ) -> Any:
        return await self.shard.run(self._script(name), keys, [*args], writes=writes)

    def _script(self, name: str) -> Script:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = load_script(name)
        return script

    def fresh_id(self) -> str:
        """Return a text that no node returned before."""
        return self._random_id()

    def _life(self, options: ChannelOptions) -> tuple[Argument, Argument]:
        idle_s = max(self._idle_s, options.history_ttl_s if options.history_size else 0.0)
        return self._candidate(), ms(max(idle_s, options.idempotency_ttl_s, options.state_ttl_s))

    # -- channels -----------------------------------------------------------------------------

    def begin_publish(self, group: Group) -> None:
        """Publish what leaves together; it reaches nodes in one message.

        The group is told the results, or what `Shard.run` would have raised.
        """

        def take_reply(reply: Any) -> None:
            if isinstance(reply, Exception):
                group.settle(reply)
                return
            try:
                if len(reply) == 2 and isinstance(reply[1], int):
                    group.place(reply[0].decode(), reply[1])
                    return
                results = _results(reply, group.pieces)
            except Exception as problem:  # noqa: BLE001 - nobody else would hear of it
                group.settle(problem)
                return
            group.settle(results)

        names, args = self._publishing(group.keys, group.pieces, group.options)
        self.shard.begin(self._script("publish"), names, args, take_reply, writes=True)

    def _publishing(
        self, keys: ChannelKeys, pieces: Sequence[Piece], options: ChannelOptions
    ) -> tuple[list[bytes], list[Argument]]:
        """Return KEYS and ARGV of the script."""
        known = self._publish_options.get(options)
        if known is None:
            if len(self._publish_options) >= _MOST_OPTIONS:
                self._publish_options.clear()
            idle_ms = self._life(options)[1]
            known = (idle_ms, *_bounds(options), ms(options.idempotency_ttl_s))
            self._publish_options[options] = known
        names = [keys.meta, keys.stream, keys.pubsub]
        args: list[Argument] = [self._candidate(), *known]
        for piece in pieces:
            place = 0
            if piece.key and known[-1]:
                names.append(keys.idempotency(piece.key))
                place = len(names) - 3
            args += (piece.packed, piece.counted_bytes, piece.count, place)
        return names, args

    def _candidate(self) -> bytes:
        """Return a text for an epoch that no node returned before; cheaper than an id of its own."""
        self._candidates += 1
        return b"%b.%x" % (self._candidate_base, self._candidates)

    async def update(
        self, keys: ChannelKeys, piece: Piece, options: ChannelOptions, *, now: State, follows: bytes
    ) -> PublishResult:
        """Publish a patch with which the state becomes `follows`, if it is still `now`.

        Raises StaleVersionError.
        """
        names, args = self._publishing(keys, [piece], options)
        args += (now.epoch.encode(), now.version, follows)
        reply = await self._run("update", names, args, writes=True)
        if reply[0] == 0:
            raise StaleVersionError(reply[1].decode(), reply[2], reply[3] or NOTHING)
        return _result(reply[0].decode(), reply[1])

    async def state(
        self, keys: ChannelKeys, options: ChannelOptions, key: str = ""
    ) -> tuple[State, PublishResult | None]:
        """Return a channel's state, and what an idempotency key was used for, if it is known."""
        names = [*keys[:2], keys.idempotency(key)] if key else keys[:2]
        epoch, version, data, known = await self._run("state", names, self._life(options), writes=False)
        state = State(epoch.decode(), version, data or NOTHING)
        return state, _result("", known) if known else None

    async def position(self, keys: ChannelKeys, options: ChannelOptions) -> Position:
        """Return a channel's newest position.  This is a use: it is not forgotten for a while."""
        return (await self.look(keys, options))[0]

    async def look(self, keys: ChannelKeys, options: ChannelOptions) -> tuple[Position, Restarts]:
        """Return what `position` does, and the last restarts of the server within the epoch."""
        reply = await self._run("position", keys[:2], self._life(options), writes=False)
        return Position(reply[0].decode(), reply[1]), _restarts(reply[2])

    async def history(
        self, keys: ChannelKeys, options: ChannelOptions, mode: str, since: Position, limit: int
    ) -> HistoryPage:
        """Read history; `mode` is "since", "next" or "before" (see history.lua)."""
        return (await self.read(keys, options, mode, since, limit))[0]

    async def read(
        self, keys: ChannelKeys, options: ChannelOptions, mode: str, since: Position, limit: int
    ) -> tuple[HistoryPage, Restarts]:
        """Return what `history` does, and the last restarts of the server within the epoch."""
        self.history_reads += 1
        args = (
            *self._life(options),
            *_bounds(options),
            mode.encode(),
            since.epoch.encode(),
            since.offset,
            limit,
        )
        reply = await self._run("history", keys[:2], args, writes=False)
        epoch, newest, complete, restarts, first, last, start, count, *entries = reply
        packed = _ARRAY + count.to_bytes(4, "big") + b"".join(entries)
        publications = number(unpack_publications(packed), start)[first - start : max(last - start + 1, 0)]
        top = Position(epoch.decode(), newest)
        return HistoryPage(publications, top, complete=complete == 1), _restarts(restarts)

    async def renew(self, keys: ChannelKeys, options: ChannelOptions, epoch: str) -> Position:
        """End the life `epoch` of a channel; return the position that holds from now on."""
        args = (*self._life(options), epoch.encode())
        reply = await self._run("renew", keys[:3], args, writes=False)  # to be repeated at will
        return Position(reply[0].decode(), reply[1])

    # -- presence -----------------------------------------------------------------------------

    async def join(
        self, keys: ChannelKeys, owner: str, client: str, packed: bytes, *, tell: bool, user: str
    ) -> None:
        """Enter a member, packed, for an owner; it counts for `user`, if that is not empty."""
        args = (owner.encode(), client.encode(), packed, int(tell), user.encode())
        await self._run("join", (keys.presence, keys.pubsub), args, writes=True)

    async def leave(self, keys: ChannelKeys, client: str) -> None:
        """Remove a member."""
        await self._run("leave", (keys.presence, keys.pubsub), (client.encode(),), writes=True)

    async def reap(self, keys: ChannelKeys, owner: str, *, tell: bool = True) -> int:
        """Remove all members of an owner; return how many there were."""
        args = (owner.encode(), int(tell))
        count: int = await self._run("reap", (keys.presence, keys.pubsub), args, writes=False)
        return count

    async def members(self, keys: ChannelKeys) -> list[Member]:
        """Return who is present, in the order in which they joined."""
        found: list[tuple[int, bytes]] = []
        for value in await self._run("members", (keys.presence,), writes=False):
            order, _, rest = value.partition(b" ")
            if rest:
                place, _, user_bytes = order.partition(b"u")
                found.append((int(place), rest.partition(b" ")[2][int(user_bytes or 0) :]))
        return [unpack_member(packed) for _, packed in sorted(found)]

    async def enter(self, owner: str, channel: str) -> None:
        """Note that an owner has members in a channel."""
        await self._call(self.names.memberships(owner), b"SADD", channel.encode(), writes=False)

    async def exit(self, owner: str, channel: str) -> None:
        """Note that it has none any more."""
        await self._call(self.names.memberships(owner), b"SREM", channel.encode(), writes=False)

    async def memberships(self, owner: str) -> list[str]:
        """Return the channels in which an owner has members, or had."""
        reply = await self._call(self.names.memberships(owner), b"SMEMBERS", writes=False)
        return [channel.decode() for channel in reply]

    # -- leases ---------------------------------------------------------------------------------

    async def lease(self, owner: str, lease_s: float, *, claim: bool, begin: bool) -> Leased:
        """Renew an owner's lease; with `begin`, also one of which nothing is known.

        With `claim`, take charge of owners whose leases have run out.
        """
        n = self.names
        args = (owner.encode(), ms(lease_s), int(claim), int(begin))
        state, *claimed = await self._run("lease", (n.leases, n.claims, n.graves), args, writes=False)
        return Leased(state, [other.decode() for other in claimed])

    async def bury(self, owner: str) -> None:
        """Forget an owner without members, and that it had any."""
        n = self.names
        await self._call(n.memberships(owner), b"DEL", writes=False)
        await self._run("bury", (n.leases, n.claims, n.graves), (owner.encode(),), writes=False)

    # -- between nodes ----------------------------------------------------------------------------

    async def ask(self, message: bytes) -> int:
        """Give a message to all nodes; return how many there are."""
        keys = (self.names.leases, self.names.everybody)
        live: int = await self._run("ask", keys, (message,), writes=True)
        return live

    async def tell(self, channel: bytes, message: bytes) -> None:
        """Give a message to whoever hears a pub/sub channel."""
        await self._run("tell", (channel,), (message,), writes=False)

    # -- sessions -----------------------------------------------------------------------------------

    async def spend(
        self, user: str, spent: tuple[float, float], rate: tuple[float, float]
    ) -> tuple[float, float]:
        """Add what a user spent here, messages and bytes; return what is spent everywhere.

        It sinks by `rate` in a second.
        """
        args = [b"%.3f" % number for number in (*spent, *rate)]
        messages, size_bytes = await self._run("spend", [self.names.meter(user)], args, writes=True)
        return float(messages), float(size_bytes)

    async def save_session(
        self, session: str, client: str, record: bytes, ttl_s: float, *, again: bool = False
    ) -> None:
        """Keep a client's record for a while; where it was tried before, only if it was not kept then."""
        key, ttl_ms = self.names.session(session), ms(ttl_s)
        if ttl_ms:
            await self._run("save", (key,), (client.encode(), record, ttl_ms, int(again)), writes=False)
        else:
            await self._call(key, b"DEL", writes=False)

    async def take_session(self, session: str) -> bytes | None:
        """Return a record, and give it to nobody else."""
        record: bytes | None = await self._run("take_saved", (self.names.session(session),), writes=True)
        return record

    async def hold(self, owner: str, sessions: Iterable[tuple[str, str, bytes]], ttl_s: float) -> list[str]:
        """Keep an owner's sessions (session, client, record) for a while, unless they were taken.

        Return other clients of the owner's whose sessions these were before.
        """
        args: list[Argument] = [ms(ttl_s)]
        for session, client, record in sessions:
            args += (session.encode(), client.encode(), record)
        former = await self._run("hold", (self.names.held(owner),), args, writes=False)
        return [client.decode() for client in former]

    async def release(self, owner: str, session: str, client: str, *, forget: bool = False) -> bool:
        """Keep an owner's session no longer; tell whether it was not taken from the client.

        With `forget`, it is known no longer that it was.
        """
        args = (session.encode(), client.encode(), int(forget))
        mine: int = await self._run("release", (self.names.held(owner),), args, writes=False)
        return mine == 1

    async def take_held(self, owner: str, session: str) -> bytes | None:
        """Take a session of an owner's; return its record."""
        record: bytes | None = await self._run(
            "take", (self.names.held(owner),), (session.encode(),), writes=True
        )
        return record

    async def taken(self, owner: str) -> list[str]:
        """Return the clients from which sessions of an owner were taken."""
        values = await self._call(self.names.held(owner), b"HVALS", writes=False)
        return [value.decode() for value in values if b" " not in value]

    async def extend_held(self, owner: str, ttl_s: float) -> bool:
        """Keep all of an owner's sessions for a while; tell whether there is any."""
        found: int = await self._call(self.names.held(owner), b"PEXPIRE", ms(ttl_s), writes=False)
        return found == 1

    async def forget_held(self, owner: str) -> None:
        """Forget all of an owner's sessions."""
        await self._call(self.names.held(owner), b"DEL", writes=False)

    async def owners(self, buried_s: float) -> list[str]:
        """Return every owner that has a lease, or was buried no longer ago."""
        keys = (self.names.leases, self.names.graves)
        return [owner.decode() for owner in await self._run("owners", keys, (ms(buried_s),), writes=False)]

    async def _call(self, key: bytes, *command: Argument, writes: bool) -> Any:
        return await self._run("call", (key,), command, writes=writes)


def _restarts(text: bytes) -> Restarts:
    words = text.decode().split(" ")
    return tuple((run, int(top)) for run, top in zip(words[::2], words[1::2], strict=False))


def _bounds(options: ChannelOptions) -> tuple[int, int, int]:
    return options.history_size, options.history_bytes, ms(options.history_ttl_s)


def _results(reply: list[Any], pieces: Sequence[Piece]) -> list[PublishResult]:
    """Return what became of each publication; the script names each piece's first."""
    epoch = reply[0].decode()
    results: list[PublishResult] = []
    for place, piece in zip(reply[1:], pieces, strict=True):
        first = _result(epoch, place)
        results.append(first)
        results += [PublishResult(epoch, first.offset + more) for more in range(1, piece.count)]
    return results


def _result(epoch: str, place: int | bytes) -> PublishResult:
    if isinstance(place, int):
        return PublishResult(epoch, place)
    known, _, offset = place.decode().rpartition(":")
    if not known or not offset.isdecimal():
        raise BrokerUnavailableError("what Redis remembers of an idempotency key is no position")
    return PublishResult(known, int(offset), duplicate=True)
