"""The client: a connection to a gateway that comes back by itself.

It puts together the engine, which decides, and the driver, which has the sockets, and turns answers into
futures.  What always holds: whatever the application's callbacks raise goes to the loop's exception
handler, and harms neither the client nor other callbacks; after `close` nothing is told any more, and no
socket, task or timer is left.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self, TypeVar, Unpack

from ..errors import UsageError
from ..message import commands
from ..message.names import is_channel_name
from .codecs import EncodingName, Payload, codec_for
from .connection import Collaborators
from .credentials import TokenSource
from .driver import Driver
from .edits import Edit
from .engine import Engine
from .errors import RinggateError
from .incoming import Error, PublicationView, Reply
from .incoming import Message as MessageEvent
from .options import DEFAULTS, Options
from .outbox import Terms
from .presence import Presence
from .results import ChannelEvent, HistoryPage, Member, Message, Position, Published, Status
from .state import Answered, State
from .subscription import Callbacks, Subscription

_KEY_BYTES = 12
_Told = TypeVar("_Told")
_Result = TypeVar("_Result")


class Client:
    """A client of a gateway.

        async with Client("ws://127.0.0.1:8000/ws") as client:
            await client.publish("news", {"text": "hello"})
            async for message in client.subscribe("news"):
                print(message.data)

    `url` is the gateway's, or a function that is asked for one at each attempt.  `token` is a token, or
    a function (plain or async) that gives one whenever a new one is needed.  `encoding` is "json",
    "msgpack" or "protobuf"; `tls` is the context for wss: URLs (by default the system's authorities).
    It has to be made where an event loop runs, and is used in that loop alone. Raises UsageError for a
    URL that is none.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        token: TokenSource | None = None,
        encoding: EncodingName = "json",
        tls: ssl.SSLContext | None = None,
        options: Options = DEFAULTS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        codec = codec_for(encoding)
        self._driver = Driver(url, codec=codec, token=token, options=options, tls=tls)
        self._engine = Engine(
            self._driver,
            Collaborators(self._loop, time.time, random.random),
            codec=codec,
            token=token,
            options=options,
            on_status=self._tell_status,
            stray=self._tell_stray,
            fetch=self._driver.fetch,
        )
        self._driver.connection = self._engine.connection
        self._listeners: set[Subscription | Presence | State] = set()
        self._states: dict[str, State] = {}
        self._status_callbacks: list[Callable[[Status], object]] = []
        self._stray_callbacks: list[Callable[[ChannelEvent], object]] = []
        self._is_closed = False

    # -- the connection -----------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """How the connection is now; `str(client.status)` is for people."""
        return self._engine.connection.status

    @property
    def queued(self) -> int:
        """How many commands wait, to be sent or for their answers."""
        return len(self._engine.outbox)

    def connect(self) -> None:
        """Connect, and stay connected until `close`.  While it waits for the next attempt, or was refused:
        try now.

        It returns at once; see `online`.  Raises RinggateError `closed`.
        """
        self._check_open()
        self._engine.connection.connect()

    async def online(self) -> Status:
        """Wait until the gateway says hello.  Raises RinggateError `disconnected` when it refuses this
        client.

        While attempts fail and are repeated, it waits: bound it with `asyncio.timeout`.
        """
        async for status in self.statuses():
            if status.state == "online":
                return status
            if status.state == "offline" and (status.code or status.reason):
                raise RinggateError("disconnected", status.reason or str(status.code), retry=False)
        raise RinggateError("closed", "the client was closed")

    async def statuses(self) -> AsyncIterator[Status]:
        """Iterate over how the connection is: now, and whenever that changes, until `close`.

        Who is slow gets the newest, not every one.
        """
        news = asyncio.Event()
        remove = self.on_status(lambda _: news.set())
        told = None
        try:
            while not self._is_closed:
                if (status := self.status) != told:
                    told = status
                    yield status
                else:
                    news.clear()
                    await news.wait()
        finally:
            remove()

    def on_status(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Call a function with every new status; what is returned ends that."""
        return _add(self._status_callbacks, callback)

    async def close(self) -> None:
        """Disconnect for good.  Whatever waits is broken off with `closed`, iterators end.  Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            error = RinggateError("closed", "the client was closed")
            for listener in list(self._listeners):
                listener.abandon(error)
            status = self.status
            self._engine.close()
            if status == self.status:
                self._tell_status(status)  # for who waits for the next one
        await self._driver.finish()

    async def __aenter__(self) -> Self:
        self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- channels -------------------------------------------------------------------------------

    def subscribe(
        self,
        channel: str,
        *,
        since: Position | None = None,
        token: TokenSource = "",
        **callbacks: Unpack[Callbacks],
    ) -> Subscription:
        """Hear a channel, now or as soon as there is a connection, and again after every break.

        `since`: begin after this position, with what was missed (where nobody here hears the channel
        yet). `token`: one for this channel, where its namespace asks for one, or a function (plain or
        async) that gives one whenever the channel is subscribed; where that fails, it is asked again
        later. With an `on_message` callback every message is handed to it; without one, iterate over
        the subscription. All subscriptions of this client to one channel are one for the gateway.
        Raises UsageError for a name that is none, RinggateError `closed`.
        """
        self._check_open()
        _check_channel(channel)
        subscription = Subscription(
            self._engine.channels,
            channel,
            since=since,
            token=token,
            max_unread=self._options.max_unread,
            guard=self._guarded,
            callbacks=callbacks,
        )
        self._listeners.add(subscription)
        subscription.on_close = self._listeners.discard
        return subscription

    def presence(
        self, channel: str, *, on_change: Callable[[list[Member]], object] | None = None
    ) -> Presence:
        """Follow who is in a channel, which is subscribed to for that.  Raises as `subscribe`."""
        self._check_open()
        _check_channel(channel)

        def tell(members: list[Member]) -> None:
            if on_change is not None:
                self._guarded(on_change, members)

        presence = Presence(self._engine.channels, channel, ask=self._ask_members, tell=tell)
        self._listeners.add(presence)
        presence.on_close = self._listeners.discard
        return presence

    def state(self, channel: str, *, token: TokenSource = "") -> State:
        """Follow the state of a state channel, and change it; one for all who ask for the same, with the
        `token` of the first.  Raises as `subscribe`.
        """
        self._check_open()
        _check_channel(channel)
        state = self._states.get(channel)
        if state is None:
            state = self._states[channel] = State(
                self._engine.channels,
                channel,
                ask=self._ask_update,
                new_key=_new_key,
                is_mine=self._engine.is_mine,
                guard=self._guarded,
                max_pending=self._options.max_queued,
                token=token,
            )
            self._listeners.add(state)
            state.on_close = self._forget_state
        return state

    def _forget_state(self, state: State) -> None:
        self._listeners.discard(state)
        del self._states[state.channel]

    def on_stray(self, callback: Callable[[ChannelEvent], object]) -> Callable[[], None]:
        """Call a function with what happens in channels to which nobody here subscribed; what is returned
        ends that.

        So come messages to this client alone, to the user's personal channel, and what an app service
        subscribed this client to.
        """
        return _add(self._stray_callbacks, callback)

    def on_raw(self, callback: Callable[[bytes], object]) -> None:
        """Hand every event as it came, in the encoding of the connection, to one function; for tools."""

        def tap(message: bytes) -> None:
            self._guarded(callback, message)

        self._engine.connection.tap = tap

    # -- commands ---------------------------------------------------------------------------------

    def publish(
        self, channel: str, data: object, *, key: str = "", ttl: float | None = None
    ) -> asyncio.Future[Published]:
        """Publish a value, or bytes; now or when there is a connection.  Await it to know that it happened.

        It is repeated, with the same idempotency key (a random one if none is given), until it is answered
        or `ttl` seconds are over (`Options.ttl`); so it happens once.  Raises UsageError for what cannot be
        sent, and RinggateError: `queue_full` and `closed` at once, later `expired` or what the gateway
        answers.
        """
        _check_channel(channel)
        payload = self._engine.codec.pack(data)
        command = commands.Publish(
            channel=channel,
            data=payload.data,
            data64=payload.data64,
            key=key or _new_key(),
        )
        terms = Terms(self._options.ttl if ttl is None else ttl, repeat=True, persist=True)
        return self._ask(command, channel, terms, _published)

    def call(
        self, method: str, payload: object = None, *, timeout: float | None = None, repeat: bool = False
    ) -> asyncio.Future[Any]:
        """Ask the app service behind the gateway; now or when there is a connection.  Await it for the
        answer.

        `payload` is a value, or bytes; None: none.  `timeout` in seconds (`Options.timeout`) bounds all of
        it.  A call whose connection ends before the answer came is not repeated: it fails with
        `disconnected`, and `unknown` is true; unless `repeat` says that it may be carried out twice without
        harm.  Raises UsageError for what cannot be sent, and RinggateError.
        """
        timeout_s = self._options.timeout if timeout is None else timeout
        packed = Payload() if payload is None else self._engine.codec.pack(payload)
        command = commands.Call(
            method=method, payload=packed.data, payload64=packed.data64, timeout=max(1, int(timeout_s * 1000))
        )

        return self._ask(command, "", Terms(timeout_s, repeat=repeat), self._answer_of)

    def send(self, data: object, *, timeout: float | None = None) -> asyncio.Future[Any]:
        """Say something to the app service behind the gateway; now or when there is a connection.

        `data` is a value, or bytes.  Await it to know that what the service wanted was done, and for what it
        answered, if anything.  As with `call`, `timeout` bounds all of it, and nothing is sent twice.  Raises
        UsageError for what cannot be sent, and RinggateError.
        """
        packed = self._engine.codec.pack(data)
        command = commands.Send(data=packed.data, data64=packed.data64)
        terms = Terms(self._options.timeout if timeout is None else timeout)
        return self._ask(command, "", terms, self._answer_of)

    def _answer_of(self, reply: Reply) -> Any:
        return self._engine.codec.unpack(reply.payload, reply.payload64)

    def history(self, channel: str, *, limit: int = 50, before: int = 0) -> asyncio.Future[HistoryPage]:
        """Read the newest messages that a channel keeps, with offsets below `before` if that is not 0.

        Raises UsageError, and RinggateError.
        """
        _check_channel(channel)
        command = commands.History(channel=channel, limit=limit, before=before)

        def page(reply: Reply) -> HistoryPage:
            messages = [self._message(channel, view) for view in reply.publications or ()]
            return HistoryPage(messages, _position(reply), complete=bool(reply.complete))

        return self._ask(command, "", Terms(self._options.timeout, repeat=True), page)

    def _ask(
        self, command: commands.Command, channel: str, terms: Terms, read: Callable[[Reply], _Result]
    ) -> asyncio.Future[_Result]:
        """Give a command to the engine; who cancels the future does not want it any more."""
        self._check_open()
        future: asyncio.Future[_Result] = self._loop.create_future()

        def answer(result: Reply | RinggateError) -> None:
            if future.done():
                return
            if isinstance(result, RinggateError):
                future.set_exception(result)
            else:
                future.set_result(read(result))

        entry = self._engine.ask(command, channel, terms, answer)
        future.add_done_callback(lambda done: self._engine.outbox.cancel(entry) if done.cancelled() else None)
        return future

    def _ask_members(self, channel: str, tell: Callable[[list[Member] | RinggateError], None]) -> None:
        def answer(result: Reply | RinggateError) -> None:
            if isinstance(result, RinggateError):
                tell(result)
            else:
                tell([self._engine.channels.member(view) for view in result.members or ()])

        terms = Terms(self._options.ttl, repeat=True, persist=True)
        try:
            self._engine.ask(commands.Presence(channel=channel), "", terms, answer)
        except RinggateError as error:
            tell(error)

    def _ask_update(self, channel: str, edit: Edit, base: Position, answered: Answered) -> None:
        """Send an edit of a state."""

        def answer(result: Reply | RinggateError) -> None:
            if isinstance(result, Reply):
                answered(Position(result.epoch or "", result.version or 0), None)
                return
            told = result.current
            if isinstance(told, Error) and told.epoch is not None and told.version is not None:
                answered(result, (Position(told.epoch, told.version), self._engine.codec.unpack(told.data)))
            else:
                answered(result, None)

        command = commands.Update(
            channel=channel,
            base=base.offset,
            patch=self._engine.codec.pack(edit.patch).data,
            epoch=base.epoch,
            key=edit.key,
        )
        terms = Terms(self._options.ttl, repeat=True, persist=True)
        try:
            self._engine.ask(command, channel, terms, answer)
        except RinggateError as error:
            self._loop.call_soon(answered, error, None)

    def _message(self, channel: str, view: PublicationView) -> Message:
        event = MessageEvent(
            channel=channel,
            offset=view.offset,
            id=view.id,
            data=view.data,
            data64=view.data64,
            from_=view.from_,
            time=view.time,
        )
        return self._engine.channels.told(event)

    # -- callbacks ----------------------------------------------------------------------------------

    def _tell_status(self, status: Status) -> None:
        for callback in list(self._status_callbacks):
            self._guarded(callback, status)

    def _tell_stray(self, event: ChannelEvent) -> None:
        for callback in list(self._stray_callbacks):
            self._guarded(callback, event)

    def _guarded(self, callback: Callable[[_Told], object], told: _Told) -> None:
        """Call what belongs to the application; what it raises is reported, and ends nothing here."""
        try:
            callback(told)
        except Exception as error:  # noqa: BLE001 - see above
            context: dict[str, Any] = {"message": "a callback of the client failed", "exception": error}
            self._loop.call_exception_handler(context)

    def _check_open(self) -> None:
        if self._is_closed:
            raise RinggateError("closed", "the client was closed")


def _add(callbacks: list[_Told], callback: _Told) -> Callable[[], None]:
    callbacks.append(callback)

    def remove() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return remove


def _new_key() -> str:
    return secrets.token_urlsafe(_KEY_BYTES)


def _check_channel(name: str) -> None:
    if not is_channel_name(name):
        raise UsageError(f"{name!r} is not the name of a channel")


def _position(reply: Reply) -> Position:
    return Position(reply.epoch or "", reply.offset or 0)


def _published(reply: Reply) -> Published:
    return Published(*_position(reply), duplicate=reply.duplicate)
