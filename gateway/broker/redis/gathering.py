"""Publications on their way to one shard: what one turn of the loop brings for a channel leaves as one call.

Knows nothing of what becomes of them (see `_group.pyx`).  What always holds: publications of a channel leave
in the order in which they came; each publisher is told the result, or the error, of its own, once.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import Final

from ..interface import PublishResult
from ._group import Gatherer
from .commands import Commands

_logger = logging.getLogger(__name__)

_REMEMBERED: Final = 1024


class Awaited:
    """A publisher for whoever awaits `future`."""

    __slots__ = ("future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[PublishResult] = loop.create_future()

    def settle(self, outcome: PublishResult | Exception) -> None:
        """Resolve the future, unless it was given up."""
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
            self.future.exception()  # perhaps nobody waits any more
        else:
            self.future.set_result(outcome)


class Gathering(Gatherer):
    """Gathers for the end of each turn of the loop."""

    def __init__(self, commands: Commands) -> None:
        super().__init__(lru_cache(_REMEMBERED)(commands.names.channel), self._begin)
        self._commands = commands
        self.calls = 0

    def _begin(self) -> None:
        self._commands.shard.before_sending(self.flush)

    def flush(self) -> None:
        """Have everything leave that was gathered."""
        for group in self.take_groups():
            self.calls += 1
            try:
                self._commands.begin_publish(group)
            except Exception as problem:  # nobody else would hear of it
                _logger.exception("publications could not be sent")
                group.settle(problem)
