"""A client that is connected and not let in yet: it has to show a token, in time.

The handler of a connection until there is a session.  It knows the door and its connection.  How it works:
the first `connect` command with a good token, and the app service where it is asked, makes it a session,
which takes the connection over and carries out what the client said since, that command included.  Whatever
else is said before is answered `unauthorized`.  What always holds: a visitor hears nothing of any channel;
it ends by a session, by a close code, or with its connection; there is one deadline for all of it, however
much it says.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from . import closecodes
from .admission import Handshake, forwarded_of, without_token
from .asking import NOTHING_FORWARDED, Caller, ConnectQuestion, Refusal
from .auth.grant import Grant
from .auth.refusals import KeysUnavailableError, TokenRefusedError
from .connection.interface import Connection
from .errors import CommandError
from .hub.encoding import Encoding
from .message.commands import Command, Connect
from .message.events import Error

if TYPE_CHECKING:
    from .door import Door

_MOST_REFUSED: Final = 10

_log = logging.getLogger("gateway.auth")


class Visitor:
    """The handler of a connection whose client is nobody yet (see `connection.interface.Handler`)."""

    def __init__(self, door: Door, connection: Connection, encoding: Encoding, request: Handshake) -> None:
        self._door = door
        self._connection = connection
        self._encoding = encoding
        self._request = request
        self._ids = (door.node.random_id(), door.node.random_id())  # of client and session, once it is in
        self._said: list[Command] = []
        self._refused = 0
        self._task: asyncio.Task[None] | None = None
        self._timer = door.node.loop.call_later(door.options.connect_timeout_s, self._be_late)

    # -- what the connection calls --------------------------------------------------------

    def on_message(self, opcode: int, payload: bytes) -> None:
        """Take one message of commands."""
        codec = self._encoding.codec
        if opcode != codec.opcode:
            self._end(closecodes.UNSUPPORTED_DATA, "this subprotocol has the other kind of message")
            return
        self._said += codec.decode(payload, most=self._door.node.options.max_commands_per_frame)
        if self._task is None:
            self._look()

    def on_writable(self) -> None:
        """Do nothing: a visitor is sent nothing but answers."""

    def on_close(self, code: int, reason: str) -> None:
        """Forget it."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    # -- showing a token ------------------------------------------------------------------

    def _look(self) -> None:
        """Answer what was said until a token is shown."""
        while self._said and not self._connection.closed:
            command = self._said[0]
            if isinstance(command, Connect) and command.token:
                self._try(command.token)
                return
            del self._said[0]
            self._refuse_command(command)

    def _refuse_command(self, command: Command) -> None:
        self._refused += 1
        if self._refused > _MOST_REFUSED:
            self._end(closecodes.NO_CREDENTIALS, "a token is needed first")
            return
        self._answer(command.id, "unauthorized", "the first command has to be a connect with a token")

    def _try(self, token: str) -> None:
        """Judge a token: at once, if nobody has to be asked."""
        door = self._door
        if not door.options.asks:
            try:
                grant = door.verifier.verify(token)
            except TokenRefusedError as problem:
                if not door.verifier.needs_keys(problem):
                    self.refuse(problem)
                    return
            else:
                self._enter(grant)
                return
        self.show(token)

    def show(self, token: str) -> None:
        """Judge a token, or none, where somebody has to be asked; nothing more is read meanwhile."""
        self._connection.hold()
        self._task = self._door.node.loop.create_task(self._judge(token))

    async def _judge(self, token: str) -> None:
        request, service = self._request, self._door.node.app_service
        client, session = self._ids
        caller = Caller(
            client=client,
            session=session,
            remote=self._connection.remote,
            forwarded=NOTHING_FORWARDED if service is None else forwarded_of(request, service.forwards),
        )
        question = ConnectQuestion(
            path=request.path,
            query=without_token(request.query),
            subprotocol=self._encoding.codec.subprotocol,
        )
        try:
            verdict = await self._door.judge(token, caller, question)
        except TokenRefusedError as problem:
            self.refuse(problem)
        except (KeysUnavailableError, CommandError):
            self._end(closecodes.SERVER_ERROR, "nobody can say now who this is")
        except Exception:  # noqa: BLE001 it costs this one connection
            _log.exception("a client could not be judged")
            self._end(closecodes.INTERNAL_ERROR, "internal error")
        else:
            self._obey(verdict)

    def _obey(self, verdict: Grant | Refusal) -> None:
        self._task = None
        if isinstance(verdict, Refusal):
            self._end(verdict.close_code or closecodes.FORBIDDEN, verdict.message)
        elif not self._connection.closed:
            self._enter(verdict)
            self._connection.release()

    def _enter(self, grant: Grant) -> None:
        """Make room for the session."""
        self._timer.cancel()
        session = self._door.admit(self._connection, self._encoding, grant, self._ids)
        self._connection.handler = session
        session.begin(self._said)

    # -- being refused --------------------------------------------------------------------

    def refuse(self, problem: TokenRefusedError) -> None:
        """Close the connection: its token is not accepted."""
        self._door.count(problem, self._connection.remote)
        if self._said:
            self._answer(self._said[0].id, "unauthorized", problem.told)
        self._end(closecodes.UNAUTHORIZED, problem.told)

    def _be_late(self) -> None:
        self._door.count(TokenRefusedError("missing"), self._connection.remote)
        self._end(closecodes.NO_CREDENTIALS, "no token came in time")

    def _answer(self, number: int, code: str, message: str) -> None:
        codec = self._encoding.codec
        self._connection.send(
            codec.opcode, codec.encode(Error(id=number, code=code, message=message, retry=False))
        )

    def _end(self, code: int, reason: str) -> None:
        self._timer.cancel()
        self._connection.close(code, reason)
