"""What each command does: one short handler for each.

A handler answers the client itself, at the moment at which the answer belongs among what
else the client is sent, or returns the answer where any moment will do, or raises CommandError.  It knows
sessions and the node, but no sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from .asking import CallVerdict, MessageVerdict, PublishVerdict, Refusal, SubscribeVerdict
from .errors import CommandError
from .message.commands import (
    Command,
    Connect,
    History,
    MalformedCommand,
    Ping,
    Presence,
    Publish,
    Since,
    Subscribe,
    Unsubscribe,
)
from .message.events import Event, Pong, Reply, Resumed
from .message.json import check_json
from .message.names import check_channel_name, personal_channel
from .message.publication import Position
from .message.views import view_member, view_publication
from .subscribing import join, subscribe

if TYPE_CHECKING:
    from .options import Namespace
    from .permissions import Rule
    from .session import Session

V = TypeVar("V", SubscribeVerdict, PublishVerdict, CallVerdict, MessageVerdict)


def carry_out(session: Session, command: Command) -> Awaitable[Event | None]:
    """Carry out a command; answer it, or return the answer.

    Raises CommandError and BrokerError, at once or when it is awaited, and has not answered then.
    """
    handler = _HANDLERS.get(type(command))
    if handler is None:
        raise CommandError("bad_request", "this command is not known here")
    return handler(session, command)


def _reply(session: Session, event: Reply) -> None:
    if event.id:
        session.send(event)


# -- subscriptions ------------------------------------------------------------------------


def _owns(session: Session, channel: str) -> bool:
    """Tell whether a channel is the client's personal one."""
    return bool(session.user) and channel == personal_channel(session.user)


def _may_subscribe(session: Session, channel: str) -> bool:
    """Tell whether the client may subscribe, as far as that can be said without asking anybody."""
    if channel.startswith("@"):
        return _owns(session, channel)
    namespace = session.node.options.namespace(channel)
    return namespace.may_subscribe or namespace.subscribe.allows(session, channel)


async def _check_may_subscribe(session: Session, command: Subscribe) -> bytes:
    """Return what others see in the channel of this client, empty for what they see everywhere.

    Raises CommandError unless the client may subscribe.
    """
    channel = check_channel_name(command.channel)
    if _may_subscribe(session, channel):
        return b""
    rule, door = session.node.options.namespace(channel).subscribe, session.node.door
    if not channel.startswith("@"):
        if rule.with_token and command.token and door is not None:
            return (await door.channel_grant(session, command.token, channel)).info
        if rule.asks and session.node.app_service is not None:
            verdict = await session.node.app_service.subscribe(session.caller(), channel)
            return _allowed(verdict).info
    raise CommandError("permission_denied", "this client may not subscribe to the channel")


def _allowed(verdict: V | Refusal) -> V:
    """Return a verdict.  Raises CommandError where it is a refusal."""
    if isinstance(verdict, Refusal):
        raise CommandError(verdict.code, verdict.message)
    return verdict


def _check_may_see(session: Session, channel: str, rule: Rule) -> None:
    """Raise CommandError unless the client may look into the channel, by the rule for what it asks."""
    if channel.startswith("@"):
        allowed = _owns(session, channel)
    else:
        allowed = rule.allows(session, channel) or (
            rule.subscribers and (session.hears(channel) or _may_subscribe(session, channel))
        )
    if not allowed:
        raise CommandError("permission_denied", "this client may not see that of the channel")


def _position(since: Since | None) -> Position | None:
    return None if since is None else Position(since.epoch, since.offset)


async def _subscribe(session: Session, command: Subscribe) -> None:
    info = await _check_may_subscribe(session, command)

    def answer(subscriptions: list[Resumed]) -> Event | None:
        (s,) = subscriptions
        reply = Reply(id=command.id, channel=s.channel, epoch=s.epoch, offset=s.offset, recovered=s.recovered)
        return reply if command.id else None

    await subscribe(session, {command.channel: _position(command.since)}, answer, info=info)


def subscribe_at_once(session: Session, command: Subscribe) -> bool:
    """Subscribe a client, from now on, to a channel that is open here; tell whether that could be done.

    False, and nothing was done, where something must be waited for, or is wrong: `carry_out` does all of it.
    """
    node, name = session.node, command.channel
    here = node.hub.get(name)
    if here is None or command.since is not None or name.startswith("@") or session.subscribing:
        return False
    namespace = node.options.namespace(name)
    if session.hears(name) or not (namespace.may_subscribe or namespace.subscribe.allows(session, name)):
        return False
    if session.channel_count >= node.options.max_channels:
        return False
    session.attach(here)
    node.on_session_changed(session)
    if command.id:
        at = here.position
        session.send(Reply(id=command.id, channel=name, epoch=at.epoch, offset=at.offset))
    if namespace.broker.presence:
        session.run(join(session, name, namespace.broker))
    return True


