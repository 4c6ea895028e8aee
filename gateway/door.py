"""The door: who is let in, as whom, and until when.

It knows tokens and sessions, but no sockets and no files.  How it works: a token in the handshake is
verified at once, and the client has its session before the connection's first turn is over.  Who shows
none, or one whose key must be fetched first, is a `Visitor` until it showed a good one, or its time is
over.  What always holds: nobody has a session without a grant; a session ends when its grant does, or is
revoked, unless it was renewed; no token is in a log line.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import msgspec

from . import closecodes
from .admission import merged
from .allowing import may_subscribe
from .asking import Caller, ConnectQuestion, Refusal
from .auth.credentials import Handshake, Places, find_token
from .auth.grant import ANONYMOUS, ChannelGrant, Grant
from .auth.refusals import KeysUnavailableError, TokenRefusedError
from .auth.revocations import Revocation, Revocations, RevokedKind
from .auth.tokens import TokenVerifier
from .broker import Control
from .connection.accepted import Accepted
from .connection.interface import Connection, Handler
from .errors import BrokerError, CommandError
from .expiring import Expiries
from .hub.encoding import Encoding
from .node import Node
from .permissions import Client
from .publish_times import Sample
from .revoking import REVOCATIONS, RevocationLog, unpack
from .seldom import Seldom
from .session import Session
from .tickets import Tickets
from .visitor import Visitor

_MOST_COUNTS: Final = 1000

_log = logging.getLogger("gateway.auth")


class DoorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds.

    `anonymous`: who shows no token is let in as nobody in particular.  `has_keys`: tokens are verified here.
    `asks`: an app service has to let every client in, too.
    """

    places: Places = Places()
    anonymous: bool = False
    has_keys: bool = True
    asks: bool = False
    connect_timeout_s: float = 10.0
    leeway_s: float = 5.0
    revocation_ttl_s: float = 86400.0


class Closable(Protocol):
    """A connection, as far as a door needs one."""

    @property
    def remote(self) -> str:
        """The client's address."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake.  Idempotent."""


class Held(Protocol):
    """A client that is in: a session, or somebody who is passed through."""

    grant: Grant

    @property
    def client(self) -> str:
        """The id of the connection."""

    @property
    def connection(self) -> Closable:
        """What is closed when the grant ends."""


