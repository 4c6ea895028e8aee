"""Guests: clients whose WebSockets are passed through, and who have to show who they are as others do.

They are judged before their upstream is dialled: there is HTTP to say no with.  It knows the door, requests,
and connections as things that can be closed.  What always holds: a guest is closed when its grant ends or is
revoked, like a session; who is gone is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus

from .admission import forwarded_of, without_token
from .asking import Caller, ConnectQuestion, Refusal
from .auth.credentials import find_token
from .auth.grant import Grant
from .auth.refusals import KeysUnavailableError, TokenRefusedError
from .connection.request import Request
from .door import Closable, Door
from .errors import CommandError
from .passthrough.guard import GuestRefusedError


class Guest:
    """One client that is let through (see `passthrough.guard.Guest`)."""

    def __init__(self, door: Door, client: str, connection: Closable, grant: Grant) -> None:
        self.client = client
        self.connection = connection
        self.grant = grant
        self._door = door
        door.welcome(self)

    @property
    def user(self) -> str:
        """Who it is, as far as that is known."""
        return self.grant.user

    @property
    def login(self) -> str:
        """The login that it comes from, as far as that is known."""
        return self.grant.login

    def leave(self) -> None:
        """Forget it.  Idempotent."""
        self._door.gone(self)


class Guests:
    """Judges the clients of routes (see `passthrough.guard.Guard`).

    `forwards` tells which headers an app service may see that is asked.
    """

    def __init__(self, door: Door, forwards: Callable[[], Collection[str]]) -> None:
        self._door = door
        self._forwards = forwards

    async def admit(self, request: Request, connection: Closable) -> Guest:
        """Let a client through.  Raises GuestRefusedError."""
        try:
            grant = await self._judge(request, connection)
        except TokenRefusedError as problem:
            self._door.count(problem, connection.remote)
            raise GuestRefusedError(HTTPStatus.UNAUTHORIZED, problem.told) from None
        except (KeysUnavailableError, CommandError):
            raise GuestRefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "nobody can say now who this is"
            ) from None
        if isinstance(grant, Refusal):
            raise GuestRefusedError(HTTPStatus.FORBIDDEN, grant.message)
        return Guest(self._door, self._door.node.random_id(), connection, grant)

    async def _judge(self, request: Request, connection: Closable) -> Grant | Refusal:
        door = self._door
        token = ""
        if door.options.has_keys or door.options.asks:
            token = find_token(request, door.options.places)
        if door.options.has_keys and not token and not door.options.anonymous:
            raise TokenRefusedError("missing")
        caller = Caller(
            client=door.node.random_id(),
            session="",
            remote=connection.remote,
            forwarded=forwarded_of(request, self._forwards()),
        )
        question = ConnectQuestion(path=request.path, query=without_token(request.query))
        return await door.judge(token, caller, question)

    def target_of(self, request: Request) -> str:
        """Return path and query as the service may see them: without a token."""
        query = without_token(request.query)
        return f"{request.path}?{query}" if query else request.path