async def _unsubscribe(session: Session, command: Unsubscribe) -> None:
    check_channel_name(command.channel)
    if not session.hears(command.channel):
        raise CommandError("not_subscribed", "this connection is not subscribed to the channel")
    if command.channel.startswith("@"):
        raise CommandError("permission_denied", "the personal channel cannot be left")
    # First what can fail: then the command has done nothing, and can be repeated.
    await session.leave([command.channel])
    session.detach(command.channel)
    _reply(session, Reply(id=command.id, channel=command.channel))


async def _connect(session: Session, command: Connect) -> None:
    """Renew the grant by another token; resume a lost session.

    In development mode credentials are not asked for, and not looked at.
    """
    if command.token and session.node.door is not None:
        await session.node.door.renew(session, command.token)
    expires = int(session.grant.expires) or None
    if not command.session or command.session == session.session:
        _reply(session, Reply(id=command.id, session=session.session, subscriptions=[], expires=expires))
        return
    record = await session.take(command.session)
    wanted = {
        name: _position(command.since.get(name))
        for name in record.channels
        if not session.hears(name) and name not in session.subscribing
    }

    def answer(subscriptions: list[Resumed]) -> Event | None:
        session.session = command.session
        reply = Reply(id=command.id, session=session.session, subscriptions=subscriptions, expires=expires)
        return reply if command.id else None

    try:
        await subscribe(session, wanted, answer)
    finally:
        if session.session != command.session:
            session.put_back(command.session, record)  # so that it can be tried again


# -- publications -------------------------------------------------------------------------


def _payload_of(data: msgspec.Raw, data64: bytes | None) -> tuple[bytes, bool]:
    """Return a payload and whether it is binary.  Raises CommandError unless one is there, and valid."""
    json = bytes(data)
    if bool(json) == (data64 is not None):
        raise CommandError("bad_request", "exactly one payload is needed, JSON or bytes")
    return (check_json(json), False) if data64 is None else (data64, True)


def _must_ask_to_publish(session: Session, channel: str, namespace: Namespace) -> bool:
    """Tell whether the app service has to be asked.  Raises CommandError where that would not help."""
    rule = namespace.publish
    if not channel.startswith("@"):
        if rule.allows(session, channel):
            return False
        if rule.subscribers and (session.hears(channel) or _may_subscribe(session, channel)):
            return False
        if rule.asks and session.node.app_service is not None:
            return True
    raise CommandError("permission_denied", "this client may not publish to the channel")


async def _publish(session: Session, command: Publish) -> Event | None:
    channel = check_channel_name(command.channel)
    node = session.node
    namespace = node.options.namespace(channel)
    asks = False
    if channel.startswith("@") or not namespace.may_publish:
        asks = _must_ask_to_publish(session, channel, namespace)
    data, binary = _payload_of(command.data, command.data64)
    if asks and node.app_service is not None:
        asked = await node.app_service.publish(session.caller(), channel, data, binary=binary)
        verdict = _allowed(asked)
        if verdict.data is not None:
            data, binary = verdict.data, verdict.binary
    result = await node.publish(
        command.channel, data, binary=binary, key=command.key, client=session.client, user=session.user
    )
    if not command.id:
        return None
    return Reply(
        id=command.id,
        channel=command.channel,
        epoch=result.epoch,
        offset=result.offset,
        duplicate=result.duplicate,
    )


async def _history(session: Session, command: History) -> None:
    channel = check_channel_name(command.channel)
    _check_may_see(session, channel, session.node.options.namespace(channel).see_history)
    page = await session.node.history(command.channel, limit=command.limit, before=command.before)
    _reply(
        session,
        Reply(
            id=command.id,
            channel=command.channel,
            epoch=page.top.epoch,
            offset=page.top.offset,
            publications=[view_publication(p) for p in page.publications],
            complete=page.complete,
        ),
    )


async def _presence(session: Session, command: Presence) -> None:
    channel = check_channel_name(command.channel)
    _check_may_see(session, channel, session.node.options.namespace(channel).see_presence)
    members = await session.node.presence(command.channel)
    views = [view_member(member) for member in members]
    _reply(session, Reply(id=command.id, channel=command.channel, members=views))


async def _ping(session: Session, command: Ping) -> None:
    session.send(Reply(id=command.id) if command.id else Pong())


async def _malformed(session: Session, command: MalformedCommand) -> None:
    raise CommandError("bad_request", command.message)


_HANDLERS: Final[dict[type[Command], Callable[[Any, Any], Awaitable[Event | None]]]] = {
    Connect: _connect,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Publish: _publish,
    History: _history,
    Presence: _presence,
    Ping: _ping,
    MalformedCommand: _malformed,
}
