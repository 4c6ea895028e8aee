"""A client's `send`: carried to the app service, and what the service wants done upon it.

It knows sessions and the seam to services, no HTTP.  What always holds: a message is in its place among the
client's commands, so what follows waits until everything that it brought about is done; when the client goes
before the service answered, its message is given up, and nothing is done upon it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from .allowing import allowed
from .asking import MessageVerdict
from .errors import CommandError
from .message.commands import Send
from .message.events import Event, Reply
from .message.json import check_json

if TYPE_CHECKING:
    from .session import Session

_logger = logging.getLogger(__name__)


async def send(session: Session, command: Send) -> Event | None:
    """Ask the app service, and do what it says.  Raises CommandError and BrokerError."""
    service = session.node.app_service
    if service is None:
        raise CommandError("permission_denied", "no app service is configured for messages")
    data, binary = _payload_of(command)
    verdict = allowed(await service.message(session.caller(), data, binary=binary))
    try:
        await _carry_out(session, verdict)
    except CommandError as problem:
        # The client did nothing wrong, and cannot mend it.
        if times := session.node.seldom.times("message"):
            extra = {"hook": "message", "problem": problem.message, "times": times}
            _logger.warning("what an app service wanted done upon a message cannot be done", extra=extra)
        raise CommandError("internal", "the app service asked for something that cannot be done") from None
    if verdict.close_code:
        _answer(session, command, verdict)
        session.connection.close(verdict.close_code, verdict.reason)
        return None
    return _reply_of(command, verdict)


async def _carry_out(session: Session, verdict: MessageVerdict) -> None:
    node = session.node
    for wanted in verdict.publish:
        said = wanted.said
        await node.publish(
            wanted.channel, said.data, binary=said.binary, key=wanted.key, exclude=wanted.exclude
        )
    await session.hear(verdict.subscribe)
    for channel in verdict.unsubscribe:
        await session.end_subscription(channel, "unsubscribed")
    for said in verdict.messages:
        session.send_directly(node.make_publication(said.data, binary=said.binary))


def _answer(session: Session, command: Send, verdict: MessageVerdict) -> None:
    reply = _reply_of(command, verdict)
    if reply is not None:
        session.send(reply)


def _reply_of(command: Send, verdict: MessageVerdict) -> Reply | None:
    if not command.id:
        return None
    said = verdict.answer
    if said is None:
        return Reply(id=command.id)
    if said.binary:
        return Reply(id=command.id, payload64=said.data)
    return Reply(id=command.id, payload=msgspec.Raw(said.data))


def _payload_of(command: Send) -> tuple[bytes, bool]:
    """Return the payload, and whether it is bytes.  Raises CommandError unless there is exactly one."""
    json = bytes(command.data)
    if bool(json) == (command.data64 is not None):
        raise CommandError("bad_request", "exactly one payload is needed, JSON or bytes")
    return (check_json(json), False) if command.data64 is None else (command.data64, True)
