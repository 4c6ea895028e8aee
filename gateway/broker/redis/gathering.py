"""Publications on their way to one shard: what one turn of the loop brings for a channel leaves as one call.

Knows nothing of what becomes of them.  What always holds: publications of a channel leave in the order in
which they came; each publisher is told the result, or the error, of its own, once.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import Final

from ...message.publication import Publication
from ..interface import ChannelOptions, Publisher, PublishResult
from .commands import Commands, Entry
from .messages import pack
from .names import ChannelKeys

_logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 256
MOST_BYTES: Final = 1 << 20
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


class _Group:
    """Publications of one channel that leave together."""

    __slots__ = ("entries", "keys", "options", "publishers", "size_bytes")

    def __init__(self, keys: ChannelKeys, options: ChannelOptions) -> None:
        self.keys = keys
        self.options = options
        self.entries: list[Entry] = []
        self.publishers: list[Publisher] = []
        self.size_bytes = 0

    def settle(self, outcome: list[PublishResult] | Exception) -> None:
        """Tell every publisher what came of its publication, or why it did not come to that."""
        if isinstance(outcome, Exception):
            for publisher in self.publishers:
                publisher.settle(outcome)
            return
        for publisher, result in zip(self.publishers, outcome, strict=True):
            publisher.settle(result)


class Gathering:
    """Gathers for the end of each turn of the loop."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._keys = lru_cache(_REMEMBERED)(commands.names.channel)
        self._groups: list[_Group] = []
        self._open: dict[str, _Group] = {}
        self.calls = 0

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        """Have a publication leave at the end of this turn."""
        packed = pack(publication)
        packed_bytes = len(packed)
        group = self._open.get(channel)
        if (
            group is None
            or len(group.entries) >= MOST_AT_ONCE
            or group.size_bytes + packed_bytes > MOST_BYTES
            or (group.options is not options and group.options != options)
        ):
            if not self._groups:
                self._commands.shard.before_sending(self.flush)
            group = self._open[channel] = _Group(self._keys(channel), options)
            self._groups.append(group)
        group.entries.append((packed, len(publication.data), key))
        group.publishers.append(publisher)
        group.size_bytes += packed_bytes

    def flush(self) -> None:
        """Have everything leave that was gathered."""
        groups, self._groups = self._groups, []
        self._open = {}
        for group in groups:
            self.calls += 1
            try:
                self._commands.begin_publish(group.keys, group.entries, group.options, group.settle)
            except Exception as problem:  # nobody else would hear of it
                _logger.exception("publications could not be sent")
                group.settle(problem)
