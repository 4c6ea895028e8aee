"""What every broker promises, and what it asks of the node that it serves.

A broker numbers publications, keeps their history, knows who is present, remembers the
sessions of lost connections, and carries control messages between nodes.  It knows
nothing of sockets, frames or codecs.  `memory.MemoryBroker` does it inside one process;
later brokers do it across machines, and pass the same suite (`tests/unit/broker/`).

Promises that hold for every broker:

* **One order.** All publications of a channel reach every node's relay in the order of
  their offsets; within an epoch offsets grow by exactly one.  A publisher's own node
  learns of its publications through the relay like every other.
* **Acknowledged means numbered.** When `publish` returns, the publication has its offset
  and is in the history (where the channel keeps one and the bound on bytes leaves room for it:
  a publication too large for the bound is delivered but not kept, and no read reaches back
  across it).  When it raises BrokerUnavailableError
  nothing happened; when it raises OutcomeUnknownError it may have, and repeating it
  with the same idempotency key is safe.
* **A new life has a new name.** Whenever offsets could be used twice or history was
  lost, the epoch changes.
* **Never partly.** A history page that cannot reach back to the position asked for says
  so (`complete` is false).
* **A version is a state.** All updates of a channel are carried out one after the other, each on the
  version that it names, so the patches up to a version, applied in order, give the state of that version.
"""

from __future__ import annotations

from collections.abc import Awaitable
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from ..message.publication import Member, Position, Proof, Publication


