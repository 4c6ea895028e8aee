"""The remote broker: a worker's way to the broker in its supervisor.

Knows nothing of sockets but that it is given one, nor of processes.  How it works: every call is a record
with a number; its coroutine waits for the reply with that number.  Publications, presence and control come
between the replies, in the one order in which the supervisor sent them, and go to the relay at once.

What always holds: a publication is relayed in the order of its offset, and after the reply to the
`subscribe` that asked for it was read.  When the link is lost, or the supervisor answers nothing for
`silence_s`, every call under way ends with an error: OutcomeUnknownError for a publish or an update that may
have arrived, BrokerUnavailableError for everything else; the broker does not come back by itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from ..eager import drive, run_eagerly
from ..errors import (
    BrokerError,
    BrokerUnavailableError,
    CommandError,
    OutcomeUnknownError,
    StaleVersionError,
    UsageError,
)
from ..message.publication import Member, Position, Publication
from . import wire
from .interface import (
    ChannelOptions,
    Control,
    HistoryPage,
    PresenceChange,
    Publisher,
    PublishResult,
    Relay,
    State,
    tell,
)
from .link import Link

DEFAULT_QUEUE_BYTES: Final = 16 << 20
DEFAULT_SILENCE_S: Final = 10.0

_logger = logging.getLogger(__name__)

R = TypeVar("R", bound=wire.Call)


class RemoteBroker:
    """A `Broker` whose state another process keeps.

    `connect` returns a connected Unix socket.  `on_question` carries out what the supervisor asks of this
    process (see `wire.Question`) and returns the answer, at once or later.  `on_lost` is called when the link
    is lost without `stop`.  When more than `queue_bytes` wait to leave, calls are refused.
    """

    proving = None

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        connect: Callable[[], Awaitable[socket.socket]],
        on_question: Callable[[str, bytes], bytes | Awaitable[bytes]] = lambda what, data: b"",
        on_lost: Callable[[], None] = lambda: None,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        silence_s: float = DEFAULT_SILENCE_S,
    ) -> None:
        self._loop = loop
        self._connect = connect
        self._on_question = on_question
        self._on_lost = on_lost
        self._queue_bytes = queue_bytes
        self._silence_s = silence_s
        self._relay: Relay | None = None
        self._link: Link | None = None
        self._calls = 0
        self._sent = 0
        # In the order in which they were sent: what waits for its reply, since when, as which record.
        self._waiting: dict[int, tuple[asyncio.Future[Any], float, int]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------

    async def start(self, relay: Relay) -> None:
        """See `Broker.start`.  Raises UsageError when it is running, BrokerUnavailableError."""
        if self._relay is not None:
            raise UsageError("the broker is running already")
        link = Link(self._loop, wire.FromSupervisor, on_record=self._take, on_lost=self._lose)
        try:
            await link.connect(await self._connect())
        except OSError as problem:
            raise BrokerUnavailableError(f"the supervisor cannot be reached: {problem}") from None
        self._relay, self._link, self._sent = relay, link, 0

    async def stop(self) -> None:
        """See `Broker.stop`: what was sent still arrives."""
        link, self._link, self._relay = self._link, None, None
        if link is not None:
            link.close()

    def tell(self, record: wire.Notice | wire.HoldSession | wire.ReleaseSession) -> None:
        """Say something that needs no reply.  Does nothing when there is no link."""
        if self._link is not None:
            self._send(self._link, record)

    # -- calls --------------------------------------------------------------------------

    async def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, *, key: str = ""
    ) -> PublishResult:
        """See `Broker.publish`."""
        record = wire.Publish(self._next(), channel, publication, options, key)
        placed = await self._call(record, wire.Placed)
        return PublishResult(placed.epoch, placed.offset, placed.duplicate)

    async def update(
        self,
        channel: str,
        publication: Publication,
        options: ChannelOptions,
        *,
        base: Position,
        key: str = "",
    ) -> PublishResult:
        """See `Broker.update`."""
        record = wire.Update(self._next(), channel, publication, options, *base, key)
        placed = await self._call(record, wire.Placed)
        return PublishResult(placed.epoch, placed.offset, placed.duplicate)

    async def state(self, channel: str, options: ChannelOptions) -> State:
        """See `Broker.state`."""
        told = await self._call(wire.ReadState(self._next(), channel, options), wire.StateIs)
        return State(told.epoch, told.version, told.data)

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        """See `Broker.begin_publish`."""
        drive(tell(self.publish(channel, publication, options, key=key), publisher), self._loop)

    async def subscribe(self, channel: str, options: ChannelOptions) -> Position:
        """See `Broker.subscribe`."""
        placed = await self._call(wire.Subscribe(self._next(), channel, options), wire.Placed)
        return Position(placed.epoch, placed.offset)

    async def unsubscribe(self, channel: str) -> None:
        """See `Broker.unsubscribe`."""
        await self._call(wire.Unsubscribe(self._next(), channel), wire.Counted)

    async def history(
        self, channel: str, options: ChannelOptions, *, since: Position, limit: int
    ) -> HistoryPage:
        """See `Broker.history`."""
        record = wire.ReadSince(self._next(), channel, options, since.epoch, since.offset, limit)
        return _page(await self._call(record, wire.Page))

    async def history_before(
        self, channel: str, options: ChannelOptions, *, before: int, limit: int
    ) -> HistoryPage:
        """See `Broker.history_before`."""
        record = wire.ReadBefore(self._next(), channel, options, before, limit)
        return _page(await self._call(record, wire.Page))

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        """See `Broker.join`.  The member is this worker's from now on: it leaves when the worker is lost."""
        await self._call(wire.Join(self._next(), channel, member, options), wire.Counted)

    async def leave(self, channel: str, client: str, options: ChannelOptions) -> None:
        """See `Broker.leave`."""
        await self._call(wire.Leave(self._next(), channel, client, options), wire.Counted)

    async def presence(self, channel: str, options: ChannelOptions) -> list[Member]:
        """See `Broker.presence`."""
        return (await self._call(wire.ListMembers(self._next(), channel, options), wire.Members)).members

    async def control(self, control: Control) -> int:
        """See `Broker.control`."""
        return (await self._call(wire.SendControl(self._next(), control), wire.Counted)).count

    async def save_session(self, session: str, record: bytes, ttl_s: float, *, client: str = "") -> None:
        """See `Broker.save_session`."""
        await self._call(wire.SaveSession(self._next(), session, record, ttl_s), wire.Counted)

    async def take_session(self, session: str) -> bytes | None:
        """See `Broker.take_session`."""
        return (await self._call(wire.TakeSession(self._next(), session), wire.Taken)).record

    async def probe(self) -> float:
        """See `Broker.probe`: to the supervisor and back."""
        begun = self._loop.time()
        await self._call(wire.Probe(self._next()), wire.Counted)
        return self._loop.time() - begun

    def stats(self) -> dict[str, int]:
        """Return nothing: the supervisor tells what is kept."""
        return {}

    def sweep(self) -> bool:
        """See that the supervisor answers; when it does not, give the link up."""
        link = self._link
        oldest = next(iter(self._waiting.values()), None)
        if link is not None and oldest is not None and self._loop.time() - oldest[1] > self._silence_s:
            _logger.error("the supervisor has not answered for %g s", self._silence_s)
            link.abort()
        return False

    def _next(self) -> int:
        self._calls += 1
        return self._calls

    async def _call(self, record: wire.Call, reply: type[R]) -> R:
        link = self._link
        if link is None or link.lost:
            raise BrokerUnavailableError("there is no link to the supervisor")
        if link.queued_bytes > self._queue_bytes:
            raise BrokerUnavailableError("too much waits to be sent to the supervisor")
        waits: asyncio.Future[Any] = self._loop.create_future()
        self._send(link, record)
        self._waiting[record.call] = (waits, self._loop.time(), self._sent)
        try:
            result = await waits
        except _LostError as lost:
            if isinstance(record, wire.Publish | wire.Update) and lost.may_have_arrived:
                raise OutcomeUnknownError("the link to the supervisor broke in mid-publish") from None
            raise BrokerUnavailableError("the link to the supervisor broke") from None
        if isinstance(result, wire.Refused):
            raise BrokerUnavailableError(result.message)
        if isinstance(result, wire.Stale):
            raise StaleVersionError(result.epoch, result.version, result.data)
        if isinstance(result, wire.Declined):
            raise CommandError(result.code, result.message)
        if not isinstance(result, reply):
            raise wire.WireError(f"{type(result).__name__} is no reply to {type(record).__name__}")
        return result

    def _send(self, link: Link, record: wire.Record) -> None:
        link.send(wire.pack(record))
        self._sent += 1

    # -- what the supervisor sends --------------------------------------------------------

    def _take(self, record: wire.FromSupervisor) -> None:
        if isinstance(record, wire.Published):
            self._relay_publication(record)
        elif isinstance(record, wire.Call):
            entry = self._waiting.pop(record.call, None)
            if entry is not None and not entry[0].done():
                entry[0].set_result(record)
        elif isinstance(record, wire.PresenceChanged):
            self._relay_presence(record)
        elif isinstance(record, wire.Lost):
            self._relay_loss(record)
        elif isinstance(record, wire.Controlled):
            self._reply(wire.Answer(record.question, b"", self._carry_out(record.control)))
        elif isinstance(record, wire.Question):
            task = run_eagerly(self._answer(record), self._loop)
            if task is not None:
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    def _reply(self, answer: wire.Answer) -> None:
        if self._link is not None:
            self._send(self._link, answer)

    def _relay_publication(self, record: wire.Published) -> None:
        if self._relay is None:
            return
        try:
            self._relay.on_publications(record.channel, record.epoch, [record.publication])
        except Exception:
            _logger.exception("the relay failed on a publication")

    def _relay_loss(self, record: wire.Lost) -> None:
        if self._relay is None:
            return
        try:
            self._relay.on_position(record.channel, record.epoch, record.offset)
        except Exception:
            _logger.exception("the relay failed on a loss")

    def _relay_presence(self, record: wire.PresenceChanged) -> None:
        if self._relay is None:
            return
        try:
            self._relay.on_presence(record.channel, PresenceChange(record.joined, record.member))
        except Exception:
            _logger.exception("the relay failed on a change of presence")

    def _carry_out(self, control: Control) -> int:
        try:
            return self._relay.on_control(control) if self._relay is not None else 0
        except Exception:
            _logger.exception("the relay failed on a control message")
            return 0

    async def _answer(self, question: wire.Question) -> None:
        data = b""
        try:
            answer = self._on_question(question.what, question.data)
            data = answer if isinstance(answer, bytes) else await answer
        except Exception:
            _logger.exception("a question of the supervisor could not be answered: %s", question.what)
        self._reply(wire.Answer(question.question, data, 0))

    def _lose(self) -> None:
        wanted = self._link is None  # `stop` closed it
        link, waiting = self._link, self._waiting
        self._waiting = {}
        handed_over = link.handed_over if link is not None else self._sent
        for waits, _, number in waiting.values():
            if not waits.done():
                waits.set_exception(_LostError(number <= handed_over))
        if not wanted:
            self._on_lost()


class _LostError(BrokerError):
    """The link was lost before the reply; `may_have_arrived` tells whether the call had left."""

    def __init__(self, may_have_arrived: bool) -> None:
        super().__init__("lost")
        self.may_have_arrived = may_have_arrived


def _page(page: wire.Page) -> HistoryPage:
    return HistoryPage(page.publications, Position(page.epoch, page.offset), page.complete)
