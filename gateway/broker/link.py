"""One end of the socket between a worker and the broker in its supervisor.

It knows how to gather and send records, and nothing of what they say.  How it works: everything that is
sent in one turn of the loop leaves in one write.  What always holds: records arrive in the order in which
they were sent; `on_lost` is called once, and no record after it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

from .wire import Unpacker

_logger = logging.getLogger(__name__)


class Link(asyncio.Protocol):
    """A connected stream of records.  `records` is the union that the other end sends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        records: Any,
        *,
        on_record: Callable[[Any], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._unpacker = Unpacker(records)
        self._on_record = on_record
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = False
        self.handed_over = 0
        """Number of records that were given to the kernel, or wait for it: they may have arrived."""

    async def connect(self, sock: socket.socket) -> None:
        """Take over a connected Unix socket."""
        await self._loop.create_unix_connection(lambda: self, sock=sock)

    @property
    def lost(self) -> bool:
        """Nothing that is sent now will arrive."""
        return self._lost

    @property
    def queued_bytes(self) -> int:
        """Bytes that have not left this process."""
        transport = self._transport
        return self._waiting_bytes + (transport.get_write_buffer_size() if transport is not None else 0)

    def send(self, packed: bytes) -> None:
        """Send a packed record at the end of this turn of the loop.  Does nothing once the link is lost."""
        if self._lost:
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(packed)
        self._waiting_bytes += len(packed)

    def close(self) -> None:
        """Send what waits, then hang up.  Idempotent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._lose()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    def _flush(self) -> None:
        if self._transport is None:
            return  # not connected yet
        waiting, self._waiting = self._waiting, []
        self._waiting_bytes = 0
        if waiting:
            self.handed_over += len(waiting)
            self._transport.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))

    # -- what the loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and send what has been waiting for it."""
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand on every record that is whole; hang up on what is none."""
        try:
            for record in self._unpacker.feed(data):
                if self._lost:
                    return
                self._on_record(record)
        except Exception:
            _logger.exception("the link between worker and supervisor broke")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._lose()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self._waiting.clear()
            self._waiting_bytes = 0
            self._on_lost()
