"""A client's `call`: carried to the app service, and its answer back.

It knows sessions and the seam to services, no HTTP.  What always holds: a call is in its place among the
client's commands, so what follows it waits; when the client goes, the call is given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .asking import Refusal
from .errors import CommandError
from .message.commands import Call
from .message.events import Event, Reply
from .message.json import check_json

if TYPE_CHECKING:
    from .session import Session


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
