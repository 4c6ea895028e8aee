"""What each command does: one short handler for each.

A handler answers the client itself, at the moment at which the answer belongs among what
else the client is sent, or returns the answer where any moment will do, or raises CommandError.  It knows
sessions and the node, but no sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .allowing import ask_to_publish, check_may_see, check_may_subscribe, may_publish, may_subscribe
from .broker import Publisher, PublishResult
from .calling import call
from .errors import CommandError, StaleVersionError
from .message.commands import (
    Call,
    Command,
    Connect,
    History,
    MalformedCommand,
    Ping,
    Presence,
    Publish,
    RefusedCommand,
    Send,
    Since,
    Subscribe,
    Unsubscribe,
    Update,
)
from .message.events import Event, Pong, Reply, Resumed
from .message.json import check_json
from .message.names import check_channel_name, check_known_name
from .message.publication import Position, Proof
from .message.views import view_member, view_publication
from .saying import send
from .subscribing import join, subscribe

if TYPE_CHECKING:
    from .session import Session


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


def _position(since: Since | None) -> Position | None:
    return None if since is None else Position(since.epoch, since.offset)


def _proofs(since: Mapping[str, Since]) -> Mapping[str, Proof]:
    return {name: Proof(at.id, at.mark) for name, at in since.items() if at.id or at.mark}


async def _subscribe(session: Session, command: Subscribe) -> None:
    if command.token and await _renewed(session, command):
        return
    terms = await check_may_subscribe(session, command)
    door = session.node.door

    def answer(subscriptions: list[Resumed]) -> Event | None:
        (s,) = subscriptions
        if terms.expires and door is not None:
            door.hold(session, s.channel, terms.expires)
        reply = Reply(
            id=command.id,
            channel=s.channel,
            epoch=s.epoch,
            offset=s.offset,
            recovered=s.recovered,
            expires=terms.expires or None,
            mark=s.mark,
        )
        return reply if command.id else None

    since = {command.channel: command.since} if command.since is not None else {}
    was = command.since.clients if command.since is not None else ()
    wanted = {command.channel: _position(command.since)}
    await subscribe(session, wanted, answer, info=terms.info, was=was, proofs=_proofs(since))


async def _renewed(session: Session, command: Subscribe) -> bool:
    """Let a subscription that a token made go on with another one; tell whether there is such a subscription.

    Raises CommandError where the token is not good for it: it ends with the old one then.
    """
    door, channel = session.node.door, command.channel
    if door is None or channel not in door.tickets.ends_of(session):
        return False
    grant = await door.channel_grant(session, command.token, channel)
    if not session.hears(channel):  # it ended while the token was verified
        return False
    door.hold(session, channel, grant.expires)
    session.node.on_session_changed(session)
    _reply(session, Reply(id=command.id, channel=channel, expires=grant.expires))
    return True


def subscribe_at_once(session: Session, command: Subscribe) -> bool:
    """Subscribe a client, from now on, to a channel that is open here; tell whether that could be done.

    False, and nothing was done, where something must be waited for, or is wrong: `carry_out` does all of it.
    """
    node, name = session.node, command.channel
    here = node.hub.get(name)
    if here is None or command.since is not None or name.startswith("@") or session.subscribing:
        return False
    namespace = node.options.namespace(name)
    if namespace.broker.max_state_bytes or session.hears(name):
        return False
    if not namespace.may_subscribe and not namespace.subscribe.allows(session, name):
        return False
    if session.channel_count >= node.options.max_channels:
        return False
    session.attach(here)
    node.on_session_changed(session)
    if command.id:
        at, mark = here.position, node.mark(name) if node.proving is not None else None
        session.send(Reply(id=command.id, channel=name, epoch=at.epoch, offset=at.offset, mark=mark))
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
    door = session.node.door
    wanted = {
        name: _position(command.since.get(name))
        for name in record.channels
        if (not session.hears(name) or (name.startswith("@") and name in command.since))
        and name not in session.subscribing
        and (door is None or name not in record.ends or not door.has_ended(record.ends[name]))
    }

    def answer(subscriptions: list[Resumed]) -> Event | None:
        session.adopt(command.session)
        if door is not None:
            for name in wanted.keys() & record.ends.keys():
                door.hold(session, name, record.ends[name])
        reply = Reply(id=command.id, session=session.session, subscriptions=subscriptions, expires=expires)
        return reply if command.id else None

    try:
        earlier = {client for since in command.since.values() for client in since.clients}
        proofs = _proofs(command.since)
        await subscribe(session, wanted, answer, was={record.client, *earlier}, proofs=proofs)
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


async def _publish(session: Session, command: Publish) -> Event | None:
    channel = check_known_name(command.channel)
    asks = not may_publish(session, channel)
    data, binary = _payload_of(command.data, command.data64)
    if asks:
        data, binary = await ask_to_publish(session, channel, data, binary=binary)
    result = await session.node.publish(
        channel, data, binary=binary, key=command.key, client=session.client, user=session.user
    )
    return published(command, result) if command.id else None


def published(command: Publish, result: PublishResult) -> Reply:
    """Return the answer to a publish that was carried out."""
    return Reply(
        id=command.id,
        channel=command.channel,
        epoch=result.epoch,
        offset=result.offset,
        duplicate=result.duplicate,
    )


async def _update(session: Session, command: Update) -> Event | None:
    channel = check_known_name(command.channel)
    asks = not may_publish(session, channel)
    patch = check_json(memoryview(command.patch))
    if asks:
        patch, binary = await ask_to_publish(session, channel, patch, binary=False)
        if binary:
            raise CommandError("internal", "the app service answered with bytes, which are no patch")
    try:
        result = await session.node.update(
            channel,
            patch,
            base=Position(command.epoch, command.base),
            key=command.key,
            client=session.client,
            user=session.user,
        )
    except StaleVersionError as stale:
        if session.hears(channel) or may_subscribe(session, channel):
            raise
        raise CommandError(stale.code, stale.message) from None  # the state is for subscribers
    if not command.id:
        return None
    return Reply(
        id=command.id,
        channel=command.channel,
        epoch=result.epoch,
        version=result.offset,
        duplicate=result.duplicate,
    )


def publish_at_once(session: Session, command: Publish, publisher: Publisher) -> bool:
    """Give a publication to the broker, which tells `publisher`; tell whether that could be done.

    False, and nothing was done, where something else must be waited for: `carry_out` does it all.
    Raises CommandError.
    """
    if not may_publish(session, check_known_name(command.channel)):
        return False
    data, binary = _payload_of(command.data, command.data64)
    session.node.begin_publish(
        command.channel, data, publisher,
        binary=binary, key=command.key, client=session.client, user=session.user,
    )  # fmt: skip
    session.node.routes.learn(command.channel)
    return True


async def _history(session: Session, command: History) -> None:
    channel = check_channel_name(command.channel)
    check_may_see(session, channel, session.node.options.namespace(channel).see_history)
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
    check_may_see(session, channel, session.node.options.namespace(channel).see_presence)
    members = await session.node.presence(command.channel)
    views = [view_member(member) for member in members]
    _reply(session, Reply(id=command.id, channel=command.channel, members=views))


async def _ping(session: Session, command: Ping) -> None:
    session.send(Reply(id=command.id) if command.id else Pong())


async def _refused(session: Session, command: RefusedCommand) -> None:
    raise CommandError("rate_limited", "too many messages in too short a time")


async def _malformed(session: Session, command: MalformedCommand) -> None:
    raise CommandError("bad_request", command.message)


_HANDLERS: Final[dict[type[Command], Callable[[Any, Any], Awaitable[Event | None]]]] = {
    Connect: _connect,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Publish: _publish,
    Update: _update,
    History: _history,
    Presence: _presence,
    Call: call,
    Send: send,
    Ping: _ping,
    MalformedCommand: _malformed,
    RefusedCommand: _refused,
}
