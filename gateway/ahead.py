"""Clients that name a position which this node does not know: from before its time, or ahead of it.

A node that was stopped or cut off for a while is behind, and a client that comes from another one knows
more than it.  Told the node's own position, that client would be sent back and hear messages twice.  This
module asks the broker which of both it is, and waits until the node has caught up.  It knows nothing of
sessions.  How it works: who asks of the same channel and epoch at the same time shares a read; an epoch
that the broker does not name is over for good, which is remembered.
What always holds: when `settle` returns, the node has reached the position, or the broker never has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from .errors import BrokerUnavailableError
from .hub.channel import Channel
from .message.publication import Position

CATCH_UP_S: Final = 2.0
_LOOK_S: Final = 0.02
_MOST_ENDED: Final = 4096


class Ahead:
    """`read_top` asks the broker where a channel is; `spawn` runs a coroutine that nobody waits for."""

    def __init__(
        self,
        read_top: Callable[[str, Position], Awaitable[Position]],
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._read_top = read_top
        self._loop = loop
        self._spawn = spawn
        self._reads: dict[tuple[str, str], asyncio.Future[Position]] = {}
        self._ended: dict[tuple[str, str], None] = {}  # channel and epoch, the oldest first

    async def settle(self, here: Channel, since: Position, is_open: Callable[[], bool]) -> None:
        """Wait until a channel has reached a position that the broker knows, or `is_open` says no.

        Raises BrokerError when the broker cannot be asked, or it takes longer than `CATCH_UP_S` seconds.
        """
        if not _is_behind(here, since) or not await self._was_reached(here.name, since):
            return
        give_up = self._loop.time() + CATCH_UP_S
        while _is_behind(here, since) and is_open():
            if self._loop.time() >= give_up:
                raise BrokerUnavailableError("the client has messages that have not come to this gateway yet")
            await self._pause()

    async def _was_reached(self, channel: str, since: Position) -> bool:
        place = (channel, since.epoch)
        while place not in self._ended:
            reading = self._reads.get(place)
            mine = reading is None
            if reading is None:
                reading = self._reads[place] = self._loop.create_future()
                self._spawn(self._read(place, since, reading))
            top = await asyncio.shield(reading)
            if top.epoch != since.epoch:
                self._remember(place)
            elif top.offset >= since.offset or mine:  # another's read may be from before this client's last
                return top.offset >= since.offset
        return False

    def _remember(self, place: tuple[str, str]) -> None:
        self._ended[place] = None
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]

    async def _read(self, place: tuple[str, str], since: Position, reading: asyncio.Future[Position]) -> None:
        try:
            top = await self._read_top(place[0], since)
        except BaseException as problem:
            del self._reads[place]
            told = problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            reading.set_exception(told)
            reading.exception()  # perhaps nobody waits any more
            if not isinstance(problem, Exception):
                raise
            return
        del self._reads[place]
        reading.set_result(top)

    async def _pause(self) -> None:
        done: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(_LOOK_S, done.set_result, True)
        try:
            await done
        finally:
            timer.cancel()


def _is_behind(here: Channel, since: Position) -> bool:
    return since.epoch != here.position.epoch or since.offset > here.position.offset
