"""Delivers notices: those of one key in order, several keys at once, each until it is taken or given up.

It knows neither where notices are kept nor what takes them.  How it works: a key with something to deliver
has a task, which delivers the first until that is done, then the next; a semaphore bounds how many are
under way.  What always holds: of a key at most one notice is under way; what was taken or given up is told
once; while it is held, or after the time until which it may, no delivery begins.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from .outbox import DeadLetter, Deliver, NotDeliveredError, Notice, OutboxOptions

_logger = logging.getLogger(__name__)


class Parcel(NamedTuple):
    """A notice, and by what whoever keeps it knows it."""

    notice: Notice
    place: bytes = b""


class Courier:
    """Delivers what it is given.

    `on_taken` hears of what was delivered, `on_given_up` of what was not, `on_idle` that nothing is under way
    any more.  `wall_ms` is milliseconds since 1970.  `room` bounds what is under way, of several couriers
    where they share it.
    """

    def __init__(
        self,
        deliver: Deliver,
        options: OutboxOptions,
        *,
        loop: asyncio.AbstractEventLoop,
        random: Random,
        wall_ms: Callable[[], int],
        on_taken: Callable[[Parcel], None],
        on_given_up: Callable[[Parcel, DeadLetter], None],
        counts: Counter[str],
        room: asyncio.Semaphore | None = None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._deliver = deliver
        self._options = options
        self._loop = loop
        self._random = random
        self._wall_ms = wall_ms
        self._on_taken = on_taken
        self._on_given_up = on_given_up
        self._counts = counts
        self._queues: dict[str, deque[Parcel]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._room = room or asyncio.Semaphore(options.at_once)
        self._on_idle = on_idle
        self._may = asyncio.Event()
        self._may.set()
        self._until = math.inf
        self.waiting = 0
        self.under_way = 0

    def add(self, parcel: Parcel) -> None:
        """Deliver a notice after all of its key that were added before."""
        key = parcel.notice.key
        self.waiting += 1
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque((parcel,))
            self._tasks[key] = self._loop.create_task(self._serve(key))
        else:
            queue.append(parcel)

    def allow(self, until: float = math.inf) -> None:
        """Let deliveries begin, until a time of the loop."""
        self._until = until
        self._may.set()

    def hold(self) -> None:
        """Let no delivery begin until it is allowed again; what is under way goes on."""
        self._may.clear()

    async def stop(self) -> None:
        """Deliver no more, not even what is under way.  Idempotent."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queues.clear()
        self._tasks.clear()
        self.waiting = 0

    async def _serve(self, key: str) -> None:
        queue = self._queues[key]
        while queue:
            parcel = queue[0]
            dead = await self._try(parcel)
            queue.popleft()
            self.waiting -= 1
            if dead is None:
                self._counts["delivered"] += 1
                self._on_taken(parcel)
            else:
                self._counts["given_up"] += 1
                _logger.warning(
                    "a notice was given up: %s",
                    dead.problem,
                    extra={"notice": dead.notice.id, "kind": dead.notice.kind, "tries": dead.tries},
                )
                self._on_given_up(parcel, dead)
        del self._queues[key]
        del self._tasks[key]

    async def _try(self, parcel: Parcel) -> DeadLetter | None:
        """Deliver one; return None when it was taken."""
        begun, tries = self._loop.time(), 0
        while True:
            tries += 1
            try:
                await self._deliver_once(parcel.notice)
                return None
            except NotDeliveredError as error:
                problem = str(error)
            except Exception:
                _logger.exception("a notice could not be delivered")
                problem = "an error inside the gateway"
            self._counts["failed_tries"] += 1
            wait_s = self._wait_s(tries)
            if self._loop.time() + wait_s - begun > self._options.give_up_s:
                return DeadLetter(parcel.notice, self._wall_ms(), tries, problem)
            await asyncio.sleep(wait_s)

    async def _deliver_once(self, notice: Notice) -> None:
        while True:
            await self._may.wait()
            async with self._room:
                if self._loop.time() >= self._until:
                    self._may.clear()
                if self._may.is_set():
                    self.under_way += 1
                    try:
                        return await self._deliver(notice)
                    finally:
                        self.under_way -= 1
                        if not self.under_way:
                            self._on_idle()

    def _wait_s(self, tries: int) -> float:
        """Return how long to wait after so many tries: longer each time, and never quite the same."""
        most_s: float = min(self._options.most_wait_s, self._options.first_wait_s * 2 ** min(tries - 1, 20))
        return most_s * (0.5 + self._random.random() / 2)
