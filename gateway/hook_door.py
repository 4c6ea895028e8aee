"""The door where an app service decides who comes in: it is asked about every client.

It knows sessions and the seam to services, no HTTP and no tokens.  How it works: a connection is a `Guest`
until the service has answered; then it has a session with what was granted, and what it said meanwhile is
carried out, or it is closed.  What always holds: nobody has a session without a yes; without an answer
nobody comes in; a session ends when its grant does, unless a `connect` command renewed it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, urlencode

from . import closecodes
from .asking import Admission, AppService, Caller, ConnectQuestion, Refusal
from .auth.grant import ChannelGrant, Grant
from .broker import Control
from .connection.accepted import Accepted
from .connection.interface import Connection, Handler
from .connection.request import Request
from .errors import CommandError
from .expiring import Expiries
from .hub.encoding import Encoding
from .message.commands import Command
from .node import Node
from .publish_times import Sample
from .session import Session

_MOST_SAID: Final = 100
_TRY_AGAIN: Final = frozenset({"unavailable", "timeout", "internal", "rate_limited"})

_log = logging.getLogger("gateway.hooks")


class HookDoor:
    """Lets the clients of a node in by what an app service says; see `door.Door` for the other one."""

    def __init__(self, node: Node, service: AppService) -> None:
        self.node = node
        self.expiries = Expiries()
        self.outcomes: Counter[str] = Counter()
        self._service = service
        node.door = self

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    def sweep(self) -> None:
        """End what is over; to be called about once a second."""
        for session in self.expiries.due(self.node.wall_ms() / 1000):
            session.connection.close(closecodes.UNAUTHORIZED, "what the app service granted is over")

    def samples(self) -> Iterable[Sample]:
        """Yield what it counts."""
        for outcome, count in list(self.outcomes.items()):
            yield "ringgate_guests", "counter", "clients asked about", {"outcome": outcome}, count

    def left(self, session: Session) -> None:
        """Forget a session that is over."""
        self.expiries.forget(session)

    def on_control(self, control: Control) -> int:
        """Do nothing: there are no tokens that could be revoked."""
        return 0

    def open(self, connection: Connection, accepted: Accepted, encoding: Encoding) -> Handler:
        """Return the handler of a new connection: a guest, about whom the service is asked."""
        request = accepted.request
        token, query = _without_token(request.query)
        question = ConnectQuestion(
            path=request.path, query=query, subprotocol=accepted.subprotocol, token=token or _bearer(request)
        )
        guest = Guest(self, connection, encoding, pick(request, self._service.forwards))
        guest.ask(question)
        return guest

    async def ask(self, caller: Caller, question: ConnectQuestion) -> Grant:
        """Ask the service.  Raises CommandError, with what is to be said to the client."""
        try:
            answer = await self._service.connect(caller, question)
        except CommandError as problem:
            self.outcomes[problem.code] += 1
            raise
        if isinstance(answer, Refusal):
            self.outcomes["refused"] += 1
            raise _RefusedError(answer)
        self.outcomes["admitted"] += 1
        return _grant_of(answer)

    def admit(self, guest: Guest, grant: Grant) -> Session:
        """Return the session of a client that is let in; it was greeted."""
        session = Session(self.node, guest.connection, guest.encoding, user=grant.user, grant=grant)
        if guest.forwarded:
            self.node.forwarded[session.client] = guest.forwarded
        session.start()
        self._watch(session)
        return session

    def _watch(self, session: Session) -> None:
        if session.grant.expires:
            self.expiries.watch(session, session.grant.expires)

    async def renew(self, session: Session, token: str) -> None:
        """Ask again, with another credential.  Raises CommandError; the session has what it had then."""
        grant = await self.ask(session.caller(), ConnectQuestion(path="", token=token))
        if grant.user != session.user:
            raise CommandError("permission_denied", "that is another user than this connection has")
        session.grant = grant
        if not session.connection.closed:
            self._watch(session)
            await session.hear(grant.channels)

    async def channel_grant(self, session: Session, token: str, channel: str) -> ChannelGrant:
        """Raise CommandError: there are no tokens for channels here."""
        raise CommandError("permission_denied", "there are no tokens for single channels here")


class _RefusedError(CommandError):
    """The service said no."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code, refusal.message)
        self.close_code = refusal.close_code or closecodes.FORBIDDEN


class Guest:
    """The handler of a connection about which the service is being asked."""

    def __init__(
        self, door: HookDoor, connection: Connection, encoding: Encoding, forwarded: dict[str, str]
    ) -> None:
        self.connection = connection
        self.encoding = encoding
        self.forwarded = forwarded
        self._door = door
        self._said: list[Command] = []
        self._task: asyncio.Task[None] | None = None

    def ask(self, question: ConnectQuestion) -> None:
        """Ask the service; nothing of the client is carried out before it has answered."""
        node = self._door.node
        caller = Caller(
            client=node.random_id(),
            session=node.random_id(),
            remote=self.connection.remote,
            forwarded=self.forwarded,
        )
        self._task = node.loop.create_task(self._ask(caller, question))

    async def _ask(self, caller: Caller, question: ConnectQuestion) -> None:
        try:
            grant = await self._door.ask(caller, question)
        except _RefusedError as refused:
            self.connection.close(refused.close_code, refused.message)
            return
        except CommandError as problem:
            again = problem.code in _TRY_AGAIN
            code = closecodes.SERVER_ERROR if again else closecodes.FORBIDDEN
            self.connection.close(code, "the app service cannot be asked now")
            return
        except Exception:  # noqa: BLE001 whatever it is, this one client pays for it
            _log.exception("a client could not be let in")
            self.connection.close(closecodes.INTERNAL_ERROR, "internal error")
            return
        self._task = None
        if not self.connection.closed:
            session = self._door.admit(self, grant)
            self.connection.handler = session
            session.begin(self._said)
            self.connection.release()

    # -- what the connection calls --------------------------------------------------------

    def on_message(self, opcode: int, payload: bytes) -> None:
        """Keep what the client says for its session."""
        codec = self.encoding.codec
        if opcode != codec.opcode:
            self.connection.close(
                closecodes.UNSUPPORTED_DATA, "this subprotocol has the other kind of message"
            )
            return
        self._said += codec.decode(payload, most=self._door.node.options.max_commands_per_frame)
        if len(self._said) >= _MOST_SAID:
            self.connection.hold()

    def on_writable(self) -> None:
        """Do nothing: a guest is sent nothing."""

    def on_close(self, code: int, reason: str) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()


def _grant_of(answer: Admission) -> Grant:
    return Grant(
        authenticated=True,
        user=answer.user,
        info=answer.info,
        channels=answer.channels,
        expires=float(answer.expires),
        claims=answer.claims,
    )


def pick(request: Request, names: Iterable[str]) -> dict[str, str]:
    """Return those headers of a request that services may see, by their names in lower case."""
    found = {name: request.fields.get(name.encode()) for name in names}
    return {name: value.decode("latin-1") for name, value in found.items() if value is not None}


def _without_token(query: str) -> tuple[str, str]:
    """Return the credential in a query, and the query without it."""
    if "token=" not in query:
        return "", query
    fields = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    token = next((value for name, value in fields if name == "token"), "")
    return token, urlencode([field for field in fields if field[0] != "token"])


def _bearer(request: Request) -> str:
    scheme, _, token = request.fields.get(b"authorization", b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
