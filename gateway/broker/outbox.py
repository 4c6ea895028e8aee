"""What every outbox promises: notices are kept until they are delivered, and channels known to be occupied.

A notice is something that an app service is to hear of once at least: it is delivered again and again until
the service took it, always with the same id; those of one key (a channel, or a client) in order.  After a
while without success it is put among the dead letters, where it can be looked at and replayed.  An outbox
knows nothing of HTTP; `memory_outbox` keeps notices in the process, `redis/outbox` in Redis.

A process tells its outbox by `Told`, in order.  Who shares an outbox is an `owner`: one life of a process.
A channel is occupied as long as some owner has subscribers there, and a grace time longer; what an owner
that is gone had is taken back, and its clients are told to be gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import msgspec

_SPEAK_EVERY_S: Final = 10.0


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """What is to be delivered.

    `body` is JSON, `time_ms` when it happened, and `key` whose order it is in.
    """

    id: str
    kind: str
    key: str
    time_ms: int
    body: bytes

    def encode(self) -> bytes:
        """Return the notice as it is kept."""
        return msgspec.msgpack.encode(self)


class Did(StrEnum):
    """What a process tells its outbox."""

    NOTICE = "n"
    """Deliver the notice."""
    OCCUPY = "o"
    """Subscribers are here now in the channel `key`; the notice is for when that is news."""
    VACATE = "v"
    """No subscriber is here any more in the channel `key`."""
    ENTER = "c"
    """The client `key` is here; the notice is for its end."""
    EXIT = "d"
    """The client `key` is gone: deliver the notice."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened.  `notice` is empty for VACATE."""

    did: Did
    key: str
    notice: bytes = b""


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """A notice that was given up: when, after how many tries, and what was wrong at the last."""

    notice: Notice
    time_ms: int
    tries: int
    problem: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are meant: of these ids, this kind and this key; what is empty says nothing."""

    ids: frozenset[str] = frozenset()
    kind: str = ""
    key: str = ""

    def has(self, letter: DeadLetter) -> bool:
        """Tell whether a dead letter is meant."""
        notice = letter.notice
        return (
            (not self.ids or notice.id in self.ids)
            and (not self.kind or notice.kind == self.kind)
            and (not self.key or notice.key == self.key)
        )


EVERY_ONE: Final = Wanted()


class DeadPage(NamedTuple):
    """Dead letters, and what to ask for the ones behind them: "" where there are none."""

    letters: list[DeadLetter]
    next: str


class NotDeliveredError(Exception):
    """The service did not take a notice.  The text says why."""


class OutboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds.  `most` notices wait, `most_dead` dead letters are kept; what is more is dropped."""

    grace_s: float = 5.0
    give_up_s: float = 900.0
    first_wait_s: float = 0.5
    most_wait_s: float = 30.0
    at_once: int = 16
    most: int = 100_000
    most_dead: int = 10_000
    lease_s: float = 10.0


Deliver = Callable[[Notice], Awaitable[None]]
"""Have the service take a notice.  Raises NotDeliveredError."""


class NoticeMaker(Protocol):
    """Whoever makes notices that an outbox has of itself."""

    def about(self, kind: str, channel: str, since_ms: int = 0) -> Notice:
        """Return a notice about a channel: OCCUPIED or VACATED.  Since the same time it has the same id."""

    def lost(self, reason: str, count: int) -> Notice:
        """Return a notice that notices were lost: how many, 0 where nobody knows."""


class Losses:
    """Tells when it is time to speak of losses: of the first at once, of more every ten seconds."""

    def __init__(self) -> None:
        self._spoke_at = float("-inf")
        self._since = 0

    def add(self, count: int, now: float) -> int:
        """Take that so many were lost; return how many there are to speak of now."""
        self._since += count
        if not count or now - self._spoke_at < _SPEAK_EVERY_S:
            return 0
        self._spoke_at = now
        told, self._since = self._since, 0
        return told


OCCUPIED: Final = "channel_occupied"
VACATED: Final = "channel_vacated"


class Outbox(Protocol):
    """Where notices are kept.  All methods belong to one event loop."""

    def tell(self, told: Told) -> None:
        """Take what happened, without waiting; what there is no room for is dropped, counted and logged."""

    async def start(self) -> None:
        """Begin to deliver."""

    async def stop(self) -> None:
        """End; what can outlive the process stays where it is kept.  Idempotent."""

    async def dead_letters(self, wanted: Wanted, *, limit: int, after: str = "") -> DeadPage:
        """Return a page of dead letters, the oldest first; `after` is the `next` of the page before.

        Raises CommandError for an `after` that no page said, and BrokerError, as the next two do.
        """

    async def replay(self, wanted: Wanted) -> int:
        """Have dead letters delivered again, the oldest first; return how many."""

    async def drop(self, wanted: Wanted) -> int:
        """Forget dead letters; return how many."""

    def stats(self) -> dict[str, int]:
        """Return `waiting`, `dead` and `occupied`, and counters: `delivered`, `failed_tries`, `given_up`,
        `dropped`.

        Where several processes share an outbox each tells of its own part: added up they are the whole.
        """
