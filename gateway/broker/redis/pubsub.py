"""The pub/sub connection to one Redis server: bytes in, messages and confirmations out.

It knows what a server in subscribed mode says.  Which channels are wanted is `subscriber.py`'s affair.

How it works: it takes over the transport of a connection that is logged in.  A ping leaves with every
heartbeat; when nothing at all has come by the next one, the connection is given up.  What always holds:
everything that one read brought is reported in its order, in as few calls as that allows; a stream on which
anything went wrong is aborted, and reports its end once and nothing afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import hiredis
from hiredis import ReplyError

from .connection import Connection
from .options import RedisOptions
from .replies import code_of, shorten
from .resp import NOTHING, make_reader, pack

_logger = logging.getLogger(__name__)
_PING: Final = (b"ping", b"")
_PACKED_PING: Final = pack(("PING",))
_PONGS: Final = (b"PONG", [b"pong", b""])


class Mode(NamedTuple):
    """The words of plain or of sharded pub/sub, and how many channels one command may name."""

    subscribe: bytes
    unsubscribe: bytes
    message: bytes
    publish: bytes
    channels_per_command: int


PLAIN: Final = Mode(b"subscribe", b"unsubscribe", b"message", b"PUBLISH", 1000)
SHARDED: Final = Mode(b"ssubscribe", b"sunsubscribe", b"smessage", b"SPUBLISH", 1)
"""One channel to a command: those of a command must share a slot, and an error names none."""


class StreamListener(Protocol):
    """What a stream reports to.  None of these may raise, block or await."""

    def on_messages(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Take (channel, payload) pairs, in order."""

    def on_answered(self, channels: Sequence[bytes]) -> None:
        """Hear that for each of these one command to subscribe or unsubscribe was carried out."""

    def on_dropped(self, channel: bytes) -> None:
        """Hear that the server ended a subscription, as it does when a slot moves."""

    def on_refused(self, channel: bytes, error: ReplyError) -> None:
        """Hear that the server did not carry out a command for this channel."""

    def on_lost(self, reason: str) -> None:
        """Hear that the stream has ended."""


class PubSubStream(asyncio.Protocol):
    """A pub/sub connection.  Its constructor takes the connection over."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: RedisOptions,
        mode: Mode,
        connection: Connection,
        listener: StreamListener,
    ) -> None:
        self.name = connection.name
        self.lost = False
        self.messages = 0
        self._loop = loop
        self._mode = mode
        self._listener = listener
        self._heartbeat_s = options.heartbeat_s
        self._reader = make_reader()
        self._expected: deque[tuple[bytes, bytes]] = deque()
        self._heard = True
        self._transport = connection.release()
        self._transport.set_protocol(self)
        self._beat_due_s = loop.time() + self._heartbeat_s
        self._timer = loop.call_later(self._heartbeat_s, self._beat)
        self._ping()

    def send(self, subscribe: Sequence[bytes], unsubscribe: Sequence[bytes]) -> None:
        """Subscribe and unsubscribe; each channel is answered, or refused, on its own."""
        mode = self._mode
        packed: list[bytes] = []
        for word, channels in ((mode.unsubscribe, unsubscribe), (mode.subscribe, subscribe)):
            for start in range(0, len(channels), mode.channels_per_command):
                some = channels[start : start + mode.channels_per_command]
                packed.append(pack((word, *some)))
                self._expected.extend((word, channel) for channel in some)
        if packed and not self.lost:
            self._transport.write(b"".join(packed))

    def close(self) -> None:
        """Hang up without a report.  Idempotent."""
        self.lost = True
        self._timer.cancel()
        self._transport.abort()

    def abort(self, reason: str) -> None:
        """Hang up at once."""
        if not self.lost:
            self.close()
            self._listener.on_lost(reason)

    def _beat(self) -> None:
        now_s = self._loop.time()
        late = now_s - self._beat_due_s > self._heartbeat_s / 2  # this process did not run: no verdict
        if not self._heard and not late:
            self.abort(f"no sign of life within {self._heartbeat_s:g} s")
            return
        self._heard = False
        self._beat_due_s = now_s + self._heartbeat_s
        self._timer = self._loop.call_later(self._heartbeat_s, self._beat)
        self._ping()

    def _ping(self) -> None:
        self._expected.append(_PING)
        self._transport.write(_PACKED_PING)

    # -- what the loop calls ------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Report what came; hang up on what no Redis says."""
        if self.lost:
            return
        self._heard = True
        try:
            self._reader.feed(data)
            self._take_all()
        except hiredis.HiredisError as problem:
            self.abort(f"it does not speak RESP: {problem}"[:200])
        except Exception:
            _logger.exception("a pub/sub connection to Redis broke", extra={"server": self.name})
            self.abort("what it said could not be taken")

    def connection_lost(self, exc: Exception | None) -> None:
        """The server is gone."""
        self.abort(f"connection lost: {exc}" if exc is not None else "the server hung up")

    def _take_all(self) -> None:
        gets = self._reader.gets
        message = self._mode.message
        messages: list[tuple[bytes, bytes]] = []
        answered: list[bytes] = []
        while not self.lost and (push := gets()) is not NOTHING:
            if type(push) is list and len(push) == 3 and push[0] == message:
                if answered:
                    self._listener.on_answered(answered)
                    answered = []
                messages.append((push[1], push[2]))
                continue
            if messages:
                self._report(messages)
                messages = []
            channel = self._take_other(push)
            if channel is not None:
                answered.append(channel)
        if answered and not self.lost:
            self._listener.on_answered(answered)
        if messages and not self.lost:
            self._report(messages)

    def _report(self, messages: list[tuple[bytes, bytes]]) -> None:
        self.messages += len(messages)
        self._listener.on_messages(messages)

    def _take_other(self, push: Any) -> bytes | None:
        """Take what is no message; return the channel when it answers a command for one."""
        expected = self._expected
        if push in _PONGS and expected and expected[0] is _PING:
            expected.popleft()
            return None
        if isinstance(push, ReplyError):
            self._take_error(push)
            return None
        if isinstance(push, list) and len(push) == 3 and isinstance(push[1], bytes):
            if expected and expected[0] == (push[0], push[1]):
                return expected.popleft()[1]
            if push[0] == self._mode.unsubscribe:
                self._listener.on_dropped(push[1])
                return None
        self.abort("it said what a pub/sub connection does not say")
        return None

    def _take_error(self, error: ReplyError) -> None:
        expected = self._expected.popleft() if self._expected else None
        if expected is _PING and code_of(error) == "BUSY":
            return  # it runs somebody's script, and lives
        if expected is None or expected is _PING or self._mode.channels_per_command > 1:
            self.abort(shorten(error))
        else:
            self._listener.on_refused(expected[1], error)
