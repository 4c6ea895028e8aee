"""One client's session: its commands in order, its subscriptions, what it is told.

It knows its connection only by `Connection`, and neither HTTP nor the broker.  What always
holds: commands are carried out one after the other, each with an id is
answered exactly once; after on_close no subscription is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from . import closecodes
from ._sink import Sink
from .commands import carry_out, subscribe
from .connection.interface import Connection
from .eager import run_eagerly
from .errors import BrokerError, CommandError, OutcomeUnknownError
from .message.codec import Codec
from .message.commands import Command, MalformedCommand, Since
from .message.events import Error, Event, Hello, Subscribed, Unsubscribed
from .message.names import personal_channel
from .message.publication import Member, Publication

if TYPE_CHECKING:
    from .node import Node

_MOST_MISUSES: Final = 10


class SessionRecord(msgspec.Struct, frozen=True):
    """What is remembered of a lost connection: as whom, and subscribed to what."""

    user: str
    channels: list[str]


class Session:
    """The handler of a connection at `/ws` (see `connection.interface.Handler`)."""

    def __init__(self, node: Node, connection: Connection, codec: Codec, *, user: str) -> None:
        self.node = node
        self.connection = connection
        self.codec = codec
        self.user = user
        self.client = node.random_id()
        self.session = node.random_id()
        self.channels: set[str] = set()
        self.subscribing: set[str] = set()
        self._pending: deque[Command] = deque()
        self._task: asyncio.Task[None] | None = None
        self._misuses = 0
        self._log = logging.getLogger("gateway.session")

    def start(self) -> None:
        """Let the client in: say hello, and subscribe it to its personal channel."""
        self.node.add_session(self)
        self.send(
            Hello(
                client=self.client,
                session=self.session,
                user=self.user,
                ping=self.node.options.ping_interval_s,
            )
        )
        if self.user:
            self._run(subscribe(self, personal_channel(self.user)))

    @property
    def sink(self) -> Sink:
        """The connection, as the hub sees it."""
        return cast(Sink, self.connection)

    @property
    def member(self) -> Member:
        """This client, as presence shows it."""
        return Member(client=self.client, user=self.user)

    # -- what the connection calls --------------------------------------------------------

    def on_message(self, opcode: int, payload: bytes) -> None:
        """Take one message of commands."""
        if opcode != self.codec.opcode:
            self.connection.close(
                closecodes.UNSUPPORTED_DATA, "this subprotocol has the other kind of message"
            )
            return
        commands = self.codec.decode(payload, most=self.node.options.max_commands_per_frame)
        self._pending.extend(commands)
        if len(self._pending) > self.node.options.max_pending_commands:
            self.connection.close(closecodes.POLICY_VIOLATION, "too many commands wait for their answers")
        elif self._task is None:
            self._advance()

    def on_writable(self) -> None:
        """Send what the client's channels have for it."""
        self.node.hub.catch_up(self.sink)

    def on_close(self, code: int, reason: str) -> None:
        """Forget the client's subscriptions; keep its session for a while if it may come back."""
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
        self.node.remove_session(self)
        channels = sorted(self.channels)
        for name in channels:
            self.detach(name)
        self.node.spawn(self._leave(channels))
        if self.node.options.resume_ttl_s and not closecodes.MISUSE <= code < closecodes.OVER_CAPACITY:
            self.node.spawn(self._save(channels))

    async def _leave(self, channels: list[str]) -> None:
        for name in channels:
            options = self.node.options.namespace(name).broker
            if options.presence:
                await self.node.broker.leave(name, self.client, options)

    async def _save(self, channels: list[str]) -> None:
        record = msgspec.json.encode(SessionRecord(self.user, channels))
        await self.node.broker.save_session(self.session, record, self.node.options.resume_ttl_s)

    # -- commands -------------------------------------------------------------------------

    def _advance(self) -> None:
        """Carry out what waits, until something must be waited for."""
        while self._pending and self._task is None and not self.connection.closed:
            self._run(self._answer(self._pending.popleft()))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = run_eagerly(work, self.node.loop)
        if self._task is not None:
            self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a command failed", exc_info=task.exception())
            self.connection.close(closecodes.INTERNAL_ERROR, "internal error")
            return
        self._advance()

    async def _answer(self, command: Command) -> None:
        """Carry out one command; turn what it raises into its `error` event."""
        try:
            await carry_out(self, command)
        except CommandError as problem:
            self._refuse(command, problem)
        except OutcomeUnknownError:
            self._refuse(command, CommandError("timeout", "no answer in time; repeat it with the same key"))
        except BrokerError:
            self._refuse(command, CommandError("unavailable", "the broker cannot be reached now"))
        except Exception:
            self._log.exception("a command failed")
            self._refuse(command, CommandError("internal", "an error inside the gateway"))

    def _refuse(self, command: Command, problem: CommandError) -> None:
        if isinstance(command, MalformedCommand) and not command.id:
            self._misuses += 1
        self.send(Error(id=command.id, code=problem.code, message=problem.message, retry=problem.retry))
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

    def detach(self, channel: str) -> None:
        """Hear a channel no longer.  Idempotent."""
        self.channels.discard(channel)
        here = self.node.hub.get(channel)
        if here is not None:
            here.detach(self.client)

    async def subscribe_by_server(self, channel: str) -> None:
        """Subscribe the client because a service said so; the client is told."""
        if channel in self.channels or channel in self.subscribing or self.connection.closed:
            return
        await subscribe(self, channel)
        here = self.node.hub.get(channel)
        if here is not None and channel in self.channels:
            self.send(Subscribed(channel=channel, epoch=here.position.epoch, offset=here.position.offset))

    async def unsubscribe_by_server(self, channel: str, code: str = "unsubscribed") -> None:
        """End a subscription because a service said so; the client is told."""
        if channel not in self.channels:
            return
        self.detach(channel)
        self.send(Unsubscribed(channel=channel, code=code))
        await self._leave([channel])

    async def resume(self, session: str) -> SessionRecord | None:
        """Take over what a lost connection of the same user was subscribed to; None if it is not known."""
        kept = await self.node.broker.take_session(session)
        if kept is None:
            return None
        record = msgspec.json.decode(kept, type=SessionRecord)
        if record.user != self.user:
            raise CommandError("permission_denied", "the session belongs to another user")
        self.session = session
        return record

    __slots__ = (
        "_log",
        "_misuses",
        "_pending",
        "_task",
        "channels",
        "client",
        "codec",
        "connection",
        "node",
        "session",
        "subscribing",
        "user",
    )


__all__ = ["Session", "SessionRecord", "Since"]
