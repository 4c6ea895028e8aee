"""The end of a turn of the event loop: what was gathered in it becomes commands, then commands leave.

It knows nothing of either.  One callback of the loop does both, because a second one would cost another look
at all sockets before anything leaves.  What always holds: whatever is asked for is called once, after the
callback of the loop in which it was asked for, first those of `before_sending`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Work = Callable[[], None]


class Turn:
    """Work for the end of this turn of `loop`."""

    __slots__ = ("_gathering", "_loop", "_scheduled", "_sending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gathering: list[Work] = []
        self._sending: list[Work] = []
        self._scheduled = False

    def before_sending(self, work: Work) -> None:
        """Call this, which may give commands to connections, before they send."""
        self._gathering.append(work)
        self._schedule()

    def send(self, work: Work) -> None:
        """Call this, which writes what a connection has been given."""
        self._sending.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        try:
            while self._gathering:
                self._gathering.pop(0)()
            while self._sending:
                self._sending.pop(0)()
        finally:
            self._scheduled = False
            if self._gathering or self._sending:  # one of them raised: it costs the others nothing
                self._schedule()
