"""Reads of what resuming clients missed: when very many of a channel's clients come back at once, one read.

Knows nothing of sessions, rings or which broker there is.  How it works: who asks while a read of the channel
is under way waits for it, since it may hold what is wanted.  A read is of what was asked for and `SLACK`
publications more, so that clients that had heard less are served by it, too: a history of no more than
`SLACK` is read once, whoever asks first.  Who is not served asks for all that is kept.  What was read serves
others until nobody asked for `FRESH_S` seconds.  A broker that answers without waiting is asked each time for
exactly what was missed, and nothing is kept.

What always holds: a page that is given follows the position asked for without a hole, up to the offset asked
for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from .broker import HistoryPage
from .errors import BrokerUnavailableError
from .message.publication import Position

SLACK: Final = 1000
FRESH_S: Final = 2.0
STALE_S: Final = 30.0
_MOST_READS: Final = 3


class _Page:
    """The newest publications of a channel when it was read.  `whole`: nothing older was kept."""

    __slots__ = ("after", "page", "read_at", "used_at", "whole")

    def __init__(self, page: HistoryPage, now: float) -> None:
        self.page = page
        self.after = page.top.offset - len(page.publications)
        self.whole = page.complete
        self.read_at = self.used_at = now

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
    """`read_since` asks the broker for exactly what follows a position, `read_newest` for so many of a
    channel's newest publications (None: all that are kept); `spawn` runs a coroutine that nobody waits for.
    """

    def __init__(
        self,
        read_since: Callable[[str, Position], Awaitable[HistoryPage]],
        read_newest: Callable[[str, int | None], Awaitable[HistoryPage]],
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._read_since = read_since
        self._read_newest = read_newest
        self._loop = loop
        self._spawn = spawn
        self._at_once = False  # the broker answers without waiting
        self._pages: dict[str, _Page] = {}
        self._reading: dict[str, asyncio.Future[None]] = {}

    async def read(self, channel: str, since: Position, *, reaching: int, top: int) -> HistoryPage:
        """Return what follows `since`, at least up to the offset `reaching`.  Raises BrokerError.

        `top` is the channel's newest offset, as far as is known.
        """
        for _ in range(_MOST_READS):
            if self._at_once:
                break
            known = self._pages.get(channel)
            answer = known.answer(since, reaching) if known is not None else None
            if known is not None and answer is not None:
                known.used_at = self._loop.time()
                return answer
            reading = self._reading.get(channel)
            if reading is None:
                reading = self._reading[channel] = self._loop.create_future()
                limit = max(0, top - since.offset) + SLACK if known is None else None
                self._spawn(self._work(channel, limit, reading))
                self._at_once = reading.done() and reading.exception() is None
            if not self._at_once:
                await asyncio.shield(reading)
        self._pages.pop(channel, None)
        return await self._read_since(channel, since)  # what others read is never what is asked for here

    def forget_old(self) -> None:
        """Forget pages that nobody asks for, or that are old; to be called about once a second."""
        now = self._loop.time()
        for channel, known in list(self._pages.items()):
            if now - known.used_at > FRESH_S or now - known.read_at > STALE_S:
                del self._pages[channel]

    async def _work(self, channel: str, limit: int | None, done: asyncio.Future[None]) -> None:
        try:
            page = await self._read_newest(channel, limit)
        except BaseException as problem:
            del self._reading[channel]
            told = problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            done.set_exception(told)
            done.exception()  # perhaps nobody waits any more
            if not isinstance(problem, Exception):
                raise
            return
        del self._reading[channel]
        self._pages[channel] = _Page(page, self._loop.time())
        done.set_result(None)
