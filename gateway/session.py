"""One client's session: its commands in order, its subscriptions, what it is told.

It knows its connection only by `Connection`, and neither HTTP nor the broker.  What always
holds: commands are carried out and answered in order, one after the other (of publishes that follow each
other several may wait for the broker; calls may be let overlap; a ping that comes alone is answered at
once), each with an id is answered exactly once; after on_close no subscription is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from . import closecodes
from ._publishing import Publishing, count_settled, encode_answers
from ._sink import Sink
from .asking import Caller
from .auth.grant import ANONYMOUS, Grant
from .commands import carry_out, publish_at_once, subscribe_at_once
from .connection.interface import Connection
from .eager import run_eagerly
from .errors import BrokerError, CommandError
from .hub.channel import Channel
from .hub.encoding import Encoding
from .message.commands import Call, Command, MalformedCommand, Ping, Publish, Subscribe
from .message.events import Event, Hello, Pong, Resumed, Subscribed, Unsubscribed
from .message.names import personal_channel
from .message.publication import Member, Publication
from .message.views import error_of
from .publishing import refusal_of, refuse_publish
from .subscribing import NONE_UNDER_WAY, subscribe

if TYPE_CHECKING:
    from .node import Node

_logger = logging.getLogger(__name__)

_MOST_MISUSES: Final = 10
_MOST_AT_ONCE: Final = 256
_FEW: Final = 8
_NO_COMMANDS: Final[list[Command]] = []  # of all sessions that have nothing to do; never changed
_NO_PUBLISHES: Final[list[Publishing]] = []  # the same


class SessionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a lost connection: as whom, subscribed to what, and its client id."""

    user: str
    channels: list[str]
    client: str = ""
    ends: dict[str, int] = {}
    """When subscriptions end that a token for the channel made, in seconds since 1970."""

    def encode(self) -> bytes:
        """Return the record as a broker keeps it."""
        return msgspec.json.encode(self)


