"""A client's `call`: carried to the app service, and its answer back.

It knows sessions and the seam to services, no HTTP.  What always holds: a call begins in its place among the
client's commands; what follows it waits for its end, unless several may be under way at once (`CallsAtOnce`);
when the client goes, the call is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from .asking import Refusal
from .eager import run_eagerly
from .errors import CommandError
from .message.commands import Call
from .message.events import Event, Reply
from .message.json import check_json

if TYPE_CHECKING:
    from .session import Session


class CallsAtOnce:
    """Calls for which nothing waits: up to `most` of one connection, which end in any order."""

    def __init__(self, most: int, loop: asyncio.AbstractEventLoop) -> None:
        self._most = most
        self._loop = loop
        self._under_way: dict[str, set[asyncio.Task[None]]] = {}

    def has_room(self, session: Session) -> bool:
        """Tell whether one more may begin."""
        return len(self._under_way.get(session.client, ())) < self._most

    def begin(self, session: Session, answering: Coroutine[Any, Any, None]) -> None:
        """Have a call answered, whenever that is; the session goes on when it is done."""
        task = run_eagerly(answering, self._loop)
        if task is None:
            return
        self._under_way.setdefault(session.client, set()).add(task)

        def end(task: asyncio.Task[None]) -> None:
            tasks = self._under_way.get(session.client)
            if tasks is not None:
                tasks.discard(task)
                if not tasks:
                    del self._under_way[session.client]
            session.finished(task)

        task.add_done_callback(end)

    def give_up(self, session: Session) -> None:
        """End the calls of a connection that is gone."""
        for task in self._under_way.pop(session.client, ()):
            task.cancel()


async def call(session: Session, command: Call) -> Event | None:
    """Ask the app service; return its answer for the client.  Raises CommandError."""
    service = session.node.app_service
    if service is None:
        raise CommandError("permission_denied", "no app service is configured for calls")
    data, binary = _payload_of(command)
    verdict = await service.call(
        session.caller(), command.method, data, binary=binary, timeout_s=command.timeout / 1000
    )
    if isinstance(verdict, Refusal):
        raise CommandError(verdict.code, verdict.message)
    if not command.id:
        return None
    if verdict.binary:
        return Reply(id=command.id, payload64=verdict.data)
    return Reply(id=command.id, payload=None if verdict.data is None else msgspec.Raw(verdict.data))


def _payload_of(command: Call) -> tuple[bytes, bool]:
    """Return the payload, empty for none, and whether it is bytes.  Raises CommandError."""
    json = bytes(command.payload)
    if command.payload64 is None:
        return (check_json(json) if json else b""), False
    if json:
        raise CommandError("bad_request", "at most one payload, JSON or bytes")
    return command.payload64, True
