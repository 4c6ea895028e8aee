"""Clients that give an app service something to do: some call it, others come and go.

They write down what they did and were told, as every client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Final

from .client import ChaosClient
from .records import Answered, Called

ROOMS: Final = tuple(f"plain:room{number}" for number in range(6))
_PAUSE_S: Final = (0.05, 0.3)


class Visitor(ChaosClient):
    """A client with a task of its own while it is there."""

    def __init__(self, name: str, choose: Callable[[], str]) -> None:
        super().__init__(name, choose, set())
        self._own: asyncio.Task[None] | None = None
        self._will = random.Random(f"{name} does")  # noqa: S311

    def start(self) -> None:
        """Begin."""
        super().start()
        self._own = asyncio.create_task(self._go_on())

    async def leave(self) -> None:
        """End both tasks."""
        own, self._own = self._own, None
        if own is not None:
            own.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await own
        await super().leave()

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._will.uniform(*_PAUSE_S))
            if self.transport is not None:
                self._act()

    def _act(self) -> None:
        raise NotImplementedError


class Caller(Visitor):
    """Calls, one call after the other."""

    def __init__(self, name: str, choose: Callable[[], str]) -> None:
        super().__init__(name, choose)
        self._number = 0
        self._waits = False
        self._good_at = 0.0

    def content(self, since: float) -> bool:
        """Tell whether the service answered."""
        return self._good_at > since

    def closed(self, wire: Any, code: int) -> None:
        super().closed(wire, code)
        self._waits = False

    def _act(self) -> None:
        if not self._waits:
            self._waits = True
            self._number += 1
            self.log.append(Called(at=time.monotonic(), number=self._number))
            self._ask("call", "", method="echo", payload=self._number)

    def _take_answer(self, kind: str, channel: str, event: Any) -> None:
        if kind != "call":
            super()._take_answer(kind, channel, event)
            return
        self._waits = False
        code = event.code if event.type == "error" else ""
        self._good_at = self._good_at if code else self.heard_at
        self.log.append(Answered(at=self.heard_at, number=self._number, code=code))


class Guest(Visitor):
    """Enters rooms and leaves them, and now and then its connection breaks."""

    def _act(self) -> None:
        if self._will.random() < 0.05:
            self.cut()
        else:
            room = self._will.choice(ROOMS)
            self.want(room, wanted=room not in self.wanted)