class Session:
    """The handler of a connection at `/ws` (see `connection.interface.Handler`).

    `client` names this connection; `session` what it was subscribed to, also after it was lost.  What an idle
    session does not need it does not have: empty containers are shared, a few channels are a tuple.
    """

    __slots__ = (
        "_channels",
        "_misuses",
        "_pending",
        "_publishes",
        "_tasks",
        "client",
        "codec",
        "connection",
        "encoding",
        "grant",
        "node",
        "session",
        "subscribing",
        "user",
    )

    def __init__(
        self, node: Node, connection: Connection, encoding: Encoding, *, user: str, grant: Grant = ANONYMOUS
    ) -> None:
        self.node = node
        self.connection = connection
        self.codec = encoding.codec
        self.encoding = encoding
        self.user = user
        self.grant = grant
        self.client = node.random_id()
        self.session = node.random_id()
        self._channels: tuple[str, ...] | set[str] = ()
        self.subscribing: dict[str, object] = NONE_UNDER_WAY
        self._pending = _NO_COMMANDS
        self._tasks: tuple[asyncio.Task[None], ...] = ()  # what is under way
        self._publishes = _NO_PUBLISHES  # what was given to the broker and not answered yet, in order
        self._misuses = 0

    def start(self) -> None:
        """Let the client in: say hello, and subscribe it to its personal channel."""
        self.node.add_session(self)
        if self.node.listener is not None:
            self.node.listener.connected(self.caller())
        self.send(
            Hello(
                client=self.client,
                session=self.session,
                user=self.user,
                ping=self.node.options.ping_interval_s,
                expires=int(self.grant.expires),
            )
        )
        if self.user or self.grant.channels:
            self.run(self._hear_own_channels())

    async def _hear_own_channels(self) -> None:
        """Subscribe the client to its personal channel, and to those that it was granted."""
        try:
            if self.user:
                await subscribe(self, {personal_channel(self.user): None})
            await self.hear(self.grant.channels)
        except BrokerError as problem:
            if times := self.node.seldom.times("turned away"):
                _logger.warning("a client was turned away: %s", problem, extra={"times": times})
            self.connection.close(closecodes.SERVER_ERROR, "try again later")

    @property
    def sink(self) -> Sink:
        """The connection, as the hub sees it."""
        return cast(Sink, self.connection)

    @property
    def member(self) -> Member:
        """This client, as presence shows it."""
        return Member(client=self.client, user=self.user, info=self.grant.info)

    def caller(self) -> Caller:
        """Return this client as an app service is told of it."""
        return Caller(
            client=self.client,
            session=self.session,
            user=self.user,
            info=self.grant.info,
            remote=self.connection.remote,
            forwarded=self.grant.forwarded,
        )

    # -- what the connection calls --------------------------------------------------------

    def on_message(self, opcode: int, payload: bytes) -> None:
        """Take one message of commands."""
        if opcode != self.codec.opcode:
            self.connection.close(
                closecodes.UNSUPPORTED_DATA, "this subprotocol has the other kind of message"
            )
            return
        commands = self.codec.decode(payload, most=self.node.options.max_commands_per_frame)
        if self.node.limits is not None:
            commands = self.node.limits.judge(self, commands, len(payload))
        if len(commands) == 1 and (self._publish_first(commands[0]) or self._pong_at_once(commands[0])):
            return
        if self._pending:
            self._pending.extend(commands)
        else:
            self._pending = list(commands)
        self._advance()
        if len(self._pending) > self.node.options.max_pending_commands:
            self.connection.hold()  # until half of them are done

    def begin(self, commands: list[Command]) -> None:
        """Take what the client said before it was let in."""
        self._pending = commands
        self._advance()

    def on_writable(self) -> None:
        """Send what the client's channels have for it; then go on with its commands."""
        self.node.hub.catch_up(self.sink)
        self._go_on()

    def on_close(self, code: int, reason: str) -> None:
        """End the client's subscriptions; keep its session for a while if it may come back."""
        for task in self._tasks:
            task.cancel()
        if self.node.calls is not None:
            self.node.calls.give_up(self)
        self.node.remove_session(self)
        ends = {} if self.node.door is None else dict(self.node.door.left(self))
        channels = sorted(self._channels)
        self._channels = ()
        self._publishes = _NO_PUBLISHES
        for name in channels:
            self._unhear(name)
        if self.node.listener is not None:
            self.node.listener.disconnected(self.caller(), code, channels)
        if any(map(self._is_present_in, channels)):
            self.node.spawn(self.leave(channels))
        if not closecodes.MISUSE <= code < closecodes.OVER_CAPACITY:
            record = SessionRecord(self.user, channels, self.client, ends)
            self.put_back(self.session, record, client=self.client)
        else:
            self.node.on_session_dropped(self.session, self.client)

    # -- commands -------------------------------------------------------------------------

    def _advance(self) -> None:
        """Carry out what waits, until something must be waited for, or the client must read first.

        An answer can be ten thousand times as large as its command: who does not read gets no more of them.
        """
        most = self.node.options.max_queued_bytes
        while self._pending and not self.connection.closed and self._may_begin(self._pending[0]):
            if self.connection.queued_bytes > most:
                return
            command = self._pending[0]
            if type(command) is Publish:
                if self._publish(command):
                    self._pending.pop(0)
                    continue
                if self._publishes:
                    return
            self._pending.pop(0)
            if type(command) is Subscribe and subscribe_at_once(self, command):
                continue
            if type(command) is Call and self.node.calls is not None:
                self.node.calls.begin(self, self._answer(command))
            else:
                self.run(self._answer(command))
        if not self._pending:
            self._pending = _NO_COMMANDS

    def _may_begin(self, command: Command) -> bool:
        """Tell whether nothing is under way, or publishes that this one may follow at once.

        A broker keeps their order; one at a time, each would take a way to it and back.
        """
        if self._tasks:
            return False
        if type(command) is Call and self.node.calls is not None and not self.node.calls.has_room(self):
            return False
        return not self._publishes or (type(command) is Publish and len(self._publishes) < _MOST_AT_ONCE)

    def _publish_first(self, command: Command) -> bool:
        """Publish where nothing that came before has to be begun; tell whether that was done."""
        return (
            type(command) is Publish
            and not self._pending
            and not self.connection.closed
            and not self._tasks
            and len(self._publishes) < _MOST_AT_ONCE
            and self.connection.queued_bytes <= self.node.options.max_queued_bytes
            and self._publish(command)
        )

    def _pong_at_once(self, command: Command) -> bool:
        """Answer a sign of life, whatever is under way; tell whether that was done."""
        if type(command) is not Ping or command.id or self.connection.closed:
            return False
        if self.connection.queued_bytes > self.node.options.max_queued_bytes:
            return False
        self.send(Pong())
        return True

    def _publish(self, command: Publish) -> bool:
        """Give a publish to the broker, if nothing else has to be waited for; tell whether that was done."""
        route = self.node.routes.find(command.channel)
        publishing = route.begin(self, command) if route is not None else None
        if publishing is None:
            publishing = Publishing(self, command)
            try:
                if not publish_at_once(self, command, publishing):
                    return False
            except Exception as problem:  # noqa: BLE001 - what nobody expected is logged
                publishing.settle(problem)
        if self._publishes:
            self._publishes.append(publishing)
        elif publishing.known:
            self._tell([publishing])
        else:
            publishing.is_first = True
            self._publishes = [publishing]
        return True

    def on_settled(self) -> None:
        """Answer in the next turn of the loop: the publish that the others wait for is settled."""
        self.node.loop.call_soon(self._answer_publishes)

    def _answer_publishes(self) -> None:
        """Answer all that is settled, in order, in one piece; then go on."""
        publishes = self._publishes
        settled = count_settled(publishes)
        if settled:  # none, if the connection was closed meanwhile
            if settled == len(publishes):
                self._publishes = _NO_PUBLISHES
            else:
                self._publishes = publishes[settled:]
                self._publishes[0].is_first = True
                publishes = publishes[:settled]
            try:
                self._tell(publishes)
            except Exception:
                _logger.exception("answers could not be sent")
                self.connection.close(closecodes.INTERNAL_ERROR, "internal error")
            self._go_on()

    def _tell(self, publishes: list[Publishing]) -> None:
        answers = encode_answers(publishes, self.codec, refuse_publish)
        if len(answers) == 1:
            self.connection.send(self.codec.opcode, answers[0])
        elif answers:
            self.connection.send_many(self.codec.opcode, answers)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what the client's next command must wait for."""
        task = run_eagerly(work, self.node.loop)
        if task is not None:
            self._tasks += (task,)
            task.add_done_callback(self.finished)

    def finished(self, task: asyncio.Task[None]) -> None:
        """Go on after what had to be waited for; close the connection if that raised."""
        self._tasks = tuple(other for other in self._tasks if other is not task)
        if not task.cancelled() and task.exception() is not None:
            _logger.error("a command failed", exc_info=task.exception())
            self.connection.close(closecodes.INTERNAL_ERROR, "internal error")
            return
        self._go_on()

    def _go_on(self) -> None:
        """Carry out what waits; take more commands once there is room for them."""
        self._advance()
        if len(self._pending) <= self.node.options.max_pending_commands // 2:
            self.connection.release()

    async def _answer(self, command: Command) -> None:
        """Carry out one command; answer what it raises by its `error` event."""
        try:
            reply = await carry_out(self, command)
        except Exception as problem:  # noqa: BLE001 - what nobody expected is logged
            self._refuse(command, refusal_of(problem))
            return
        if reply is not None:
            self.send(reply)

    def _refuse(self, command: Command, problem: CommandError) -> None:
        if isinstance(command, MalformedCommand) and not command.id:
            self._misuses += 1
        self.send(error_of(command.id, problem))
        if self._misuses >= _MOST_MISUSES:
            self.connection.close(closecodes.MISUSE, "these messages are no commands")

    def send(self, event: Event) -> None:
        """Send one event to this client."""
        self.connection.send(self.codec.opcode, self.codec.encode(event))

    def send_directly(self, publication: Publication) -> None:
        """Send a message to this client alone; close the connection if it leaves too much unread."""
        if self.connection.queued_bytes > self.node.options.max_queued_bytes:
            self.connection.close(closecodes.SLOW_CONSUMER, "slow consumer")
            return
        payload = self.codec.encode_publication(f"@#{self.client}", publication)
        self.connection.send(self.codec.opcode, payload)

    # -- subscriptions --------------------------------------------------------------------

    @property
    def channels(self) -> frozenset[str]:
        """What the client is subscribed to."""
        return frozenset(self._channels)

    @property
    def channel_count(self) -> int:
        """The number of its subscriptions."""
        return len(self._channels)

    def hears(self, channel: str) -> bool:
        """Tell whether the client is subscribed to a channel."""
        return channel in self._channels

    def attach(self, here: Channel) -> None:
        """Hear a channel from now on."""
        here.attach(self.client, self.sink, self.encoding)
        if isinstance(self._channels, set):
            self._channels.add(here.name)
        else:
            channels = (*self._channels, here.name)
            self._channels = channels if len(channels) <= _FEW else set(channels)
        if self.node.listener is not None:
            self.node.listener.subscribed(self.caller(), here.name)

    def detach(self, channel: str) -> None:
        """Hear a channel no longer.  Idempotent."""
        if self.node.listener is not None and channel in self._channels:
            self.node.listener.unsubscribed(self.caller(), channel)
        if isinstance(self._channels, set):
            self._channels.discard(channel)
        elif channel in self._channels:
            self._channels = tuple(name for name in self._channels if name != channel)
        if self.node.door is not None:
            self.node.door.tickets.forget(self, channel)
        self.node.on_session_changed(self)
        self._unhear(channel)

    def _unhear(self, channel: str) -> None:
        here = self.node.hub.get(channel)
        if here is not None:
            here.detach(self.client)

    async def subscribe_by_server(self, channel: str) -> None:
        """Subscribe the client because a service said so; the client is told."""
        if channel in self._channels or channel in self.subscribing or self.connection.closed:
            return

        def tell(subscriptions: list[Resumed]) -> Event:
            (s,) = subscriptions
            return Subscribed(channel=s.channel, epoch=s.epoch, offset=s.offset, mark=s.mark)

        try:
            await subscribe(self, {channel: None}, tell)
        except CommandError as problem:
            if times := self.node.seldom.times("not subscribed"):
                _logger.warning("a service could not subscribe a client: %s", problem, extra={"times": times})

    async def hear(self, channels: Iterable[str]) -> None:
        """Subscribe the client to channels that it was granted; it is told.  Raises BrokerError."""
        for channel in channels:
            await self.subscribe_by_server(channel)

    async def end_subscription(self, channel: str, code: str) -> None:
        """End a subscription, also one that is being made, though the client did not ask; it is told."""
        self.subscribing.pop(channel, None)
        if channel not in self._channels:
            return
        self.detach(channel)
        self.send(Unsubscribed(channel=channel, code=code))
        self.node.spawn(self.leave([channel]))

    def _is_present_in(self, channel: str) -> bool:
        return self.node.options.namespace(channel).broker.presence

    async def leave(self, channels: Iterable[str]) -> None:
        """Take the client out of the presence of channels.  Raises BrokerError."""
        for name in channels:
            options = self.node.options.namespace(name).broker
            if options.presence:
                await self.node.broker.leave(name, self.client, options)

    # -- what outlives the connection -----------------------------------------------------

    def put_back(self, session: str, record: SessionRecord, *, client: str = "") -> None:
        """Have a session kept for a while, so that it can be resumed; `client` if it was this one's."""
        ttl_s = self.node.options.resume_ttl_s
        if ttl_s:
            save = self.node.broker.save_session(session, record.encode(), ttl_s, client=client)
            self.node.spawn(save)

    def adopt(self, session: str) -> None:
        """Go on as an earlier session; nobody will ask for the one that this was."""
        self.node.on_session_dropped(self.session, self.client)
        self.session = session
        if self.node.listener is not None:
            self.node.listener.resumed(self.caller())

    @property
    def record(self) -> SessionRecord:
        """What there is to remember of it now."""
        ends = {} if self.node.door is None else dict(self.node.door.tickets.ends_of(self))
        return SessionRecord(self.user, sorted(self._channels), self.client, ends)

    async def take(self, session: str) -> SessionRecord:
        """Take what a lost connection of the same user was.  Raises CommandError and BrokerError."""
        kept = await self.node.broker.take_session(session)
        if kept is None:
            raise CommandError("unauthorized", "the session is not known any more: subscribe again")
        record = msgspec.json.decode(kept, type=SessionRecord)
        if record.user != self.user:
            self.put_back(session, record)
            raise CommandError("permission_denied", "the session belongs to another user")
        return record
