"""What each command does: one short handler for each.

A handler answers the client itself, at the moment at which the answer belongs among what
else the client is sent, or raises CommandError.  It knows sessions and the node, but no sockets.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .errors import CommandError
from .hub.channel import Channel
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
from .message.events import Event, MemberView, Pong, Reply, Resumed
from .message.json import check_json, raw_info
from .message.names import check_channel_name, personal_channel
from .message.publication import Position, Publication
from .message.views import view_publication

if TYPE_CHECKING:
    from .session import Session


async def carry_out(session: Session, command: Command) -> None:
    """Carry out a command and answer it.  Raises CommandError and BrokerError, and has not answered then."""
    handler = _HANDLERS.get(type(command))
    if handler is None:
        raise CommandError("bad_request", "this command is not known here")
    await handler(session, command)


def _reply(session: Session, event: Reply) -> None:
    if event.id:
        session.send(event)


# -- subscriptions ------------------------------------------------------------------------


def _check_may_hear(session: Session, channel: str) -> None:
    """Raise CommandError unless the client may subscribe to, and look into, the channel."""
    check_channel_name(channel)
    if channel.startswith("@"):
        allowed = bool(session.user) and channel == personal_channel(session.user)
    else:
        allowed = session.node.options.namespace(channel).may_subscribe
    if not allowed:
        raise CommandError("permission_denied", "this client may not subscribe to the channel")


async def subscribe(
    session: Session,
    channel: str,
    since: Position | None = None,
    reply: Callable[[Channel, bool | None], Event | None] = lambda channel, recovered: None,
) -> None:
    """Subscribe a client; what it missed since `since` follows `reply`'s event and precedes anything new.

    Raises CommandError when it is subscribed already or has too many channels, and BrokerError.
    """
    if channel in session.channels or channel in session.subscribing:
        raise CommandError("already_subscribed", "this connection is subscribed to the channel already")
    if len(session.channels) + len(session.subscribing) >= session.node.options.max_channels:
        raise CommandError(
            "limit_exceeded", f"at most {session.node.options.max_channels} channels a connection"
        )
    session.subscribing.add(channel)
    try:
        here = await session.node.open_channel(channel)
        missed = await _read_missed(session, here, since) if since is not None else []
        if session.connection.closed:
            return
        # A channel that was closed while its history was read is opened again.
        here = session.node.hub.get(channel) or await session.node.open_channel(channel)
        _attach(session, here, since, missed, reply)
    finally:
        session.subscribing.discard(channel)
    options = session.node.options.namespace(channel).broker
    if options.presence and not channel.startswith("@"):
        await session.node.broker.join(channel, session.member, options)
        if channel not in session.channels:  # it left while it joined
            await session.node.broker.leave(channel, session.client, options)


async def _read_missed(session: Session, here: Channel, since: Position) -> list[Publication]:
    """Return what must be read from the broker's history because the ring does not reach back to `since`."""
    ring = here.rings.get(session.codec)
    covered = ring.covered if ring is not None else here.position.offset
    if since.epoch != here.position.epoch or covered <= since.offset:
        return []
    page = await session.node.history_since(here.name, since)
    return page.publications if page.complete else []


def _attach(
    session: Session,
    here: Channel,
    since: Position | None,
    missed: list[Publication],
    reply: Callable[[Channel, bool | None], Event | None],
) -> None:
    """Subscribe, answer, and send what was missed: all in one go, so that nothing comes between."""
    here.attach(session.client, session.sink, session.codec)
    session.channels.add(here.name)
    directly: list[Publication] = []
    recovered: bool | None = None
    if since is not None:
        if missed and not here.backfill(session.codec, missed):
            ring = here.rings[session.codec]
            directly = [p for p in missed if p.offset <= ring.covered]
        start = Position(since.epoch, directly[-1].offset) if directly else since
        recovered = here.resume(session.client, start)
    event = reply(here, recovered)
    if event is not None:
        session.send(event)
    if recovered:
        for publication in directly:
            payload = session.codec.encode_publication(here.name, publication)
            session.connection.send(session.codec.opcode, payload)


