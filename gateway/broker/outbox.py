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
from typing import Protocol

import msgspec


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

MakeVacated = Callable[[str], Notice]
"""Return the notice that a channel is vacated."""


class Outbox(Protocol):
    """Where notices are kept.  All methods belong to one event loop."""

    def tell(self, told: Told) -> None:
        """Take what happened, without waiting; what there is no room for is dropped, counted and logged."""

    async def start(self) -> None:
        """Begin to deliver."""

    async def stop(self) -> None:
        """End; what can outlive the process stays where it is kept.  Idempotent."""

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Return dead letters, the oldest first.  Raises BrokerError, as the next two do."""

    async def replay(self, ids: list[str]) -> int:
        """Have dead letters delivered again (all where none is named); return how many."""

    async def drop(self, ids: list[str]) -> int:
        """Forget dead letters (all where none is named); return how many."""

    def stats(self) -> dict[str, int]:
        """Return `waiting`, `dead` and `occupied`, as far as this process knows, and counters: `delivered`,
        `failed_tries`, `given_up`, `dropped`.
        """
