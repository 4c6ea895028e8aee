"""One Redis master, wherever it is at the moment: a connection for commands and one for pub/sub.

It knows how to notice that a connection is dead, to connect again, and to run scripts; a `Guide` tells it
where the master is.  It knows nothing of what channels mean, nor of slots.

How it works: two tasks, one for each connection, that connect, wait until the connection is lost, and wait
longer after every failure.  The pub/sub connection follows the one for commands: both lead to the same
process of Redis, compared by its run id.  With every heartbeat the server is asked again what it is, so that
all gateways come to know the same incarnation.

What always holds: commands go to a server that was a master, with its data, when it was last asked; no
reply meets another command; nothing is repeated that may have happened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import sha1
from random import Random
from typing import Any, Final, NamedTuple, Protocol

from hiredis import ReplyError

from ...eager import drive
from ...errors import BrokerUnavailableError, OutcomeUnknownError
from .backoff import Backoff
from .connection import Connection
from .dialing import Dialer, ServerState, ask_state, require_master
from .options import Address
from .pubsub import SHARDED, Mode, PubSubStream
from .replies import FATAL, LostReplyError, code_of, to_exception
from .resp import pack
from .shard import Script, ShardListener, tell_reply
from .subscriber import Subscriber

_logger = logging.getLogger(__name__)
_STOP_S: Final = 1.0
_ASKING: Final = pack(("ASKING",))
_PING: Final = pack(("PING",))


class Guide(Protocol):
    """Who knows where the master is, and how it came to be the master."""

    async def locate(self) -> Address:
        """Return where the master is now.  Raises BrokerUnavailableError."""

    async def lineage(self, connection: Connection) -> str | None:
        """Return what changes whenever another server takes over; None where nobody keeps count of that.

        Raises BrokerUnavailableError.
        """


class Surroundings(NamedTuple):
    """What every master of a deployment is given."""

    dialer: Dialer
    random: Random
    mode: Mode
    listener: ShardListener
    on_displaced: Callable[[bytes, str], None]
    """A wanted channel's subscription was ended or refused by the server; it is not wanted any more."""


