"""A bound on what is under way at once, and on how much may wait for it.

It knows nothing of what passes.  Who waits passes in the order of coming.  What always holds: a place that
was given is given back once, also when who waited for it left in the same turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import ServiceUnavailableError


class Gate:
    """`most` are inside at once, `most_waiting` wait; who comes then is turned away."""

    def __init__(self, most: int, most_waiting: int, loop: asyncio.AbstractEventLoop) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._loop = loop
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.inside = 0
        self.turned_away = 0

    @property
    def waiting(self) -> int:
        """Number of those that wait."""
        return len(self._waiters)

    def change(self, most: int, most_waiting: int) -> None:
        """Take other bounds, for who comes from now on and who waits."""
        self._most = most
        self._most_waiting = most_waiting
        while self._waiters and self.inside < most:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.inside += 1
                waiter.set_result(None)

    async def enter(self) -> None:
        """Pass when there is room.  Raises ServiceUnavailableError at once where too many wait already."""
        if self.inside < self._most and not self._waiters:
            self.inside += 1
            return
        if len(self._waiters) >= self._most_waiting:
            self.turned_away += 1
            raise ServiceUnavailableError("too many requests wait for the app service")
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self.leave()  # the place came and is not wanted any more
            else:
                self._waiters.remove(waiter)
            raise

    def leave(self) -> None:
        """Give a place back."""
        while self._waiters and self.inside <= self._most:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)  # the place goes over to it
                return
        self.inside -= 1
