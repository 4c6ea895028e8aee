"""Reads of what resuming clients missed: when very many of a channel's clients come back at once, few reads.

Knows nothing of sessions, rings or which broker there is.  How it works: who asks while a read of the
channel is under way waits for it, since it may hold what is wanted.  The first read is of exactly what was
asked for; who is not served by it asks for all that is kept.  What was read serves others for `FRESH_S`
seconds.  A broker that answers without waiting is asked each time, and nothing is kept.

What always holds: a page that is given follows the position asked for without a hole, up to the offset
asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

from .broker import HistoryPage
from .errors import BrokerUnavailableError
from .message.publication import Position

FRESH_S: Final = 2.0
_MOST_READS: Final = 3


class _Page(NamedTuple):
    """What follows the offset `after`, all of it up to the page's top.  `whole`: nothing older is kept."""

    page: HistoryPage
    after: int
    whole: bool
    read_at: float

    def answer(self, since: Position, reaching: int) -> HistoryPage | None:
        """Return what follows a position, not complete where that is not kept; None where another read
        may tell.
        """
        top = self.page.top
        if top.epoch != since.epoch or top.offset < max(reaching, since.offset):
            return None
        if self.after <= since.offset:
            return HistoryPage(self.page.publications[since.offset - self.after :], top, complete=True)
        return HistoryPage([], top, complete=False) if self.whole else None


class MissedReads:
    """`read_since` and `read_whole` ask the broker; `spawn` runs a coroutine that nobody waits for."""

    def __init__(
        self,
        read_since: Callable[[str, Position], Awaitable[HistoryPage]],
        read_whole: Callable[[str], Awaitable[HistoryPage]],
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._read_since = read_since
        self._read_whole = read_whole
        self._loop = loop
        self._spawn = spawn
        self._pages: dict[str, _Page] = {}
        self._reading: dict[str, asyncio.Future[HistoryPage | None]] = {}

    async def read(self, channel: str, since: Position, reaching: int) -> HistoryPage:
        """Return what follows `since`, at least up to the offset `reaching`.  Raises BrokerError."""
        for _ in range(_MOST_READS):
            known = self._pages.get(channel)
            answer = known.answer(since, reaching) if known is not None else None
            if answer is not None:
                return answer
            reading = self._reading.get(channel)
            if reading is not None:
                await asyncio.shield(reading)
                continue
            done = self._reading[channel] = self._loop.create_future()
            self._spawn(self._work(channel, since, known is not None, done))
            if not done.done():
                await asyncio.shield(done)
                continue
            self._pages.pop(channel, None)  # the broker has it at hand
            page: HistoryPage | None = done.result()
            if page is not None:
                return page
        return await self._read_since(channel, since)  # what others read is never what is asked for here

    def forget_old(self) -> None:
        """Forget pages that are not fresh; to be called about once a second."""
        now = self._loop.time()
        for channel in [name for name, known in self._pages.items() if now - known.read_at > FRESH_S]:
            del self._pages[channel]

    async def _work(
        self, channel: str, since: Position, whole: bool, done: asyncio.Future[HistoryPage | None]
    ) -> None:
        try:
            page = await (self._read_whole(channel) if whole else self._read_since(channel, since))
            asked = page
            if not whole and not page.complete:
                page, whole = await self._read_whole(channel), True
        except BaseException as problem:
            del self._reading[channel]
            told = problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            done.set_exception(told)
            done.exception()  # perhaps nobody waits any more
            if not isinstance(problem, Exception):
                raise
            return
        del self._reading[channel]
        after = page.top.offset - len(page.publications)
        self._pages[channel] = _Page(page, after, whole, self._loop.time())
        done.set_result(asked if asked is not page or not whole else None)