class Door:
    """Lets the clients of a node in."""

    def __init__(
        self, node: Node, verifier: TokenVerifier, options: DoorOptions, revocations: Revocations
    ) -> None:
        self.node = node
        self.verifier = verifier
        self.options = options
        self.expiries: Expiries[Held] = Expiries()
        self.tickets = Tickets()
        self.refusals: Counter[str] = Counter()
        self.admitted = 0
        self._seldom = Seldom(node.loop.time)
        self._guests: dict[str, Held] = {}
        self._closed: dict[Revocation, int] = {}  # connections that the last entries closed
        self.revocations = revocations
        self.log = RevocationLog(
            node.broker, ttl_s=options.revocation_ttl_s, on_entry=self.revoke, spawn=node.spawn
        )
        node.door = self
        node.own_channels[REVOCATIONS] = self.log

    async def start(self) -> None:
        """Learn what was revoked, and begin to fetch key sets."""
        try:
            await self.log.start()
        except BrokerError as problem:
            _log.warning("the log of revocations cannot be read now: %s", problem)
        self.node.spawn(self.verifier.refresh(self.verifier.sets))

    async def stop(self) -> None:
        """Wait for what is under way."""
        await self.verifier.stop()

    def change(self, verifier: TokenVerifier, options: DoorOptions) -> None:
        """Let clients in by other keys and options from now on."""
        self.verifier, self.options = verifier, options
        self.node.spawn(verifier.refresh(verifier.sets))

    def sweep(self) -> None:
        """End what is over; to be called about once a second."""
        now_ms = self.node.wall_ms()
        for session in self.expiries.due(now_ms / 1000):
            session.connection.close(closecodes.UNAUTHORIZED, "the token is expired")
        for holder, channel in self.tickets.due(now_ms / 1000):
            if not may_subscribe(holder, channel):
                self.node.spawn(holder.end_subscription(channel, "token_expired"))
        self.revocations.forget_old(now_ms)
        self.log.sweep()
        stale = self.verifier.stale
        if stale:
            self.node.spawn(self.verifier.refresh(stale))

    def samples(self) -> Iterable[Sample]:
        """Yield what it counts."""
        sets = self.verifier.sets
        yield "ringgate_clients_admitted", "counter", "clients let in", {}, self.admitted
        for reason, count in list(self.refusals.items()):
            yield "ringgate_tokens_refused", "counter", "tokens refused", {"reason": reason}, count
        yield "ringgate_revocations", "gauge", "revocations that are kept", {}, len(self.revocations)
        fetched, failed = sum(s.refreshes for s in sets), sum(s.failures for s in sets)
        yield "ringgate_key_set_fetches", "counter", "times a key set was asked for", {}, fetched
        yield "ringgate_key_set_failures", "counter", "times a key set could not be had", {}, failed

    # -- letting in ---------------------------------------------------------------------------

    def open(self, connection: Connection, accepted: Accepted, encoding: Encoding) -> Handler:
        """Return the handler of a new connection: its session, or a visitor who is not in yet."""
        options = self.options
        try:
            token = self._token_of(accepted.request)
            waits = options.has_keys and not token and not options.anonymous
            if not waits and not options.asks:
                grant = self.verifier.verify(token) if token else ANONYMOUS
                return self.admit(connection, encoding, grant)
        except TokenRefusedError as problem:
            visitor = Visitor(self, connection, encoding, accepted.request)
            if self.verifier.needs_keys(problem):
                visitor.show(token)
            else:
                visitor.refuse(problem)
            return visitor
        visitor = Visitor(self, connection, encoding, accepted.request)
        if not waits:
            visitor.show(token)
        return visitor

    def _token_of(self, request: Handshake) -> str:
        """Return the token of a request; what is none here may be something to the service that is asked."""
        try:
            return find_token(request, self.options.places)
        except TokenRefusedError:
            if self.options.has_keys:
                raise
            return ""

    def admit(
        self, connection: Connection, encoding: Encoding, grant: Grant, ids: tuple[str, str] | None = None
    ) -> Session:
        """Return the session of a client that is let in; it was greeted.  `ids`: of client and session."""
        session = Session(self.node, connection, encoding, user=grant.user, grant=grant)
        if ids is not None:
            session.client, session.session = ids
        session.start()
        self.admitted += 1
        self._watch(session)
        return session

    def count(self, problem: TokenRefusedError, remote: str) -> None:
        """Count a refusal, and log it now and then."""
        self.refusals[problem.reason] += 1
        if times := self._seldom.times(problem.reason):
            extra = {"reason": str(problem), "remote": remote, "times": times}
            _log.info("a token was refused", extra=extra)

    async def judge(self, token: str, caller: Caller, question: ConnectQuestion) -> Grant | Refusal:
        """Return what a client is granted that shows a token, or none; ask all who have to say so.

        Raises TokenRefusedError, KeysUnavailableError, and CommandError where a service gave no answer.
        """
        grant, verifier = ANONYMOUS, self.verifier
        if token and self.options.has_keys:
            try:
                grant = verifier.verify(token)
            except TokenRefusedError as problem:
                if not verifier.needs_keys(problem):
                    raise
                grant = await verifier.verify_later(token, verifier.verify)
            token = ""
        if not self.options.asks:
            return grant
        service = self.node.app_service
        if service is None:
            raise CommandError("unavailable", "there is no app service to ask")
        known = msgspec.structs.replace(caller, user=grant.user, info=grant.info)
        question = msgspec.structs.replace(question, token=token)
        verdict = await service.connect(known, question)
        if isinstance(verdict, Refusal):
            return verdict
        now_s = self.node.wall_ms() / 1000
        grant = merged(grant, verdict, verifier.rules, caller.forwarded, now_s)
        self.verifier.check_revoked(grant)  # it may have been while the service was asked
        return grant

    def _watch(self, session: Session) -> None:
        if session.grant.expires:
            ends_s = session.grant.expires + self.options.leeway_s
            self.expiries.watch(session.client, session, ends_s)

    def left(self, session: Session) -> Mapping[str, int]:
        """Forget a session that is over; return when its subscriptions would have ended, by channel."""
        if session.grant.expires:
            self.expiries.forget(session.client)
        return self.tickets.left(session)

    # -- clients that are passed through ------------------------------------------------------

    def welcome(self, guest: Held) -> None:
        """Hold somebody who is passed through to what was granted."""
        self._guests[guest.client] = guest
        self.admitted += 1
        if guest.grant.expires:
            self.expiries.watch(guest.client, guest, guest.grant.expires + self.options.leeway_s)

    def gone(self, guest: Held) -> None:
        """Forget somebody who was passed through.  Idempotent."""
        self._guests.pop(guest.client, None)
        self.expiries.forget(guest.client)

    # -- sessions that are in -----------------------------------------------------------------

    async def renew(self, session: Session, token: str) -> None:
        """Give a session the grant of another token of the same user.

        Subscriptions that the old grant allowed and the new one does not are ended.  Raises CommandError; the
        session has what it had then.
        """
        grant = await self._judged_again(session, token)
        if grant.user != session.user or not session.grant.authenticated:
            raise CommandError("permission_denied", "the token is not of the user that this connection has")
        old, session.grant = session.grant, grant
        if session.connection.closed:
            return
        self._watch(session)
        if grant is not old:
            await self._apply(session, old)

    async def _apply(self, session: Session, old: Grant) -> None:
        """End the subscriptions that only the old grant allowed; make those that only the new one has."""
        new, by_token = session.grant, self.tickets.ends_of(session)
        for channel in session.channels:
            rule = self.node.options.namespace(channel).subscribe
            if channel.startswith("@") or channel in by_token or channel in new.channels:
                continue
            had = channel in old.channels or rule.allows(Client(session.user, old), channel)
            if had and not rule.allows(session, channel):
                await session.end_subscription(channel, "permission_revoked")
        await session.hear(new.channels)

    async def _judged_again(self, session: Session, token: str) -> Grant:
        try:
            grant = await self.judge(token, session.caller(), ConnectQuestion(path=""))
        except TokenRefusedError as problem:
            self.count(problem, session.connection.remote)
            raise CommandError("unauthorized", problem.told) from None
        except KeysUnavailableError:
            raise CommandError("unavailable", "the token cannot be verified now") from None
        if isinstance(grant, Refusal):
            raise CommandError(grant.code, grant.message)
        return grant

    async def channel_grant(self, session: Session, token: str, channel: str) -> ChannelGrant:
        """Return what a token for one channel grants.  Raises CommandError, also if it is for another one."""
        grant = await self._verified(session, token)
        if grant.channel != channel or grant.user != session.user:
            raise CommandError("permission_denied", "the token is for another channel or another user")
        return grant

    def hold(self, session: Session, channel: str, expires: int) -> None:
        """End a subscription with the token for its channel, in place of an earlier one."""
        self.tickets.hold(session, channel, expires, self.options.leeway_s)

    def has_ended(self, expires: int) -> bool:
        """Tell whether a token that ends then is over."""
        return expires + self.options.leeway_s <= self.node.wall_ms() / 1000

    async def _verified(self, session: Session, token: str) -> ChannelGrant:
        verifier = self.verifier
        try:
            try:
                return verifier.verify_channel(token)
            except TokenRefusedError as problem:
                if not verifier.needs_keys(problem):
                    raise
                return await verifier.verify_later(token, verifier.verify_channel)
        except TokenRefusedError as problem:
            self.count(problem, session.connection.remote)
            raise CommandError("unauthorized", problem.told) from None
        except KeysUnavailableError:
            raise CommandError("unavailable", "the token cannot be verified now") from None

    # -- revocation ---------------------------------------------------------------------------

    def revoke(self, entry: Revocation) -> int:
        """Refuse what an entry covers from now on; return how many connections of this node that closed.

        An entry comes by the log and by a control message, whichever is first: the answer is the same.
        """
        if not self.revocations.add(entry):
            return self._closed.get(entry, 0)
        hit = [session for session in self._may_be_hit(entry) if entry.covers(session.grant)]
        for session in hit:
            session.connection.close(closecodes.UNAUTHORIZED, "the token is revoked")
        while len(self._closed) >= _MOST_COUNTS:
            del self._closed[next(iter(self._closed))]
        self._closed[entry] = len(hit)
        return len(hit)

    def on_control(self, control: Control) -> int:
        """Carry out a control message that revokes."""
        return self.revoke(unpack(control.publication.data)) if control.publication is not None else 0

    def _may_be_hit(self, entry: Revocation) -> Iterable[Held]:
        if entry.kind is RevokedKind.USER:
            return [*self.node.users.get(entry.value, {}).values(), *self._guests.values()]
        return [*self.node.sessions.values(), *self._guests.values()]
