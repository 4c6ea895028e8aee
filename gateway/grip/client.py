"""One client of a GRIP service: what it says becomes events, what the service answers is carried out.

The handler of an open connection.  It knows its connection, an `Exchange` and a `Hearing`.  How it works:
what comes waits in a queue; one task at a time takes a batch of it, posts it, and carries out the answer
before it takes the next.  Where too much waits the client is not read from; where the client does not read,
nothing is asked of the service.

What always holds: the service hears of everything in order, and of the end once, unless it detached the
client, said itself that there is none, or could not be reached; a failure costs this one connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from .. import closecodes
from ..errors import (
    BrokerError,
    CommandError,
    GatewayError,
    ServiceError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from ..passthrough.passing import Limited
from .control import (
    PREFIX,
    Control,
    Detach,
    FlushDelayed,
    KeepAlive,
    MalformedControlError,
    SendDelayed,
    SetMeta,
    Subscribe,
    Unsubscribe,
    read_control,
)
from .counts import GripCounts
from .events import DISCONNECT, Event, Kind, close_event, code_and_reason, content_bytes, not_taken
from .exchange import Exchange
from .hearing import Hearing
from .queue import EventQueue
from .replies import NonsenseError, Opened, Reply
from .tending import Tending

_TEXT: Final = 1
_BINARY: Final = 2
_PING: Final = 9
_PONG: Final = 10
_FILTERED_BY: Final = "user"
_LAST: Final = frozenset((Kind.CLOSE, Kind.DISCONNECT))  # nothing comes behind them
_MOST_PINGS: Final = 64  # that are remembered until they are answered

_logger = logging.getLogger(__name__)


class Socket(Protocol):
    """A client's connection, as far as it is needed here (see `connection.interface.Connection`)."""

    closed: bool

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait behind the socket."""

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one message."""

    def send_control(self, opcode: int, payload: bytes) -> None:
        """Send a ping or a pong."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake.  Idempotent."""

    def hold(self) -> None:
        """Read no more messages until `release`.  Idempotent."""

    def release(self) -> None:
        """Read again.  Idempotent."""


class ClientOptions(NamedTuple):
    """`prefix` begins the names of channels.  `patience_s`: how long events wait for a service that is away.

    `most_queued_bytes`: how much a client may leave unread before its service is asked nothing more.
    """

    prefix: str = ""
    patience_s: float = 10.0
    most_queued_bytes: int = 1 << 20


class Failure(NamedTuple):
    """Why a connection is closed: a word for the metrics, and what the client is told."""

    why: str
    code: int
    reason: str


_AWAY: Final = "the service behind this address did not answer"
_NONSENSE: Final = Failure("nonsense", closecodes.INTERNAL_ERROR, "the service gave no usable answer")
_GONE: Final = Failure("gone", closecodes.SERVICE_RESTART, "the service does not know this connection")
_FAILURES: Final[tuple[tuple[type[GatewayError], Failure], ...]] = (
    (NonsenseError, _NONSENSE),
    (MalformedControlError, Failure("control", closecodes.INTERNAL_ERROR, _NONSENSE.reason)),
    (CommandError, Failure("control", closecodes.INTERNAL_ERROR, _NONSENSE.reason)),
    (BrokerError, Failure("broker", closecodes.SERVICE_RESTART, "try again later")),
    (ServiceTimeoutError, Failure("timeout", closecodes.SERVICE_RESTART, _AWAY)),
    (ServiceUnavailableError, Failure("unreachable", closecodes.SERVICE_RESTART, _AWAY)),
    (ServiceError, Failure("broken", closecodes.SERVICE_RESTART, _AWAY)),
)