class ChannelOptions(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a namespace's configuration says to the broker about one of its channels.

    A history of 0 publications means none is kept; 0 for bytes means no bound on bytes.
    Bytes are those of the payloads and a constant per publication that each broker states.
    Times are in seconds; what has reached its time is gone: 0 seconds means not at all.
    With `max_state_bytes` the channel is a state channel, which has a state of at most so many bytes of JSON
    text; it is kept for `state_ttl_s` after its last use.
    With `presence_by_user` only the first client of a user is heard to join, and only the last to leave.
    """

    history_size: int = 0
    history_bytes: int = 1 << 20
    history_ttl_s: float = 300.0
    idempotency_ttl_s: float = 300.0
    presence: bool = False
    max_state_bytes: int = 0
    state_ttl_s: float = 0.0
    presence_by_user: bool = False


class PublishResult(NamedTuple):
    """Where a publication stands.  `duplicate`: its key was known, and nothing was published now."""

    epoch: str
    offset: int
    duplicate: bool = False


class Publisher(Protocol):
    """Whoever learns what became of a publication that was begun."""

    def settle(self, outcome: PublishResult | Exception) -> None:
        """Take the result, or what `Broker.publish` would have raised.  Called once; must not raise."""


async def tell(publishing: Awaitable[PublishResult], publisher: Publisher) -> None:
    """Wait for a `Broker.publish`, and tell a publisher what came of it."""
    outcome: PublishResult | Exception
    try:
        outcome = await publishing
    except Exception as problem:  # noqa: BLE001 - it is the outcome
        outcome = problem
    publisher.settle(outcome)


class HistoryPage(NamedTuple):
    """Publications in ascending order of offset, and the channel's newest position when they were read.

    `complete` is true when the page holds everything that was asked for: for a read from
    a position, every publication after it up to `top`.
    """

    publications: list[Publication]
    top: Position
    complete: bool


class State(NamedTuple):
    """What a state channel holds: JSON text, as the updates up to `version` made it.

    A version is the offset of the patch that made it.  Version 0 is what a life began with: `null`, or what
    an earlier life left.
    """

    epoch: str
    version: int
    data: bytes


class ControlKind(StrEnum):
    """What a control message asks of the connections it is aimed at."""

    SEND = "send"
    DISCONNECT = "disconnect"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    REVOKE = "revoke"
    CLOSE_BARE = "close_bare"


class Control(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A message to all connections of `user`, or to the one of `client`, whichever is not empty.

    A REVOKE is aimed at all whom the entry in its `publication` covers, a CLOSE_BARE at the clients that
    hear `channel` bare; its `publication` has the position, as id and offset, that they must have reached.
    `publication` is set for SEND; `channel` for SUBSCRIBE and UNSUBSCRIBE; `close_code` and
    `reason` for DISCONNECT and CLOSE_BARE.
    """

    kind: ControlKind
    user: str = ""
    client: str = ""
    channel: str = ""
    publication: Publication | None = None
    close_code: int = 0
    reason: str = ""


class PresenceChange(NamedTuple):
    """A member came (`joined`) or went."""

    joined: bool
    member: Member


class Relay(Protocol):
    """What a broker calls on its node.  None of these may raise, block or await."""

    def on_publications(self, channel: str, epoch: str, publications: list[Publication]) -> None:
        """Take new publications of a channel in which this node is interested, in order."""

    def on_position(self, channel: str, epoch: str, offset: int) -> None:
        """Learn that everything up to this position that did not come is lost; what follows will come.

        Only brokers that can lose messages on their way to the node ever say so.
        """

    def on_presence(self, channel: str, change: PresenceChange) -> None:
        """Take a change of presence in a channel in which this node is interested."""

    def on_control(self, control: Control) -> int:
        """Carry out a control message; return the number of this node's connections it reached."""


class Proving(Protocol):
    """A broker whose counts may go back to an older copy without a word, when no node sees it."""

    def mark(self, channel: str) -> str:
        """Return what helps to prove later that a position of a channel was one of the count as it is now."""

    async def knows(self, channel: str, options: ChannelOptions, at: Position, proof: Proof) -> bool:
        """Tell whether a position is one of the present count, by how a client knows it.

        False where the count went back and the position may be of the end that was lost, though the epoch
        is the same and the offset was reached again.
        """


class Broker(Protocol):
    """The interface of every broker.  All methods belong to one event loop.

    Every coroutine may raise BrokerUnavailableError.  Where a broker needs no input or output
    for an answer, its coroutine finishes without suspending, and its callers run on
    without a task.
    """

    @property
    def proving(self) -> Proving | None:
        """Tells of positions that clients name whether they were lost; None where no count can go back."""

    async def start(self, relay: Relay) -> None:
        """Connect; from now on `relay` is called.  Raises BrokerUnavailableError when it cannot."""

    async def stop(self) -> None:
        """Disconnect and forget the relay.  Idempotent."""

    async def publish(
        self, channel: str, publication: Publication, options: ChannelOptions, *, key: str = ""
    ) -> PublishResult:
        """Number `publication` (its `offset` is ignored), keep it, and give it to every interested node.

        With a `key` that was used on this channel within `options.idempotency_ttl_s`, nothing is
        published and the result is the first one's with `duplicate` set.  That does not prolong the time.
        A new key for which there is no room raises BrokerUnavailableError: none is forgotten early.
        """

    async def update(
        self,
        channel: str,
        publication: Publication,
        options: ChannelOptions,
        *,
        base: Position,
        key: str = "",
    ) -> PublishResult:
        """Apply the patch that `publication` carries to the channel's state, and publish it.

        It is applied to version `base.offset` only, of the epoch `base.epoch` if that is not empty, and
        makes the next one.  Raises StaleVersionError, with the current state, when another version is
        current, and CommandError `limit_exceeded` when the state would be larger than
        `options.max_state_bytes`; nothing happened then.  Numbering, history, delivery and `key` are as in
        `publish`; a known key is looked for first, so that an update of unknown outcome can be repeated.
        """

    async def state(self, channel: str, options: ChannelOptions) -> State:
        """Return the channel's current state.  This is a use: it is not forgotten for a while."""

    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None:
        """Do what `publish` does, without a coroutine: `publisher` is told what came of it.

        Perhaps before this returns.  What one caller begins in one channel keeps its order.
        """

    async def subscribe(self, channel: str, options: ChannelOptions) -> Position:
        """Become interested; return the newest position.

        Every publication after that position reaches the relay, and none at or before it.
        Subscribing again is allowed and only returns the position.
        """

    async def unsubscribe(self, channel: str) -> None:
        """Lose interest.  Publications may still arrive until this returns.  Idempotent."""

    async def history(
        self, channel: str, options: ChannelOptions, *, since: Position, limit: int
    ) -> HistoryPage:
        """Read what follows `since`, oldest first, at most `limit` publications.

        Not complete, and without publications, when the epoch is another one, when the
        history does not reach back to `since` without a gap, when `since` was never reached, or
        when more than `limit` follow.
        """

    async def history_before(
        self, channel: str, options: ChannelOptions, *, before: int, limit: int
    ) -> HistoryPage:
        """Read the `limit` newest publications whose offset is below `before` (0: the newest of all).

        Complete when nothing older is kept than what the page holds.
        """

    async def join(self, channel: str, member: Member, options: ChannelOptions) -> None:
        """Enter `member` (by its client id) in the channel; interested nodes hear of it once.

        With `options.presence_by_user` they hear of it unless another client of the same user is there.
        A member without a user always counts for itself.

        Joining again replaces what is known of the member and keeps its place; nobody hears of it.
        Does nothing where `options.presence` is off.
        """

    async def leave(self, channel: str, client: str, options: ChannelOptions) -> None:
        """Remove a member; interested nodes hear of it once if it was there.  Idempotent.

        Of members that joined with `presence_by_user` they hear when the user's last one goes.
        """

    async def presence(self, channel: str, options: ChannelOptions) -> list[Member]:
        """Return who is present, in the order in which they joined; nobody where presence is off."""

    async def control(self, control: Control) -> int:
        """Give a control message to every node; return the number of connections reached."""

    async def save_session(self, session: str, record: bytes, ttl_s: float, *, client: str = "") -> None:
        """Keep what a lost connection was, for `ttl_s` seconds, in place of an earlier record.

        `client` was its connection, if it is the saver's own; a broker that knows that the session was
        taken from that client before it was saved keeps nothing.
        """

    async def take_session(self, session: str) -> bytes | None:
        """Return and forget a kept session; None when there is none.  Only one caller gets it."""

    async def probe(self) -> float:
        """Send a probe through the broker and receive it back; return the round trip in seconds."""

    def stats(self) -> dict[str, int]:
        """Return gauges: `channels`, `publications`, `history_bytes`, `state_bytes`, `keys`, `members`,
        `sessions`.

        Only of what this process keeps: empty where all of it is another's to tell.
        """

    def sweep(self) -> bool:
        """Forget what has run out; called about once a second, and cheap.

        Returns True when there is more to do than fits one call: call again soon.
        """
