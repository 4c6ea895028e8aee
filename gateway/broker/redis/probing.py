"""Probes through every server of a shard: whether messages get to it and back.

Knows nothing of channels' publications.  How it works: for each server there is a pub/sub channel of the
node's own that lives there; a probe goes to all of them at once.  What always holds: `unreachable` names the
servers from which the last probe did not come back; as long as one of them answers, the shard is of use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ...errors import BrokerError, BrokerUnavailableError
from .commands import Commands
from .messages import Probed, pack, unpack

_REPEAT_S: Final = 0.3  # the subscription of a server that is new may not stand yet


class Probing:
    """`hear` has the messages of a pub/sub channel taken, or, with None, no longer.  `clock` measures."""

    def __init__(
        self,
        commands: Commands,
        *,
        node: str,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        timeout_s: float,
        hear: Callable[[bytes, Callable[[bytes], None] | None], None],
    ) -> None:
        self.unreachable: tuple[str, ...] = ()
        self.round_trip_s = 0.0
        self.answered_at = loop.time()
        self._commands = commands
        self._node = node
        self._loop = loop
        self._clock = clock
        self._timeout_s = timeout_s
        self._hear = hear
        self._heard: set[bytes] = set()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._sent = 0

    def listen(self) -> dict[str, bytes]:
        """Hear the probe channel of every server there is now; return them by the servers' names."""
        names, servers = self._commands.names, self._commands.shard.servers()
        channels = {server: names.probe(self._node, tag) for server, tag in servers.items()}
        for gone in self._heard.difference(channels.values()):
            self._heard.discard(gone)
            self._hear(gone, None)
        for new in set(channels.values()).difference(self._heard):
            self._heard.add(new)
            self._hear(new, self._take)
        return channels

    async def probe(self) -> float:
        """Send a message to every server and back; return the longest time that one took, in seconds.

        Raises BrokerUnavailableError when none came back.
        """
        channels = self.listen()
        tried = (self._probe(channel) for channel in channels.values())
        times = dict(zip(channels, await asyncio.gather(*tried), strict=True))
        self.unreachable = tuple(sorted(server for server, seconds in times.items() if seconds is None))
        answered = [seconds for seconds in times.values() if seconds is not None]
        if not answered:
            raise BrokerUnavailableError(f"no message comes back from {self._commands.shard.name}")
        self.answered_at = self._loop.time()
        self.round_trip_s = max(answered)
        return self.round_trip_s

    async def _probe(self, channel: bytes) -> float | None:
        """Return the seconds that a message took, or None when none came back in time."""
        self._sent += 1
        number, begun = self._sent, self._clock()
        back = self._waiting[number] = self._loop.create_future()
        try:
            async with asyncio.timeout(self._timeout_s):
                while not back.done():
                    await self._commands.tell(channel, pack(Probed(number)))
                    await asyncio.wait((back,), timeout=_REPEAT_S)
        except (TimeoutError, BrokerError):
            return None
        finally:
            del self._waiting[number]
        return self._clock() - begun

    def _take(self, payload: bytes) -> None:
        message = unpack(payload)
        back = self._waiting.get(message.number) if isinstance(message, Probed) else None
        if back is not None and not back.done():
            back.set_result(None)