class Master:
    """The two connections to one master.  `begin` after `connect`, or without it, connects for ever."""

    def __init__(self, surroundings: Surroundings, guide: Guide, name: str) -> None:
        self.name = name
        self.reconnects = 0
        self.round_trip_s = 0.0
        self.address: Address | None = None
        self._dialer = surroundings.dialer
        self._loop = surroundings.dialer.loop
        self._options = surroundings.dialer.options
        self._random = surroundings.random
        self._mode = surroundings.mode
        self._guide = guide
        self._connection: Connection | None = None
        self._run_id = ""
        self.incarnation = b""
        self._commands_up = asyncio.Event()
        self._commands_lost = asyncio.Event()
        self._pubsub_lost = asyncio.Event()
        self._commands_lost.set()
        self._pubsub_lost.set()
        self._tasks: list[asyncio.Task[None]] = []
        self.subscriber = Subscriber(
            self._loop,
            surroundings.listener,
            on_lost=self._on_pubsub_lost,
            on_displaced=surroundings.on_displaced,
        )

    @property
    def connected(self) -> bool:
        """Both connections stand, as far as is known."""
        return self._connection is not None and self.subscriber.connected

    @property
    def connection(self) -> Connection | None:
        """The connection for commands, while there is one."""
        return self._connection

    async def connect(self) -> None:
        """Connect once.  Raises BrokerUnavailableError."""
        await self._connect_commands()
        await self._connect_pubsub()

    def begin(self) -> None:
        """From now on connect, and connect again, until `stop`."""
        steps = (
            (self._commands_lost, self._connect_commands),
            (self._pubsub_lost, self._connect_pubsub),
        )
        self._tasks = [self._loop.create_task(self._keep(lost, connect)) for lost, connect in steps]
        self._tasks.append(self._loop.create_task(self._look_after()))

    async def wait_connected(self) -> None:
        """Wait, but not for long, until commands can be given.  Raises BrokerUnavailableError."""
        if self._connection is None:
            up = self._loop.create_task(self._commands_up.wait())
            await asyncio.wait((up,), timeout=self._options.connect_timeout_s)  # perhaps outside of a task
            up.cancel()
            if self._connection is None:
                raise BrokerUnavailableError(f"{self.name}: not connected")

    async def stop(self) -> None:
        """Let what was sent be answered, for a moment, and hang up.  Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None and not connection.lost:
            try:
                async with asyncio.timeout(_STOP_S):
                    await connection.call(_PING)  # replies come in order: after its own, all have come
            except (BrokerUnavailableError, TimeoutError):
                pass
            connection.close()
        self.subscriber.close()

    # -- scripts ------------------------------------------------------------------------

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Any], *, writes: bool) -> Any:
        """Run a script as `Shard.run` does."""
        reply = await self.attempt(script, keys, args, writes=writes)
        if type(reply) is ReplyError:
            raise self.refusal(reply, writes=writes)
        return reply

    def begin_run(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[Any],
        take: Callable[[Any], None],
        *,
        writes: bool,
    ) -> None:
        """Run a script as `Shard.begin` does."""
        connection = self._connection
        if connection is None:
            take(BrokerUnavailableError(f"{self.name}: not connected"))
            return

        def take_reply(reply: Any) -> None:
            if type(reply) is ReplyError:  # after what else this read brought: it may end the connection
                self._loop.call_soon(self._take_error, reply, script, keys, args, take, writes)
            elif writes and type(reply) is LostReplyError:
                take(OutcomeUnknownError(str(reply)))
            else:
                take(reply)

        sha = connection.scripts.get(script.source) or _load(connection, script)
        command = ("EVALSHA", sha, len(keys), *keys, self.incarnation, self._mode.publish, *args)
        try:
            connection.ask(pack(command), take_reply)
        except BrokerUnavailableError as problem:
            take(problem)

    def _take_error(
        self,
        error: ReplyError,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[Any],
        take: Callable[[Any], None],
        writes: bool,
    ) -> None:
        if code_of(error) != "NOSCRIPT":
            take(self.refusal(error, writes=writes))
            return
        if self._connection is not None:  # nothing ran: once more, and load it first
            self._connection.scripts.pop(script.source, None)
        drive(tell_reply(self.run(script, keys, args, writes=writes), take), self._loop)

    async def attempt(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[Any],
        *,
        writes: bool,
        asking: bool = False,
    ) -> Any:
        """Run a script; return its reply, which may be a ReplyError.  Raises what `Shard.run` raises."""
        connection = self._connection
        if connection is None:
            raise BrokerUnavailableError(f"{self.name}: not connected")
        try:
            sha = connection.scripts.get(script.source) or _load(connection, script)
            rest = (len(keys), *keys, self.incarnation, self._mode.publish, *args)
            reply = await self._send(connection, ("EVALSHA", sha, *rest), asking)
            if type(reply) is ReplyError and code_of(reply) == "NOSCRIPT":
                # Nothing ran.  The source goes with the command, so that no answer can be NOSCRIPT again.
                connection.scripts.pop(script.source, None)
                reply = await self._send(connection, ("EVAL", script.source, *rest), asking)
        except LostReplyError as problem:
            if writes:
                raise OutcomeUnknownError(str(problem)) from None
            raise
        return reply

    def refusal(self, error: ReplyError, *, writes: bool) -> Exception:
        """Return what to raise for an error reply; drop the connection if it is of no use any more."""
        if code_of(error) in FATAL and self._connection is not None:
            self._connection.abort(str(error))
        return to_exception(self.name, error, writes=writes)

    @staticmethod
    def _send(connection: Connection, command: tuple[Any, ...], asking: bool) -> asyncio.Future[Any]:
        if asking:
            connection.tell(_ASKING)
        return connection.call(pack(command))

    # -- connecting ---------------------------------------------------------------------

    async def _keep(self, lost: asyncio.Event, connect: Callable[[], Awaitable[None]]) -> None:
        options = self._options
        backoff = Backoff(options.backoff_first_s, options.backoff_most_s, self._random)
        connected_s = self._loop.time()
        lasted = False
        while True:
            await lost.wait()
            if lasted and self._loop.time() - connected_s > options.backoff_most_s:
                backoff.reset()
            lasted = False
            await asyncio.sleep(backoff.next_s())
            try:
                await connect()
            except BrokerUnavailableError as problem:
                _logger.info("redis: cannot connect", extra={"reason": str(problem)})
                continue
            except Exception:
                _logger.exception("redis: connecting failed", extra={"server": self.name})
                continue
            self.reconnects += 1
            connected_s = self._loop.time()
            lasted = True
            _logger.info("redis: connected", extra={"server": self.name})

    async def _connect_commands(self) -> None:
        address = await self._guide.locate()
        connection = await self._dialer.connect(address, self.name)
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                await self._learn(connection)
        except TimeoutError:
            connection.close()
            within = f"within {self._options.connect_timeout_s:g} s"
            raise BrokerUnavailableError(f"{self.name}: it does not say what it is {within}") from None
        except BaseException:
            connection.close()
            raise
        if connection.lost:
            raise BrokerUnavailableError(f"{self.name}: the connection was lost at once")
        connection.on_lost = self._on_commands_lost
        self.address = address
        self._connection = connection
        self._commands_lost.clear()
        self._commands_up.set()

    async def _learn(self, connection: Connection) -> None:
        """Ask the server what it is, and take that in; a pub/sub connection to another one is dropped."""
        state = await ask_state(connection)
        require_master(connection, state, cluster=self._mode is SHARDED)
        self._take_incarnation(state, await self._guide.lineage(connection))
        if state.run_id != self._run_id:
            self._run_id = state.run_id
            self.subscriber.detach()
            self._pubsub_lost.set()

    async def _connect_pubsub(self) -> None:
        await self._commands_up.wait()
        address = self.address or await self._guide.locate()
        connection = await self._dialer.connect(address, self.name)
        try:
            state = await ask_state(connection)
            if connection.lost or state.run_id != self._run_id:
                raise BrokerUnavailableError(f"{self.name}: pub/sub and commands reach different servers")
            stream = PubSubStream(self._loop, self._options, self._mode, connection, self.subscriber)
        except BaseException:
            connection.close()
            raise
        self._pubsub_lost.clear()
        self.subscriber.attach(stream)

    async def _look_after(self) -> None:
        """Ask the server with every heartbeat what it is; drop the connection when that will not do."""
        while True:
            await asyncio.sleep(self._options.heartbeat_s)
            connection = self._connection
            if connection is None:
                continue
            asked_s = self._dialer.clock()
            try:
                state = await ask_state(connection)
                self.round_trip_s = self._dialer.clock() - asked_s
                if state.run_id != self._run_id or not state.master or state.loading:
                    connection.abort("it is not the master any more")
                    continue
                self._take_incarnation(state, await self._guide.lineage(connection))
            except BrokerUnavailableError as problem:  # lost, or an error such as BUSY: it lives
                _logger.debug("redis: no heartbeat", extra={"server": self.name, "reason": str(problem)})
            except Exception:
                _logger.exception("redis: a heartbeat failed", extra={"server": self.name})

    def _take_incarnation(self, state: ServerState, lineage: str | None) -> None:
        incarnation = _incarnation(state, lineage)
        if self.incarnation.split(b" ")[0] not in (b"", incarnation.split(b" ")[0]):
            _logger.warning("redis: another incarnation of the data", extra={"server": self.name})
        self.incarnation = incarnation

    def _on_commands_lost(self, reason: str) -> None:
        _logger.warning("redis: connection lost", extra={"server": self.name, "reason": reason})
        self._connection = None
        self._commands_up.clear()
        self._commands_lost.set()

    def _on_pubsub_lost(self, reason: str) -> None:
        _logger.warning("redis: pub/sub connection lost", extra={"server": self.name, "reason": reason})
        self._pubsub_lost.set()


def _load(connection: Connection, script: Script) -> str:
    """Send a script ahead of its first use on a connection, so that it is there when it is called."""
    sha = sha1(script.source.encode(), usedforsecurity=False).hexdigest()
    connection.tell(pack(("SCRIPT", "LOAD", script.source)))
    connection.scripts[script.source] = sha
    return sha


def _incarnation(state: ServerState, lineage: str | None) -> bytes:
    """Return what changes whenever an acknowledged tail of the data may be lost.

    An append-only file outlives the process, but only on its own server: another one that takes over
    changes the lineage.  Where nobody keeps one, a server that was promoted names its process instead.
    Behind what an append-only file is known by stands the run of the server, since it may have lost its end.
    """
    if state.durable and lineage is not None:
        return f"aof:{lineage} {state.run_id}".encode()
    if state.durable and not state.promoted:
        return f"aof {state.run_id}".encode()
    return state.run_id.encode()


def merged_stats(masters: Iterable[Master]) -> dict[str, float]:
    """Return what `Shard.stats` returns for these masters together."""
    masters = list(masters)
    connections = [master.connection for master in masters if master.connection is not None]
    return {
        "connected": float(bool(masters) and all(master.connected for master in masters)),
        "servers": len(masters),
        "reconnects": sum(master.reconnects for master in masters),
        "in_flight": sum(connection.in_flight for connection in connections),
        "queued_bytes": sum(connection.queued_bytes for connection in connections),
        "round_trip_s": max((master.round_trip_s for master in masters), default=0.0),
        "subscriptions": sum(master.subscriber.wanted for master in masters),
        "unconfirmed": sum(master.subscriber.unconfirmed for master in masters),
        "messages": sum(master.subscriber.messages for master in masters),
    }
