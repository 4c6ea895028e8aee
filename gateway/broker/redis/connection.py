"""One connection to one Redis server: commands leave in order, and replies come back in order.

It knows RESP and sockets; nothing of logins, of what the commands say, or of reconnecting.

How it works: commands of one turn of the loop leave in one write.  While the socket does not take them they
wait here, so that those which never left can be told from those which did.  There is no time kept for each
command: a check, several times in a timeout, remembers how many had been asked by then, and gives the
connection up when one of these is not answered a timeout later.

What always holds: whoever waits is told, of a reply (an error reply is one, too) or of a
BrokerUnavailableError, which is a LostReplyError where the command may have arrived.  A connection on which
anything went wrong is aborted and answers nothing any more, so that no reply meets another command.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import hiredis

from ...errors import BrokerUnavailableError
from .options import RedisOptions
from .replies import LostReplyError
from .resp import NOTHING, make_reader
from .turn import Turn

_logger = logging.getLogger(__name__)
_PIECE_BYTES: Final = 256 * 1024
_CHECKS: Final = 4


class Connection(asyncio.Protocol):
    """A connection.  `on_lost` is called once, with the reason; not after `close` or `release`.

    `scripts` belongs to whoever loads scripts: by source, the SHA1 under which this server has them.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: RedisOptions, name: str, turn: Turn | None = None
    ) -> None:
        self.name = name
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.scripts: dict[str, str] = {}
        self.lost = False
        self._loop = loop
        self._turn = turn if turn is not None else Turn(loop)
        self._options = options
        self._reader = make_reader()
        self._transport: asyncio.Transport | None = None
        self._waiters: deque[Callable[[Any], None] | None] = deque()
        self._queued: deque[bytes] = deque()
        self._queued_bytes = 0
        self._paused = False
        self._asked = 0
        self._handed_over = 0
        self._answered = 0
        self._marks: deque[tuple[int, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._check_due_s = 0.0

    @property
    def in_flight(self) -> int:
        """Commands without a reply."""
        return self._asked - self._answered

    @property
    def queued_bytes(self) -> int:
        """Bytes that have not left this process."""
        transport = self._transport
        return self._queued_bytes + (transport.get_write_buffer_size() if transport is not None else 0)

    # -- commands -----------------------------------------------------------------------

    def call(self, packed: bytes) -> asyncio.Future[Any]:
        """Queue a packed command; return the future of its reply.

        Raises BrokerUnavailableError when the connection is lost or the queue full.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self.ask(packed, partial(_resolve, future))
        return future

    def ask(self, packed: bytes, take: Callable[[Any], None]) -> None:
        """Queue a packed command; `take` is called with its reply, or with a BrokerUnavailableError.

        Raises BrokerUnavailableError when the connection is lost or the queue full.  `take` must not raise.
        """
        if self.lost:
            raise BrokerUnavailableError(f"{self.name}: not connected")
        if (
            self._queued_bytes + len(packed) > self._options.max_queued_bytes
            or self._asked - self._answered >= self._options.max_commands
        ):
            raise BrokerUnavailableError(f"{self.name}: too many commands wait for it")
        self._queue(packed, take)

    def tell(self, packed: bytes) -> None:
        """Queue a packed command whose reply does not matter.  Does nothing once the connection is lost."""
        if not self.lost:
            self._queue(packed, None)

    def _queue(self, packed: bytes, waiter: Callable[[Any], None] | None) -> None:
        if not self._queued and not self._paused:
            self._turn.send(self._flush)
        self._waiters.append(waiter)
        self._queued.append(packed)
        self._queued_bytes += len(packed)
        self._asked += 1
        if self._timer is None:
            self._marks.append((self._asked, self._loop.time()))
            self._check_later()

    def _flush(self) -> None:
        transport = self._transport
        queued = self._queued
        while queued and not self._paused and transport is not None:
            if self._queued_bytes <= _PIECE_BYTES:
                self._handed_over += len(queued)
                self._queued_bytes = 0
                piece = queued[0] if len(queued) == 1 else b"".join(queued)
                queued.clear()
            else:
                piece = self._take_piece()
            transport.write(piece)

    def _take_piece(self) -> bytes:
        taken: list[bytes] = []
        piece_bytes = 0
        while self._queued and (not taken or piece_bytes < _PIECE_BYTES):
            taken.append(self._queued.popleft())
            piece_bytes += len(taken[-1])
        self._handed_over += len(taken)
        self._queued_bytes -= piece_bytes
        return b"".join(taken)

    # -- deadlines ----------------------------------------------------------------------

    def _check_later(self) -> None:
        after_s = self._options.command_timeout_s / _CHECKS
        self._check_due_s = self._loop.time() + after_s
        self._timer = self._loop.call_later(after_s, self._check)

    def _check(self) -> None:
        """Give the connection up when a command has waited too long; look again later while any waits."""
        self._timer = None
        now_s = self._loop.time()
        timeout_s = self._options.command_timeout_s
        marks = self._marks
        while marks and marks[0][0] <= self._answered:
            marks.popleft()
        if now_s - self._check_due_s > timeout_s / _CHECKS:
            marks.clear()  # it was this process that did not run: the replies may be in the socket
        elif marks and now_s - marks[0][1] >= timeout_s:
            self.abort(f"no reply within {timeout_s:g} s")
            return
        if self._asked > self._answered:
            marks.append((self._asked, now_s))
            self._check_later()
        else:
            marks.clear()

    # -- the end ------------------------------------------------------------------------

    def release(self) -> asyncio.Transport:
        """Hand over the transport of a connection that waits for nothing; this is of no use afterwards.

        Raises BrokerUnavailableError.
        """
        if self._transport is None or self.in_flight or self.lost:
            raise BrokerUnavailableError(f"{self.name}: not connected")
        self._end("handed over")
        return self._transport

    def close(self) -> None:
        """Hang up; whoever waits is told.  Idempotent."""
        self.on_lost = lambda reason: None
        self.abort("closed")

    def abort(self, reason: str) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        if not self.lost:
            self._end(reason)
            self.on_lost(reason)

    def _end(self, reason: str) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        arrived = self._handed_over - self._answered
        waiters, self._waiters = self._waiters, deque()
        self._queued.clear()
        self._queued_bytes = 0
        self._asked = self._handed_over = self._answered = 0
        for number, waiter in enumerate(waiters):
            if waiter is not None:
                kind = LostReplyError if number < arrived else BrokerUnavailableError
                waiter(kind(f"{self.name}: {reason}"))

    # -- what the loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and send what has been waiting for it."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=4 * _PIECE_BYTES)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Hand every whole reply to whoever waits for it; hang up on what is none."""
        if self.lost:
            return
        try:
            self._reader.feed(data)
            self._take_replies()
        except hiredis.HiredisError as problem:
            self.abort(f"it does not speak RESP: {problem}"[:200])
        except Exception:
            _logger.exception("a connection to Redis broke", extra={"server": self.name})
            self.abort("its reply could not be taken")

    def _take_replies(self) -> None:
        gets = self._reader.gets
        waiters = self._waiters
        while not self.lost and (reply := gets()) is not NOTHING:
            if self._answered >= self._handed_over:
                self.abort("a reply came that nobody asked for")
                return
            waiter = waiters.popleft()
            self._answered += 1
            if waiter is not None:
                waiter(reply)

    def pause_writing(self) -> None:
        """Keep commands here until the socket takes more."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what has been waiting."""
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server is gone."""
        self._lose(f"connection lost: {exc}" if exc is not None else "the server hung up")


def _resolve(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, BrokerUnavailableError):
        future.set_exception(reply)
        future.exception()  # perhaps nobody waits any more
    else:
        future.set_result(reply)
