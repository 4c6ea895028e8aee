"""The memory broker: everything a broker promises, inside one process and for one node.

Knows nothing of sockets, frames, codecs or event loops: the clock (monotonic seconds) and
the source of random ids are passed in, and whoever owns the broker calls `sweep` about
once a second.

How it works: channels (log, interest, members) live in `channels`, idempotency keys in
`keys`, lost connections' records in `sessions`; this module joins them and calls the relay.

What always holds: no coroutine here ever suspends.  The relay is called before the method
that caused it returns, and sees one publication at a time: what the relay itself publishes
from inside `on_publications` is numbered at once and delivered after the one being delivered.
All state is settled before the relay is called, so an error in it, which is logged, cannot
leave anything half done.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from ..errors import BrokerError, BrokerUnavailableError, UsageError
from ..message.publication import Member, Position, Publication
from .channels import NOT_INTERESTED, Channel, Channels
from .interface import (
    ChannelOptions,
    Control,
    HistoryPage,
    PresenceChange,
    Publisher,
    PublishResult,
    Relay,
    State,
)
from .keys import IdempotencyKeys
from .members import Members
from .sessions import KeptSessions
from .state import next_state

DEFAULT_IDLE_S: Final = 60.0
DEFAULT_MAX_KEYS: Final = 1_000_000
DEFAULT_STATES_BYTES: Final = 256 << 20
SWEEP_LIMIT: Final = 2_000

_logger = logging.getLogger(__name__)


class MemoryBroker:
    """A `Broker` for a single process.

    `clock` returns monotonic seconds.  `random_id` returns a text that it never returned
    before; epochs are made of it.  A channel without interest, history, keys and members is
    forgotten `idle_s` seconds after its last use.  More than `max_keys` idempotency keys
    at a time are refused, not forgotten early; so are updates with which all states together would have more
    than `states_bytes`.
    """

    proving = None

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        random_id: Callable[[], str],
        idle_s: float = DEFAULT_IDLE_S,
        max_keys: int = DEFAULT_MAX_KEYS,
        states_bytes: int = DEFAULT_STATES_BYTES,
    ) -> None:
        self._clock = clock
        self._random_id = random_id
        self._relay: Relay | None = None
        self._channels = Channels(random_id=random_id, idle_s=idle_s)
        self._idle_s = idle_s
        self._states_bytes = states_bytes
        self._keys = IdempotencyKeys(max_keys)
        self._sessions = KeptSessions()
        self._members = 0
        self._waiting: deque[tuple[Channel, Publication]] = deque()
        self._delivering = False

    async def start(self, relay: Relay) -> None:
        """Take the relay.  Raises UsageError when the broker is running."""
        if self._relay is not None:
            raise UsageError("the broker is running already")
        self._relay = relay

    async def stop(self) -> None:
        """Forget the relay and everything else: after a new start every channel has a new epoch."""
        self._relay = None
        self._channels.clear()
        self._keys.clear()
        self._sessions.clear()
        self._waiting.clear()
        self._members = 0

    async def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, *, key: str = ""
    ) -> PublishResult:
        """See `Broker.publish`.  Raises what `publish_now` raises."""
        return self.publish_now(channel, publication, options, key)

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        """See `Broker.begin_publish`: the publisher is told at once."""
        outcome: PublishResult | Exception
        try:
            outcome = self.publish_now(channel, publication, options, key)
        except BrokerError as problem:
            outcome = problem
        publisher.settle(outcome)

    def publish_now(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str = ""
    ) -> PublishResult:
        """Publish; nothing needs to be waited for.

        Raises BrokerUnavailableError when the broker is not running, or when `key` is new and
        the bound on remembered keys is reached; nothing was published then.
        """
        self._running()
        now_s = self._clock()
        known = self._find_key(channel, key, options, now_s) if key else None
        if known is not None:
            return known
        return self._place(self._channels.use(channel, options, now_s), publication, options, key, now_s)

    async def update(
        self,
        channel: str,
        publication: Publication,
        options: ChannelOptions,
        *,
        base: Position,
        key: str = "",
    ) -> PublishResult:
        """See `Broker.update`.

        Raises BrokerUnavailableError also when there is no room for a larger state.
        """
        self._running()
        now_s = self._clock()
        known = self._find_key(channel, key, options, now_s) if key else None
        if known is not None:
            return known
        state = self._channels.use(channel, options, now_s)
        changed = next_state(State(state.epoch, state.top, state.state), base, publication.data, options)
        more = len(changed) - state.state_bytes
        if more > 0 and self._channels.totals.state_bytes + more > self._states_bytes:
            raise BrokerUnavailableError("the states of all channels are too large together")
        self._channels.change_state(state, changed)
        return self._place(state, publication, options, key, now_s)

    async def state(self, channel: str, options: ChannelOptions) -> State:
        """See `Broker.state`."""
        self._running()
        state = self._channels.use(channel, options, self._clock())
        return State(state.epoch, state.top, state.state)

    def _find_key(
        self, channel: str, key: str, options: ChannelOptions, now_s: float
    ) -> PublishResult | None:
        """Return what was done with a key already.  Raises BrokerUnavailableError when it is one too many."""
        known = self._keys.find(channel, key, now_s)
        if known is None and options.idempotency_ttl_s > 0 and not self._keys.has_room(now_s):
            raise BrokerUnavailableError("too many idempotency keys are being remembered")
        return known

    def _place(
        self, state: Channel, publication: Publication, options: ChannelOptions, key: str, now_s: float
    ) -> PublishResult:
        """Number a publication, keep it, remember its key, and deliver it."""
        numbered = _numbered(publication, state.top + 1)
        state.append(numbered, now_s, options)
        if len(state) > 0:
            self._channels.look_at(state, now_s + options.history_ttl_s)
        result = PublishResult(state.epoch, numbered.offset)
        if key and options.idempotency_ttl_s > 0:
            until_s = now_s + options.idempotency_ttl_s
            self._keys.remember(state.name, key, result, until_s)
            state.keys_until_s = max(state.keys_until_s, until_s)
        if state.interest_after != NOT_INTERESTED:
            self._waiting.append((state, numbered))
            if not self._delivering:
                self._deliver()
        return result

    async def subscribe(self, channel: str, options: ChannelOptions) -> Position:
        """See `Broker.subscribe`."""
        self._running()
        state = self._channels.use(channel, options, self._clock())
        if state.interest_after == NOT_INTERESTED:
            state.interest_after = state.top
        return Position(state.epoch, state.top)

    async def unsubscribe(self, channel: str) -> None:
        """See `Broker.unsubscribe`."""
        self._running()
        state = self._channels.find(channel)
        if state is not None and state.interest_after != NOT_INTERESTED:
            state.interest_after = NOT_INTERESTED
            self._idle_from_now(state)

    async def history(
        self, channel: str, options: ChannelOptions, *, since: Position, limit: int
    ) -> HistoryPage:
        """See `Broker.history`."""
        state = self._readable(channel, options)
        top = Position(state.epoch, state.top)
        missed = state.after(since.offset, limit) if since.epoch == state.epoch else None
        if missed is None:
            return HistoryPage([], top, complete=False)
        return HistoryPage(missed, top, complete=True)

    async def history_before(
        self, channel: str, options: ChannelOptions, *, before: int, limit: int
    ) -> HistoryPage:
        """See `Broker.history_before`."""
        state = self._readable(channel, options)
        page, complete = state.before(before, limit)
        return HistoryPage(page, Position(state.epoch, state.top), complete)

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        """See `Broker.join`."""
        self._running()
        if not options.presence:
            return
        state = self._channels.use(channel, options, self._clock())
        if state.members is None:
            state.members = Members()
        before = len(state.members)
        heard = state.members.enter(member, by_user=options.presence_by_user)
        self._members += len(state.members) - before
        if heard:
            self._announce(state, PresenceChange(joined=True, member=member))

    async def leave(self, channel: str, client: str, options: ChannelOptions) -> None:
        """See `Broker.leave`."""
        self._running()
        state = self._channels.find(channel)
        if state is None or state.members is None:
            return
        removed = state.members.remove(client)
        if removed is None:
            return
        self._members -= 1
        if not state.members:
            state.members = None
            self._idle_from_now(state)
        member, heard = removed
        if heard:
            self._announce(state, PresenceChange(joined=False, member=member))

    async def presence(self, channel: str, options: ChannelOptions) -> list[Member]:
        """See `Broker.presence`."""
        self._running()
        state = self._channels.find(channel)
        if state is None or state.members is None or not options.presence:
            return []
        return state.members.all()

    async def control(self, control: Control) -> int:
        """Give a control message to the one node there is; return its count."""
        relay = self._running()
        try:
            return relay.on_control(control)
        except Exception:
            _logger.exception("the relay failed on a control message")
            return 0

    async def save_session(self, session: str, record: bytes, ttl_s: float, *, client: str = "") -> None:
        """See `Broker.save_session`."""
        self._running()
        self._sessions.save(session, record, self._clock() + ttl_s)

    async def take_session(self, session: str) -> bytes | None:
        """See `Broker.take_session`."""
        self._running()
        return self._sessions.take(session, self._clock())

    async def probe(self) -> float:
        """Return the seconds between two readings of the clock, if the broker is running.

        There is no wire and no other process that could fail, so this is a trivial round
        trip that does not pass the relay: it can only say whether the broker was started.
        """
        begun_s = self._clock()
        self._running()
        return self._clock() - begun_s

    def stats(self) -> dict[str, int]:
        """See `Broker.stats`.  What has expired counts until it is swept or read past."""
        totals = self._channels.totals
        return {
            "channels": len(self._channels),
            "publications": totals.publications,
            "history_bytes": totals.history_bytes,
            "state_bytes": totals.state_bytes,
            "keys": len(self._keys),
            "members": self._members,
            "sessions": len(self._sessions),
        }

    def sweep(self, limit: int = SWEEP_LIMIT) -> bool:
        """Forget what has run out, looking at no more than `limit` channels, keys and sessions each.

        To be called about once a second.  Returns True when more is due than the limit
        allowed: call again soon, after other work had its turn.  Nothing but memory depends on it:
        what has expired is never handed out, swept or not.
        """
        now_s = self._clock()
        for part in (self._keys, self._sessions):
            part.purge(now_s, limit)
        self._channels.sweep(now_s, limit)
        return any(part.any_due(now_s) for part in (self._channels, self._keys, self._sessions))

    def _running(self) -> Relay:
        if self._relay is None:
            raise BrokerUnavailableError("the broker is not running")
        return self._relay

    def _readable(self, channel: str, options: ChannelOptions) -> Channel:
        self._running()
        now_s = self._clock()
        state = self._channels.use(channel, options, now_s)
        state.trim(now_s, options)
        return state

    def _idle_from_now(self, state: Channel) -> None:
        state.used_s = self._clock()
        self._channels.look_at(state, state.used_s + self._idle_s)

    def _deliver(self) -> None:
        self._delivering = True
        try:
            while self._waiting:
                state, publication = self._waiting.popleft()
                # Interest may have ended, or begun anew, while the publication was waiting.
                if self._relay is not None and publication.offset > state.interest_after:
                    self._relay_publication(self._relay, state, publication)
        finally:
            self._delivering = False

    def _relay_publication(self, relay: Relay, state: Channel, publication: Publication) -> None:
        try:
            relay.on_publications(state.name, state.epoch, [publication])
        except Exception:
            _logger.exception("the relay failed on a publication")

    def _announce(self, state: Channel, change: PresenceChange) -> None:
        if self._relay is None or state.interest_after == NOT_INTERESTED:
            return
        try:
            self._relay.on_presence(state.name, change)
        except Exception:
            _logger.exception("the relay failed on a change of presence")


def _numbered(publication: Publication, offset: int) -> Publication:
    return msgspec.structs.replace(publication, offset=offset)