class GripClient:
    """See `connection.interface.RelayHandler`.  `keep` holds tasks; `on_over` is called once, at the end.

    `limited` is None where nothing is limited.
    """

    def __init__(
        self,
        socket: Socket,
        exchange: Exchange,
        options: ClientOptions,
        counts: GripCounts,
        *,
        hearing: Hearing,
        loop: asyncio.AbstractEventLoop,
        keep: Callable[[asyncio.Task[None]], None],
        on_over: Callable[[], None],
        limited: Limited | None = None,
    ) -> None:
        self._socket = socket
        self._exchange = exchange
        self._options = options
        self._counts = counts
        self._hearing = hearing
        self._loop = loop
        self._keep = keep
        self._on_over = on_over
        self._limited = limited
        self._prefix: bytes | None = None
        self._queue = EventQueue()
        self._task: asyncio.Task[None] | None = None
        self._again_bytes = 0  # of what waits, at its beginning: what the service was sent, and did not take
        self._due = False  # an empty request
        self._tending = Tending(loop, ask=self._be_due, say=self._say, heard_at=hearing.spoken_at)
        self._asked: list[bytes] = []  # the service's pings that the client has not answered
        self._answered = 0  # pings of the client that were answered here, and not yet by the service
        self._subscriptions = 0
        self._detached = self._over = self._told = self._failed = False

    def begin(self, opened: Opened) -> None:
        """Carry out what the service answered to OPEN; the connection is open."""
        self._counts.open += 1
        self._counts.opened += 1
        self._prefix = opened.prefix
        self._start(opened.reply)

    # -- what the connection calls --------------------------------------------------------

    def on_message(self, opcode: int, payload: bytes) -> None:
        """Take one message."""
        if self._limited is not None and self._is_too_much(payload):
            return
        self._put(Event(Kind.TEXT if opcode == _TEXT else Kind.BINARY, payload))

    def on_control(self, opcode: int, payload: bytes) -> None:
        """Take a ping, which was answered already, or a pong, of which the service hears if it asked."""
        if opcode == _PING:
            if self._limited is not None and self._is_too_much(payload):
                return
            self._answered = min(self._answered + 1, _MOST_PINGS)
            self._put(Event(Kind.PING, payload))
        elif payload in self._asked:
            self._asked.remove(payload)
            self._put(Event(Kind.PONG, payload))

    def on_goodbye(self, code: int, reason: bytes) -> None:
        """The client closes."""
        self._tell(close_event(code, reason))

    def on_writable(self) -> None:
        """Go on: the client reads again."""
        self._hearing.catch_up()
        self._pump()

    def on_close(self, code: int, reason: str) -> None:
        """The connection is over: end everything, and tell the service if it does not know."""
        self._over = True
        self._tending.stop()
        self._counts.open -= 1
        self._counts.subscriptions -= self._subscriptions
        self._hearing.leave()
        if self._limited is not None:
            self._limited.leave()
        self._on_over()
        self._tell(DISCONNECT)
        self._pump()

    def _is_too_much(self, payload: bytes) -> bool:
        """Take what the client says from what it may say; close it if that is more."""
        if self._limited is None or self._limited.take(1, len(payload)):
            return False
        self._socket.close(closecodes.POLICY_VIOLATION, "too many messages")
        return True

    # -- events to the service ------------------------------------------------------------

    def _put(self, event: Event) -> None:
        if self._detached:
            return
        self._queue.put(event)
        if self._queue.full:
            self._socket.hold()
        self._pump()

    def _tell(self, last: Event) -> None:
        """Have the service hear of the end, once."""
        if not self._told and not self._detached:
            self._told = True
            self._queue.put(last)

    def _be_due(self) -> None:
        self._due = True
        self._pump()

    def _pump(self) -> None:
        if self._task is None and self._may_ask():
            self._start(None)

    def _may_ask(self) -> bool:
        """Tell whether there is something to ask, and the client reads what may be answered."""
        wanted = self._queue.news or (self._due and not self._over)
        return wanted and (self._over or self._socket.queued_bytes <= self._options.most_queued_bytes)

    def _start(self, reply: Reply | None) -> None:
        self._tending.busy()
        self._task = self._loop.create_task(self._run(reply))
        self._keep(self._task)

    async def _run(self, reply: Reply | None) -> None:
        """Carry out an answer, then send what waits, until nothing does."""
        try:
            if reply is not None:
                await self._obey(reply)
            while self._may_ask():
                await self._obey(await self._ask())
        except GatewayError as problem:
            self._fail(next(failure for kind, failure in _FAILURES if isinstance(problem, kind)), problem)
        except Exception:
            _logger.exception("internal error with an answer of a GRIP service")
            self._fail(Failure("internal", closecodes.INTERNAL_ERROR, "internal error"), "internal error")
        finally:
            self._task = None
        if not self._over:
            self._tending.rest()
        self._pump()

    async def _ask(self) -> Reply:
        """Send what waits, and keep what the service does not take.  Raises GatewayError."""
        again_bytes, self._again_bytes = self._again_bytes, 0
        batch = self._next()
        more = bool(self._queue)
        reply = await self._exchange.send(batch, self._patience_s, again_bytes=again_bytes)
        if reply.taken_bytes is not None:
            self._keep_back(batch, reply.taken_bytes, more=more)
        return reply

    def _keep_back(self, batch: list[Event], taken_bytes: int, *, more: bool) -> None:
        """Keep what of a batch was not taken until there is more, of which there was `more` already."""
        left_bytes = content_bytes(batch) - taken_bytes
        if left_bytes < 0:
            raise NonsenseError("more content was accepted than there was")
        if not left_bytes or batch[-1].kind in _LAST:
            return
        self._queue.put_back(not_taken(batch, taken_bytes))
        self._again_bytes = left_bytes
        if (more and not taken_bytes) or (self._queue.full and not self._told):
            raise NonsenseError("nothing more fits behind the content that was not accepted")

    @property
    def _patience_s(self) -> float:
        return 0.0 if self._failed else self._options.patience_s

    def _next(self) -> list[Event]:
        """Return what is to be sent now; nothing to keep the service's interest."""
        self._due = False
        batch = self._queue.take()
        if self._queue.has_room:
            self._socket.release()
        for event in batch:
            self._counts.events[event.kind.value.lower()] += 1
        return batch

    def _fail(self, failure: Failure, problem: object) -> None:
        """Close the connection for what its service did; try once, at most, to tell the service."""
        self._queue.clear()
        self._counts.complain("a connection of a GRIP service cannot go on", problem, reason=failure.why)
        if self._failed or self._over:
            self._detached = True
            self._counts.failed["farewell"] += 1
            return
        self._failed = True
        self._counts.failed[failure.why] += 1
        self._socket.close(failure.code, failure.reason)

    # -- what the service answers ---------------------------------------------------------

    async def _obey(self, reply: Reply) -> None:
        """Carry out an answer.  Raises GatewayError."""
        self._tending.every(reply.keep_alive_s)
        for event in reply.events:
            if self._over:
                return
            if event.kind is Kind.TEXT or event.kind is Kind.BINARY:
                await self._message(event)
            elif event.kind is Kind.PING:
                self._asked = [*self._asked[1 - _MOST_PINGS :], event.content]
                self._socket.send_control(_PING, event.content)
            elif event.kind is Kind.PONG:
                self._pong(event.content)
            elif event.kind is Kind.CLOSE:
                self._tell(event)
                self._socket.close(*code_and_reason(event))
            elif event.kind is Kind.DISCONNECT:
                self._detached = True
                self._fail(_GONE, "DISCONNECT")

    async def _message(self, event: Event) -> None:
        content = event.content
        if self._prefix is not None:
            if event.kind is Kind.TEXT and content.startswith(PREFIX):
                await self._control(read_control(content.removeprefix(PREFIX)))
                return
            if not content.startswith(self._prefix):
                self._counts.complain("a message of a GRIP service has not the prefix, and is dropped", "")
                return
            content = content[len(self._prefix) :]
        self._say(_TEXT if event.kind is Kind.TEXT else _BINARY, content)

    def _say(self, opcode: int, payload: bytes) -> None:
        if opcode in {_PING, _PONG}:
            self._socket.send_control(opcode, payload)
        else:
            self._socket.send(opcode, payload)
        self._tending.spoke()

    def _pong(self, payload: bytes) -> None:
        """Pass a pong on, unless it answers a ping that was answered here."""
        if self._answered:
            self._answered -= 1
        else:
            self._socket.send_control(_PONG, payload)

    async def _control(self, message: Control) -> None:
        if isinstance(message, Subscribe):
            await self._hearing.subscribe(self._options.prefix + message.channel, message.filters)
        elif isinstance(message, Unsubscribe):
            self._hearing.unsubscribe(self._options.prefix + message.channel)
        elif isinstance(message, SetMeta) and message.name == _FILTERED_BY:
            self._hearing.known_as(message.value or "")
        elif isinstance(message, Detach):
            self._detach()
        elif isinstance(message, KeepAlive):
            self._tending.tend(message)
        elif isinstance(message, SendDelayed):
            self._tending.delay(message)
        elif isinstance(message, FlushDelayed):
            self._tending.flush()
        if not self._over:
            self._counts.subscriptions += len(self._hearing) - self._subscriptions
            self._subscriptions = len(self._hearing)

    def _detach(self) -> None:
        self._detached = True
        self._queue.clear()
        self._tending.forget_service()
        self._socket.release()
