"""The scripts of the outbox in Redis, as calls with types: one `Lane` for each part of it.

Notices are spread over lanes by their key, so that several nodes can deliver.  Knows how arguments and
replies look, and nothing of when to call.  All keys of a lane carry the same hash tag.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ..outbox import DeadLetter, Notice, OutboxOptions, Told
from .commands import Argument, load_script, ms
from .shard import Script, Shard

LANES: Final = 8
_PREFIX_DIGITS: Final = 8

_notices = msgspec.msgpack.Decoder(Notice)


def lane_of(key: str) -> int:
    """Return the number of the lane to which a key belongs."""
    return zlib.crc32(key.encode()) % LANES


class Due(NamedTuple):
    """A channel that is to be told vacated, and since when, in milliseconds of its server, as text."""

    channel: str
    when: str


class Beat(NamedTuple):
    """How an owner stands in a lane, and, for who holds it, what is there and what is to be done.

    `told` is the number of the last thing that it told, `chosen` whether it should hold the lane, `newest`
    the last entry that there ever was.
    """

    known: bool
    told: int
    held: bool
    chosen: bool
    newest: bytes
    waiting: int
    dead: int
    gone: list[str]
    due: list[Due]


class Answer(NamedTuple):
    """What came of telling: `status` is the number of notices dropped, or UNKNOWN or MISSING.

    `told` is the number of the last thing that is known there.
    """

    status: int
    told: int


UNKNOWN, MISSING = -1, -2


class Placed(NamedTuple):
    """A dead letter of a lane, and its place: a number as text, and larger for what was given up later."""

    place: str
    letter: DeadLetter


class _Ending(msgspec.Struct, frozen=True, array_like=True):
    time_ms: int
    tries: int
    problem: str


class Lane:
    """One lane on its shard.  Every method raises BrokerError."""

    def __init__(self, shard: Shard, prefix: str, number: int, options: OutboxOptions) -> None:
        self._shard = shard
        self._options = options
        self.number = number
        base = f"{prefix}:{{notices{number}}}"
        self._base = base
        self.wake = f"{base}wake".encode()
        (
            self._stream,
            self._owners,
            self._counts,
            self._vacating,
            self._holder,
            self._dead,
            self._dead_order,
        ) = (f"{base}{part}".encode() for part in ("s", "o", "n", "v", "h", "d", "t"))
        self._scripts: dict[str, Script] = {}

    def _of(self, owner: str) -> tuple[bytes, bytes, bytes]:
        return tuple(f"{self._base}{part}:{owner}".encode() for part in ("in", "c", "q"))  # type: ignore[return-value]

    async def _run(self, name: str, keys: Sequence[bytes], args: Iterable[Argument]) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = load_script(f"outbox_{name}")
        return await self._shard.run(script, keys, [*args], writes=True)

    async def tell(self, owner: str, told: Sequence[Told], first: int) -> Answer:
        """Take what happened; `first` is the number of the first thing, 0 for what an owner enters with."""
        keys = (self._stream, self._owners, self._counts, self._vacating, *self._of(owner), self.wake)
        o = self._options
        args: list[Argument] = [owner.encode(), ms(o.grace_s), max(1, o.most // LANES), first]
        for one in told:
            args += (one.did.encode(), one.key.encode(), one.notice)
        return Answer(*await self._run("tell", keys, args))

    async def beat(self, owner: str) -> Beat:
        """Renew the lease; hold the lane where nobody does, and this owner should."""
        keys = (
            self._owners,
            self._holder,
            self._vacating,
            self._stream,
            self._dead_order,
            self._of(owner)[2],
        )
        args = (owner.encode(), ms(self._options.lease_s), self.number)
        known, told, held, chosen, newest, waiting, dead, gone, due = await self._run("beat", keys, args)
        pairs = zip(due[::2], due[1::2], strict=True)
        return Beat(
            known == 1, told, held == 1, chosen == 1, newest, waiting, dead,
            [o.decode() for o in gone], [Due(channel.decode(), when.decode()) for channel, when in pairs],
        )  # fmt: skip

    async def release(self, owner: str) -> None:
        """Hold the lane no longer."""
        await self._run("release", (self._holder, self.wake), (owner.encode(),))

    async def reap(self, owner: str, *, leaves: bool = False) -> bool:
        """Take back all that an owner had, unless it is back; tell whether that was done."""
        keys = (self._stream, self._owners, self._counts, self._vacating, *self._of(owner))
        args = (owner.encode(), ms(self._options.grace_s), int(leaves))
        return bool(await self._run("reap", (*keys, self._holder, self.wake), args))

    async def vacated(self, notices: Sequence[tuple[Due, Notice]]) -> int:
        """Tell of channels, unless they are occupied again; return of how many."""
        args: list[Argument] = []
        for due, notice in notices:
            args += (due.channel.encode(), due.when.encode(), notice.encode())
        told: int = await self._run("vacated", (self._stream, self._vacating), args)
        return told

    async def read(self, after: bytes, limit: int) -> list[tuple[bytes, Notice]]:
        """Read notices after an entry ("-": from the first); return each with its entry."""
        reply = await self._run("read", (self._stream,), (after, limit))
        return [(reply[n], _notices.decode(reply[n + 1])) for n in range(0, len(reply), 2)]

    async def done(self, entries: Sequence[bytes], dead: DeadLetter | None = None) -> int:
        """Forget notices, and keep one as a dead letter; return how many dead letters were dropped."""
        keys = (self._stream, self._dead, self._dead_order)
        letter: tuple[Argument, ...] = (b"", b"", 0)
        if dead is not None:
            letter = (dead.notice.id.encode(), _pack(dead), dead.time_ms)
        most = max(1, self._options.most_dead // LANES)
        dropped: int = await self._run("done", keys, (most, *letter, *entries))
        return dropped

    async def dead_letters(self, least: str, limit: int) -> list[Placed]:
        """Return dead letters from a place on ("(" before it: behind it), the oldest first."""
        reply = await self._run("dead", self._dead_keys, (b"list", least.encode(), limit))
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [Placed(place.decode(), _unpack(letter)) for place, letter in pairs if letter]

    async def take_dead(self, what: str, ids: Sequence[str]) -> int:
        """Replay or drop dead letters; return how many there were."""
        found: int = await self._run("dead", self._dead_keys, (what.encode(), *(i.encode() for i in ids)))
        return found

    @property
    def _dead_keys(self) -> tuple[bytes, ...]:
        return self._dead, self._dead_order, self._stream, self.wake


def _pack(dead: DeadLetter) -> bytes:
    notice = dead.notice.encode()
    ending = msgspec.msgpack.encode(_Ending(dead.time_ms, dead.tries, dead.problem))
    return f"{len(notice):0{_PREFIX_DIGITS}d}".encode() + notice + ending


def _unpack(letter: bytes) -> DeadLetter:
    end = _PREFIX_DIGITS + int(letter[:_PREFIX_DIGITS])
    ending = msgspec.msgpack.decode(letter[end:], type=_Ending)
    notice = _notices.decode(letter[_PREFIX_DIGITS:end])
    return DeadLetter(notice, ending.time_ms, ending.tries, ending.problem)
