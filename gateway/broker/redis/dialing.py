"""How a connection to Redis comes to be: socket, TLS, login, and what the server says of itself.

Knows nothing of reconnecting, scripts or subscriptions.  What always holds: an attempt ends within
`connect_timeout_s`, with a connection that is ready or with BrokerUnavailableError and none left behind;
its message says what is wrong and never holds a password.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

from hiredis import ReplyError

from ...errors import BrokerUnavailableError, ConfigError
from .connection import Connection
from .options import Address, Login, RedisOptions, Tls
from .replies import code_of, shorten
from .resp import pack
from .turn import Turn

_HINTS: Final = {
    "NOAUTH": "it wants a user and password: put them into the URL",
    "WRONGPASS": "it does not accept this user and password",
    "NOPERM": "its ACL forbids a command that is needed",
}
_NO_SUCH_REPLICATION: Final = b"0" * 40


class ServerState(NamedTuple):
    """What a server says of itself."""

    run_id: str
    version: str
    master: bool
    loading: bool
    mode: str
    """`standalone`, `cluster` or `sentinel`."""
    durable: bool
    """It keeps an append-only file, so that its data outlives its process."""
    promoted: bool
    """It was a replica, so what the master before it acknowledged last may be lost."""


class Dialer:
    """Opens connections that are logged in.  `clock` measures round trips, which are short: in seconds.

    Raises ConfigError when the files of `tls` cannot be used.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: RedisOptions,
        login: Login,
        tls: Tls | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.loop = loop
        self.options = options
        self.clock = clock
        self.turn = Turn(loop)
        self._login = login
        self._context = None if tls is None else tls_context(tls)

    async def connect(self, address: Address, name: str = "") -> Connection:
        """Return a connection that is logged in.  Raises BrokerUnavailableError."""
        connection = Connection(self.loop, self.options, name or str(address), self.turn)
        try:
            async with asyncio.timeout(self.options.connect_timeout_s):
                await self._open(connection, address)
                await self._log_in(connection)
        except TimeoutError:
            connection.close()
            hint = "; does this port speak TLS?" if self._context is not None and address.port else ""
            _refuse(connection, f"no connection within {self.options.connect_timeout_s:g} s{hint}")
        except OSError as problem:
            connection.close()
            _refuse(connection, _why(problem))
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open(self, connection: Connection, address: Address) -> None:
        loop = self.loop
        if not address.port:
            await loop.create_unix_connection(lambda: connection, address.host)
        elif self._context is None:
            await loop.create_connection(lambda: connection, address.host, address.port)
        else:
            await loop.create_connection(
                lambda: connection,
                address.host,
                address.port,
                ssl=self._context,
                server_hostname=address.host,
            )

    async def _log_in(self, connection: Connection) -> None:
        login = self._login
        commands: list[tuple[str | int, ...]] = []
        if login.password:
            commands.append(("AUTH", *([login.user] if login.user else []), login.password))
        if login.database:
            commands.append(("SELECT", login.database))
        commands.append(("CLIENT", "SETNAME", self.options.client_name))
        replies = [connection.call(pack(command)) for command in commands]
        for command, reply in zip(commands, await asyncio.gather(*replies), strict=True):
            if isinstance(reply, ReplyError) and command[0] != "CLIENT":
                refuse_reply(connection, reply)


async def ask(connection: Connection, *command: str | int) -> Any:
    """Give a command of set-up; return its reply.  Raises BrokerUnavailableError for an error reply, too."""
    reply = await connection.call(pack(command))
    if isinstance(reply, ReplyError):
        refuse_reply(connection, reply)
    return reply


async def ask_state(connection: Connection) -> ServerState:
    """Ask a server what it is.  Raises BrokerUnavailableError."""
    # one after the other in one write: before version 7, INFO took one section only
    sections = await asyncio.gather(
        *(ask(connection, "INFO", section) for section in ("server", "replication", "persistence"))
    )
    fields: dict[str, str] = {}
    for section in sections:
        if not isinstance(section, bytes):
            _refuse(connection, "it does not answer INFO as Redis does")
        for line in section.decode("utf-8", "replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields[key] = value
    mode = fields.get("redis_mode", fields.get("server_mode", ""))
    if not fields.get("run_id") or ("role" not in fields and mode != "sentinel"):
        _refuse(connection, "it does not answer INFO as Redis does")
    return ServerState(
        run_id=fields["run_id"],
        version=fields.get("redis_version", ""),
        master=fields.get("role") == "master",
        loading=fields.get("loading") == "1",
        mode=mode,
        durable=fields.get("aof_enabled") == "1",
        promoted=fields.get("master_replid2", "").encode() not in (b"", _NO_SUCH_REPLICATION),
    )


def require_master(connection: Connection, state: ServerState, *, cluster: bool) -> None:
    """Raise BrokerUnavailableError unless the server is a master that has its data, and of this kind."""
    if state.mode == "sentinel":
        _refuse(connection, "it is a Sentinel; write redis+sentinel://")
    if (state.mode == "cluster") != cluster:
        _refuse(
            connection,
            "it is no member of a Cluster" if cluster else "it is a Cluster; write redis+cluster://",
        )
    major = state.version.partition(".")[0]
    if cluster and not (major.isdecimal() and int(major) >= 7):
        _refuse(connection, f"a Cluster needs Redis 7 or newer; this is {state.version}")
    if not state.master:
        _refuse(connection, "it is a replica; the gateway needs the master")
    if state.loading:
        _refuse(connection, "it is loading its data")


def refuse_reply(connection: Connection, reply: ReplyError) -> NoReturn:
    """Raise BrokerUnavailableError for an error reply, with what to do about it."""
    hint = _HINTS.get(code_of(reply))
    _refuse(connection, f"{hint}: {shorten(reply)}" if hint else shorten(reply))


def _refuse(connection: Connection, reason: str) -> NoReturn:
    raise BrokerUnavailableError(f"{connection.name}: {reason}") from None


def _why(problem: OSError) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not valid here: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return f"TLS failed: {(problem.reason or 'no TLS').lower().replace('_', ' ')}"
    return f"cannot connect: {problem.strerror or problem}"


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return what TLS needs.  Raises ConfigError naming the file that cannot be used."""
    for path in filter(None, (tls.ca, tls.cert, tls.key)):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as problem:
            raise ConfigError(f"redis TLS: cannot read {path}: {problem.strerror}") from None
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
    except ssl.SSLError:
        raise ConfigError(f"redis TLS: {tls.ca} holds no certificate") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.verify != "full":
        context.check_hostname = False
    if tls.verify == "none":
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        with _explained(tls):
            context.load_cert_chain(tls.cert, tls.key or None, password=lambda: "")
    return context


@contextlib.contextmanager
def _explained(tls: Tls) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            f"redis TLS: {tls.cert} and {tls.key or tls.cert} do not make a certificate with its key"
        ) from None
