"""Whether positions that clients name are of the count as it is now, or of the end of one that was lost.

A Redis that was started from an older copy of its files gives offsets a second time, in the same epoch.
Nodes that live through it end the epoch (`restarts`); where none did, only clients know what they heard.  So
each says how it knows its position: by the mark that it was answered with, which names the run of the
server, and by the id of the publication there.

Knows channels and scripts, and nothing of sessions.  How it works: the restarts of the server within the
epoch tell whether the count can have gone back below the position after it was heard; mostly it cannot, and
nothing is asked.  Otherwise the publication at the position is read, and its id compared; many who name the
same position share that read.  What always holds: who is told that its position is good has heard nothing
that was lost, if it gave a proof; a position that cannot be compared any more is not good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

from ...errors import BrokerUnavailableError
from ...message.publication import Position, Proof
from ..interface import ChannelOptions
from .commands import Commands
from .restarts import REMEMBERED, Restarts, run_of

_SHORT: Final = 8
_FIRST: Final = "0"
_MOST_IDS: Final = 1024


def mark_of(restarts: Restarts) -> str:
    """Return what names the run of the server that the last of these began."""
    return run_of(restarts)[:_SHORT] or _FIRST


def surely_kept(offset: int, mark: str, restarts: Restarts) -> bool:
    """Tell whether no restart after the run of a mark, or none at all, can have lost an offset."""
    runs = [run[:_SHORT] for run, _ in restarts]
    if mark in runs:
        later = restarts[runs.index(mark) + 1 :]
    elif len(restarts) >= REMEMBERED:
        return False  # earlier ones are forgotten
    else:
        later = restarts
    return all(top >= offset for _, top in later)


class _Place(NamedTuple):
    """A position, and the run of the server in which it was looked at."""

    channel: str
    at: Position
    run: str


class Proofs:
    """`restarts_of` gives what is known here of a channel; `spawn` runs a coroutine that nobody waits for."""

    def __init__(
        self,
        commands: Commands,
        restarts_of: Callable[[str], Restarts | None],
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._commands = commands
        self._restarts_of = restarts_of
        self._loop = loop
        self._spawn = spawn
        self._ids: dict[_Place, asyncio.Future[str]] = {}  # the oldest first

    def mark(self, channel: str) -> str:
        """See `Proving.mark`."""
        return mark_of(self._restarts_of(channel) or ())

    async def knows(self, channel: str, options: ChannelOptions, at: Position, proof: Proof) -> bool:
        """See `Proving.knows`."""
        restarts = self._restarts_of(channel)
        if restarts is None:
            keys = self._commands.names.channel(channel)
            restarts = (await self._commands.look(keys, options))[1]
        if surely_kept(at.offset, proof.mark, restarts):
            return True
        if not proof.id:
            return False
        return await self._id_at(_Place(channel, at, run_of(restarts)), options) == proof.id

    def _id_at(self, place: _Place, options: ChannelOptions) -> Awaitable[str]:
        known = self._ids.get(place)
        if known is None:
            known = self._ids[place] = self._loop.create_future()
            if len(self._ids) > _MOST_IDS:
                del self._ids[next(iter(self._ids))]
            self._spawn(self._read(place, options, known))
        return asyncio.shield(known)

    async def _read(self, place: _Place, options: ChannelOptions, told: asyncio.Future[str]) -> None:
        keys, before = self._commands.names.channel(place.channel), place.at.offset - 1
        try:
            page = await self._commands.history(keys, options, "next", Position(place.at.epoch, before), 1)
        except BaseException as problem:
            self._ids.pop(place, None)
            told.set_exception(
                problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            )
            told.exception()  # perhaps nobody waits any more
            if not isinstance(problem, Exception):
                raise
            return
        told.set_result(page.publications[0].id if page.publications else "")
