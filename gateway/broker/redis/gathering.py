"""Publications on their way to one shard: what one turn of the loop brings for a channel leaves as one call.

Knows nothing of what becomes of them.  What always holds: publications of a channel leave in the order in
which they came; each caller gets the result, or the error, of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ...errors import BrokerUnavailableError
from ...message.publication import Publication
from ..interface import ChannelOptions, PublishResult
from .commands import Commands, Entry
from .messages import pack
from .names import ChannelKeys

MOST_AT_ONCE: Final = 256
MOST_BYTES: Final = 1 << 20


class _Group:
    """Publications of one channel that leave together."""

    __slots__ = ("entries", "keys", "options", "size_bytes", "waiting")

    def __init__(self, keys: ChannelKeys, options: ChannelOptions) -> None:
        self.keys = keys
        self.options = options
        self.entries: list[Entry] = []
        self.waiting: list[asyncio.Future[PublishResult]] = []
        self.size_bytes = 0


class Gathering:
    """`spawn` runs a coroutine that nobody waits for, at once as far as it goes."""

    def __init__(
        self,
        commands: Commands,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._commands = commands
        self._loop = loop
        self._spawn = spawn
        self._groups: list[_Group] = []
        self._open: dict[str, _Group] = {}
        self.calls = 0

    def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str
    ) -> asyncio.Future[PublishResult]:
        """Have a publication leave at the end of this turn; return what will be its result."""
        entry = Entry(pack(publication), len(publication.data), key)
        group = self._open.get(channel)
        if group is None or not _fits(group, entry, options):
            if not self._groups:
                self._loop.call_soon(self._flush)
            group = self._open[channel] = _Group(self._commands.names.channel(channel), options)
            self._groups.append(group)
        group.entries.append(entry)
        group.size_bytes += len(entry.packed)
        waits: asyncio.Future[PublishResult] = self._loop.create_future()
        group.waiting.append(waits)
        return waits

    def _flush(self) -> None:
        groups, self._groups = self._groups, []
        self._open = {}
        for group in groups:
            self._spawn(self._send(group))

    async def _send(self, group: _Group) -> None:
        self.calls += 1
        try:
            results = await self._commands.publish(group.keys, group.entries, group.options)
        except BaseException as problem:
            told = problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            for waits in group.waiting:
                if not waits.done():
                    waits.set_exception(told)
                    waits.exception()  # perhaps nobody waits any more
            if not isinstance(problem, Exception):
                raise
            return
        for waits, result in zip(group.waiting, results, strict=True):
            if not waits.done():
                waits.set_result(result)


def _fits(group: _Group, entry: Entry, options: ChannelOptions) -> bool:
    return (
        len(group.entries) < MOST_AT_ONCE
        and group.size_bytes + len(entry.packed) <= MOST_BYTES
        and (group.options is options or group.options == options)
    )
