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


class Beat(NamedTuple):
    """How an owner stands in a lane, and what is to be done by who holds it."""

    known: bool
    held: bool
    gone: list[str]
    due: list[str]


class _Ending(msgspec.Struct, frozen=True, array_like=True):
    time_ms: int
    tries: int
    problem: str


class Lane:
    """One lane on its shard.  Every method raises BrokerError."""

    def __init__(self, shard: Shard, prefix: str, number: int, options: OutboxOptions) -> None:
        self._shard = shard
        self._options = options
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

    def _of(self, owner: str) -> tuple[bytes, bytes]:
        return f"{self._base}in:{owner}".encode(), f"{self._base}c:{owner}".encode()

    async def _run(self, name: str, keys: Sequence[bytes], args: Iterable[Argument]) -> Any:
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = load_script(f"outbox_{name}")
        return await self._shard.run(script, keys, [*args], writes=True)

    async def tell(self, owner: str, told: Sequence[Told]) -> int:
        """Take what happened; return how many notices were dropped, -1 where the owner is not known."""
        keys = (self._stream, self._owners, self._counts, self._vacating, *self._of(owner), self.wake)
        o = self._options
        args: list[Argument] = [owner.encode(), ms(o.grace_s), max(1, o.most // LANES)]
        for one in told:
            args += (one.did.encode(), one.key.encode(), one.notice)
        dropped: int = await self._run("tell", keys, args)
        return dropped

    async def beat(self, owner: str) -> Beat:
        """Renew the lease; hold the lane where nobody does."""
        keys = (self._owners, self._holder, self._vacating)
        known, held, gone, due = await self._run("beat", keys, (owner.encode(), ms(self._options.lease_s)))
        return Beat(known == 1, held == 1, [o.decode() for o in gone], [channel.decode() for channel in due])

    async def reap(self, owner: str, *, leaves: bool = False) -> bool:
        """Take back all that an owner had, unless it is back; tell whether that was done."""
        o = self._owners, self._counts, self._vacating
        args = (owner.encode(), ms(self._options.grace_s), int(leaves))
        return bool(await self._run("reap", (self._stream, *o, *self._of(owner), self._holder), args))

    async def vacated(self, notices: Sequence[Notice]) -> int:
        """Tell of channels, unless they are occupied again; return of how many."""
        args: list[Argument] = []
        for notice in notices:
            args += (notice.key.encode(), notice.encode())
        told: int = await self._run("vacated", (self._stream, self._vacating), args)
        return told

    async def read(self, after: bytes, limit: int) -> list[tuple[bytes, Notice]]:
        """Read notices after an entry ("-": from the first); return each with its entry."""
        reply = await self._run("read", (self._stream,), (after, limit))
        return [(reply[n], _notices.decode(reply[n + 1])) for n in range(0, len(reply), 2)]

    async def done(self, entries: Sequence[bytes], dead: DeadLetter | None = None) -> int:
        """Forget notices, and keep one as a dead letter; return how many dead letters were dropped."""
        keys = (self._stream, self._dead, self._dead_order)
        id_, letter = (dead.notice.id.encode(), _pack(dead)) if dead is not None else (b"", b"")
        most = max(1, self._options.most_dead // LANES)
        dropped: int = await self._run("done", keys, (most, id_, letter, *entries))
        return dropped

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return dead letters, the oldest first."""
        reply = await self._run("dead", self._dead_keys, (b"list", limit))
        return [_unpack(letter) for letter in reply if letter is not None]

    async def take_dead(self, what: str, ids: Sequence[str]) -> int:
        """Replay or drop dead letters; return how many there were, at most a thousand where none is named."""
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