def _position(since: Since | None) -> Position | None:
    if since is None:
        return None
    if since.offset < 0:
        raise CommandError("bad_request", "an offset is not negative")
    return Position(since.epoch, since.offset)


async def _subscribe(session: Session, command: Subscribe) -> None:
    _check_may_hear(session, command.channel)

    def reply(here: Channel, recovered: bool | None) -> Event | None:
        if not command.id:
            return None
        epoch, offset = here.position
        return Reply(id=command.id, channel=here.name, epoch=epoch, offset=offset, recovered=recovered)

    await subscribe(session, command.channel, _position(command.since), reply)


async def _unsubscribe(session: Session, command: Unsubscribe) -> None:
    check_channel_name(command.channel)
    if command.channel not in session.channels:
        raise CommandError("not_subscribed", "this connection is not subscribed to the channel")
    if command.channel.startswith("@"):
        raise CommandError("permission_denied", "the personal channel cannot be left")
    session.detach(command.channel)
    _reply(session, Reply(id=command.id, channel=command.channel))
    options = session.node.options.namespace(command.channel).broker
    if options.presence:
        await session.node.broker.leave(command.channel, session.client, options)


async def _connect(session: Session, command: Connect) -> None:
    """Resume a lost session.  Credentials are not asked for in development mode, and not looked at."""
    subscriptions: list[Resumed] = []
    if command.session and command.session != session.session:
        record = await session.resume(command.session)
        if record is None:
            raise CommandError("unauthorized", "the session is not known any more: subscribe again")
        for name in record.channels:
            if name in session.channels:
                continue
            since = command.since.get(name)

            def reply(here: Channel, recovered: bool | None) -> Event | None:
                epoch, offset = here.position
                subscriptions.append(Resumed(here.name, epoch, offset, recovered))
                return None

            await subscribe(session, name, _position(since), reply)
    _reply(session, Reply(id=command.id, session=session.session, subscriptions=subscriptions))


# -- publications -------------------------------------------------------------------------


def payload_of(data: msgspec.Raw, data64: str) -> tuple[bytes, bool]:
    """Return a payload and whether it is binary.  Raises CommandError unless exactly one is there and valid."""
    json = bytes(data)
    if bool(json) == bool(data64):
        raise CommandError("bad_request", "exactly one of data and data64 is needed")
    if json:
        return check_json(json), False
    try:
        return b64decode(data64, validate=True), True
    except (Base64Error, ValueError):
        raise CommandError("bad_request", "data64 is not valid base64") from None


async def _publish(session: Session, command: Publish) -> None:
    check_channel_name(command.channel)
    node = session.node
    if command.channel.startswith("@") or not node.options.namespace(command.channel).may_publish:
        raise CommandError("permission_denied", "this client may not publish to the channel")
    data, binary = payload_of(command.data, command.data64)
    result = await node.publish(
        command.channel, data, binary=binary, key=command.key, client=session.client, user=session.user
    )
    _reply(
        session,
        Reply(
            id=command.id,
            channel=command.channel,
            epoch=result.epoch,
            offset=result.offset,
            duplicate=result.duplicate,
        ),
    )


async def _history(session: Session, command: History) -> None:
    _check_may_hear(session, command.channel)
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
    _check_may_hear(session, command.channel)
    members = await session.node.presence(command.channel)
    views = [MemberView(m.client, m.user, raw_info(m)) for m in members]
    _reply(session, Reply(id=command.id, channel=command.channel, members=views))


async def _ping(session: Session, command: Ping) -> None:
    session.send(Reply(id=command.id) if command.id else Pong())


async def _malformed(session: Session, command: MalformedCommand) -> None:
    raise CommandError("bad_request", command.message)


_HANDLERS: Final[dict[type[Command], Callable[[Any, Any], Awaitable[None]]]] = {
    Connect: _connect,
    Subscribe: _subscribe,
    Unsubscribe: _unsubscribe,
    Publish: _publish,
    History: _history,
    Presence: _presence,
    Ping: _ping,
    MalformedCommand: _malformed,
}
