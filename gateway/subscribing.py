"""Subscribing a client: to one channel, or to all that a lost session had.

It knows sessions and the node, but no sockets.  How it works: everything that must be waited for
(interest at the broker, missed publications from its history) is waited for first; then in
one go, so that nothing comes between, the client is attached, answered, and sent what it missed.
A client may know more of a channel than this node, which was cut off or stopped for a while; then the
node catches up first.  What always holds: the answer precedes the missed messages, and these precede new
ones; a client that goes while it subscribes leaves nothing behind.

To its personal channel a client is subscribed from the beginning.  It may subscribe to it all the same, to
learn where that stands, or to go on where an earlier connection was: then what came of it before the answer
comes again.

Where a channel has a state, and what a client missed is not to be had, it gets the state: it is then resumed
from the version of that, as if it had named it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import structs

from .broker import ChannelOptions, State
from .errors import BrokerError, BrokerUnavailableError, CommandError
from .hub.channel import Channel
from .message.events import Event, Resumed
from .message.publication import Position, Proof, Publication
from .message.views import state_of

if TYPE_CHECKING:
    from .session import Session


NONE_UNDER_WAY: Final[
    dict[str, object]
] = {}  # of all sessions that subscribe to nothing just now; never changed


_MOST_TRIES: Final = 5
_NO_PROOFS: Final[Mapping[str, Proof]] = {}


class _Ready(NamedTuple):
    """A channel that can be attached to at once.

    `asked`: the client named a position.  `state` is what the client gets in place of what it missed; then
    `since` is its version.
    """

    here: Channel
    since: Position | None
    missed: list[Publication]  # read from history, because the ring does not reach back to `since`
    lost: bool  # history does not either
    stateful: bool
    asked: bool
    state: State | None = None


async def subscribe(
    session: Session,
    wanted: Mapping[str, Position | None],
    answer: Callable[[list[Resumed]], Event | None] = lambda subscriptions: None,
    *,
    info: bytes = b"",
    was: Collection[str] = (),
    proofs: Mapping[str, Proof] = _NO_PROOFS,
) -> None:
    """Subscribe a client to channels, to each from its position on, or to none of them.

    `proofs` says of channels how the client knows the position.

    `info` (JSON text), where it is not empty, is what others see there beside the user.  `was` are the ids of
    connections that the client had before: it is not sent what excludes one of them.
    `answer` is called once it is subscribed; what it returns is sent before the missed messages.
    Raises CommandError when it is subscribed to one of them already or has too many, and BrokerError;
    `answer` was not called then.
    """
    _check_room(session, wanted)
    turn = object()  # a service may end a subscription that is being made: it removes this
    session.subscribing = {**session.subscribing, **dict.fromkeys(wanted, turn)}
    try:
        ready = await _prepare(session, wanted, proofs)
        if session.connection.closed:
            return
        ready = [r for r in ready if session.subscribing.get(r.here.name) is turn]
        if len(ready) < len(wanted) == 1:
            raise CommandError("permission_denied", "the app service ended the subscription")
        _attach_all(session, ready, answer, was)
    finally:
        for name in wanted:
            if session.subscribing.get(name) is turn:
                del session.subscribing[name]
        if not session.subscribing:
            session.subscribing = NONE_UNDER_WAY
    for here in [r.here for r in ready]:
        options = session.node.options.namespace(here.name).broker
        if options.presence and not here.name.startswith("@"):
            await join(session, here.name, options, info)


def _check_room(session: Session, wanted: Mapping[str, Position | None]) -> None:
    new = [name for name in wanted if not (name.startswith("@") and session.hears(name))]
    if any(session.hears(name) for name in new) or any(name in session.subscribing for name in wanted):
        raise CommandError("already_subscribed", "this connection is subscribed to the channel already")
    most = session.node.options.max_channels
    if session.channel_count + len(session.subscribing) + len(new) > most:
        session.node.exceeded.count("channels_per_connection", session.connection.remote)
        raise CommandError("limit_exceeded", f"at most {most} channels a connection")


async def _prepare(
    session: Session, wanted: Mapping[str, Position | None], proofs: Mapping[str, Proof]
) -> list[_Ready]:
    """Open the channels and read what was missed.  When this returns, all of them are open."""
    node = session.node
    for tries in count():
        ready = []
        for name, since in wanted.items():
            ready.append(await _prepare_one(session, name, since, proofs.get(name)))
        # One that fell idle while others were waited for may have been closed: begin again.
        if not session.connection.closed and not all(node.hub.get(r.here.name) is r.here for r in ready):
            continue
        if session.connection.closed or tries >= _MOST_TRIES or all(_adjoins(session, r) for r in ready):
            break
    if not all(not r.stateful or _adjoins(session, r) for r in ready) and not session.connection.closed:
        raise BrokerUnavailableError("the channel changes faster than its state can be read")
    return ready


async def _prepare_one(session: Session, name: str, since: Position | None, proof: Proof | None) -> _Ready:
    """Open a channel; read what was missed, or the state where that is not to be had."""
    here = await session.node.open_channel(name)
    stateful = session.node.options.namespace(name).broker.max_state_bytes > 0
    missed: list[Publication] | None = []
    if since is not None:
        missed = await _read_missed(session, here, since, proof)
    ready = _Ready(here, since, missed or [], missed is None, stateful, since is not None)
    if not stateful or (since is not None and _adjoins(session, ready)):
        return ready
    at = here.position
    reaching = here.ring(session.encoding).covered  # from now on it keeps what is published
    state = await session.node.states.read(name, at.epoch, reaching)
    since = Position(state.epoch, state.version)
    missed = await _read_missed(session, here, since)
    return ready._replace(since=since, missed=missed or [], lost=missed is None, state=state)


def _adjoins(session: Session, ready: _Ready) -> bool:
    """Tell whether what was read still reaches up to the ring, which may have dropped what came meanwhile."""
    since, here = ready.since, ready.here
    if ready.stateful and (since is None or ready.lost or _is_elsewhere(here, since)):
        return False  # the client cannot do without
    if since is None or ready.lost or since.epoch != here.position.epoch:
        return True
    had = ready.missed[-1].offset if ready.missed else since.offset
    return here.ring(session.encoding).covered <= had


def _is_elsewhere(here: Channel, since: Position) -> bool:
    return since.epoch != here.position.epoch or since.offset > here.position.offset


def _is_open(session: Session, here: Channel) -> bool:
    return session.node.hub.get(here.name) is here and not session.connection.closed


async def _read_missed(
    session: Session, here: Channel, since: Position, proof: Proof | None = None
) -> list[Publication] | None:
    """Wait until the channel is at `since`; return what must be read from the broker's history because the
    ring does not reach back to it.

    None where history does not either, and where the position is of a count that was lost.
    """
    await session.node.ahead.settle(here, since, lambda: _is_open(session, here))
    if proof is not None and not await _knows(session, here, since, proof):
        return None
    ring = here.ring(session.encoding)  # from now on it keeps what is published while history is read
    now = session.node.loop.time()
    if since.epoch != here.position.epoch or here.serves(session.encoding, since.offset, now):
        return []
    page = await session.node.history_since(here.name, since, reaching=ring.covered)
    return page.publications if page.complete else None


async def _knows(session: Session, here: Channel, since: Position, proof: Proof) -> bool:
    """Tell whether a position is of the count as it is, as far as that can be doubted."""
    proving = session.node.proving
    if proving is None or since.epoch != here.position.epoch:
        return True
    return await proving.knows(here.name, session.node.options.namespace(here.name).broker, since, proof)


def _attach_all(
    session: Session,
    ready: list[_Ready],
    answer: Callable[[list[Resumed]], Event | None],
    was: Collection[str],
) -> None:
    """Subscribe, answer, and send what was missed: all in one go, so that nothing comes between."""
    subscriptions: list[Resumed] = []
    directly: list[tuple[str, Publication]] = []
    for r in ready:
        here, recovered, at = r.here, None, r.here.position
        if session.hears(here.name):
            at = here.standing(session.client)
        else:
            session.attach(here)
        if r.since is not None:
            recovered, publications = _resume(session, r, was)
            directly += [(here.name, publication) for publication in publications]
            at = here.position if recovered else at
        if r.state is not None:
            recovered, at = False if r.asked else None, Position(r.state.epoch, r.state.version)
        subscriptions.append(Resumed(here.name, *at, recovered, session.node.mark(here.name)))
    event = answer(subscriptions)
    session.node.on_session_changed(session)
    if event is not None:
        session.send(event)
    for r in ready:
        if r.state is not None:
            session.send(state_of(r.here.name, r.state))
    for name, publication in directly:
        session.connection.send(session.codec.opcode, session.codec.encode_publication(name, publication))


def _resume(session: Session, ready: _Ready, was: Collection[str]) -> tuple[bool, list[Publication]]:
    """Set a subscriber back to where it was; tell whether all it missed will come.

    The second part of the result is what does not fit into the ring and must be sent from here.
    """
    here, start = ready.here, ready.since
    if start is None or ready.lost or start.epoch != here.position.epoch:
        return False, []
    directly: list[Publication] = []
    if ready.missed and not here.backfill(session.encoding, ready.missed):
        covered = here.ring(session.encoding).covered
        directly = [publication for publication in ready.missed if publication.offset <= covered]
        start = Position(start.epoch, directly[-1].offset)
    if not here.resume(session.client, start, was):
        return False, []
    return True, [p for p in directly if p.exclude != session.client and p.exclude not in was]


async def join(session: Session, channel: str, options: ChannelOptions, info: bytes = b"") -> None:
    """Enter the client in the channel's presence.  It was answered already: nothing is raised."""
    try:
        member = session.member if not info else structs.replace(session.member, info=info)
        await session.node.broker.join(channel, member, options)
    except BrokerError:
        # Subscribed and not present would be neither one nor the other.
        await session.end_subscription(channel, "unavailable")
        return
    if not session.hears(channel):  # it left while it joined
        session.node.spawn(session.node.broker.leave(channel, session.client, options))
