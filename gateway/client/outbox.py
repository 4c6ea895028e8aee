"""The queue of outgoing commands: kept while there is no connection, sent once there is one.

A command is encoded when it is put in, so later changes to its data change nothing.  What always holds: at
most `limit` commands are in it; each is settled exactly once, by its answer, its time to live, or the end
of the client; commands of one channel go out in the order in which they were put in; what may have been
carried out already is repeated only if that is harmless (`repeat`), and not for longer than REPEAT_S.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..closecodes import MESSAGE_TOO_BIG
from ..message.commands import Command
from .backoff import delay_s
from .errors import RinggateError
from .incoming import Reply
from .requests import Answer, Requests
from .timers import Timer, Timers

REPEAT_S: Final = 240.0
"""As long as the gateway surely knows an idempotency key (5 minutes by default), less a margin."""

_WINDOW: Final = 256  # commands on their way; a gateway reads no more while 1000 wait
_RETRY_S: Final = (0.5, 10.0)


class Terms(msgspec.Struct, frozen=True):
    """How long a command is kept, in seconds.

    `ttl_s`: it is given up after that time in any case.  `repeat`: it may be carried out twice without
    harm, since it has a key, or only reads.  `persist`: an error that may be none later is waited for, and
    not told.
    """

    ttl_s: float
    repeat: bool = False
    persist: bool = False


class Entry:
    """One command in the queue."""

    __slots__ = ("answer", "attempts", "channel", "expiry", "held", "message", "number", "sent_at", "terms")

    def __init__(self, number: int, message: bytes, channel: str, terms: Terms, answer: Answer) -> None:
        self.number = number
        self.message = message
        self.channel = channel
        self.terms = terms
        self.answer = answer
        self.sent_at: float | None = None  # when it was first sent
        self.attempts = 0
        self.expiry: Timer | None = None
        self.held: Timer | None = None  # until its next attempt, after an error that invites one


class Outbox:
    """See the module."""

    def __init__(self, requests: Requests, timers: Timers, random: Callable[[], float], limit: int) -> None:
        self._requests = requests
        self._timers = timers
        self._random = random
        self._limit = limit
        self._waiting: dict[int, Entry] = {}  # in the order of their numbers, which is that of their coming
        self._flying: dict[int, Entry] = {}
        self._open = False

    def __len__(self) -> int:
        """Commands that are not settled, those on their way included."""
        return len(self._waiting) + len(self._flying)

    def add(self, command: Command, channel: str, terms: Terms, answer: Answer) -> Entry:
        """Put a command in; `answer` is called once, later.  Raises RinggateError `queue_full`."""
        if len(self) >= self._limit:
            raise RinggateError("queue_full", f"{self._limit} commands wait already")
        entry = Entry(*self._requests.encode(command), channel, terms, answer)
        entry.expiry = self._timers.call_later(
            terms.ttl_s, self._give_up, entry, "expired", "its time to live is over"
        )
        self._waiting[entry.number] = entry
        self._flush()
        return entry

    def cancel(self, entry: Entry) -> None:
        """The application does not wait for it any more; what was not sent is not sent.  Idempotent."""
        self._remove(entry)
        self._flush()

    def open(self) -> None:
        """There is a connection: send what waits, in order."""
        self._open = True
        self._flush()

    def shut(self, code: int) -> None:
        """The connection ended, with this close code."""
        self._open = False
        flying, self._flying = list(self._flying.values()), {}
        for entry in self._waiting.values():
            self._release(entry)
        self._waiting = {e.number: e for e in sorted([*flying, *self._waiting.values()], key=_number)}
        if code == MESSAGE_TOO_BIG and flying:
            biggest = max(flying, key=lambda entry: len(entry.message))
            self._settle(
                biggest,
                RinggateError("limit_exceeded", "the message is too big for the gateway", retry=False),
            )
        for entry in flying:
            self._requests.forget(entry.number)
            if not entry.terms.repeat:
                self._settle(
                    entry,
                    RinggateError(
                        "disconnected", "the connection ended before the answer came", unknown=True
                    ),
                )

    def clear(self) -> None:
        """The client is closed: break off everything."""
        for entry in [*self._flying.values(), *self._waiting.values()]:
            self._give_up(entry, "closed", "the client was closed")

    # -- sending ----------------------------------------------------------------------------

    def _flush(self) -> None:
        if not self._open or not self._waiting:
            return
        held = {entry.channel for entry in self._waiting.values() if entry.held is not None}
        for entry in list(self._waiting.values()):
            if len(self._flying) >= _WINDOW or not self._open:
                return
            if entry.number in self._waiting and not (entry.channel and entry.channel in held):
                self._send(entry)

    def _send(self, entry: Entry) -> None:
        now = self._timers.time()
        if entry.sent_at is not None and now - entry.sent_at > REPEAT_S:
            self._give_up(entry, "expired", "nobody can tell any more whether it was carried out")
            return
        del self._waiting[entry.number]
        self._flying[entry.number] = entry
        if entry.sent_at is None:
            entry.sent_at = now
        self._requests.start(entry.number, entry.message, lambda answer: self._answered(entry, answer))

    def _answered(self, entry: Entry, answer: Reply | RinggateError) -> None:
        if entry.number not in self._flying:
            return
        if isinstance(answer, RinggateError):
            if answer.code == "disconnected":
                return  # `shut` says what becomes of it
            if answer.retry and entry.terms.persist:
                self._hold(entry)
                return
        self._settle(entry, answer)
        self._flush()

    def _hold(self, entry: Entry) -> None:
        """Try it again later; what follows it in its channel waits for it."""
        del self._flying[entry.number]
        self._waiting = {e.number: e for e in sorted([entry, *self._waiting.values()], key=_number)}
        wait_s = delay_s(entry.attempts, *_RETRY_S, self._random)
        entry.attempts += 1
        entry.held = self._timers.call_later(wait_s, self._retry, entry)

    def _retry(self, entry: Entry) -> None:
        self._release(entry)
        self._flush()

    # -- the end of a command -----------------------------------------------------------------

    def _give_up(self, entry: Entry, code: str, message: str) -> None:
        self._settle(entry, RinggateError(code, message, unknown=entry.sent_at is not None))
        self._flush()

    def _settle(self, entry: Entry, answer: Reply | RinggateError) -> None:
        if self._remove(entry):
            entry.answer(answer)

    def _remove(self, entry: Entry) -> bool:
        """Take it out; tell whether it was in."""
        was_in = entry.number in self._flying or entry.number in self._waiting
        self._flying.pop(entry.number, None)
        self._waiting.pop(entry.number, None)
        self._requests.forget(entry.number)
        self._release(entry)
        if entry.expiry is not None:
            entry.expiry.cancel()
        return was_in

    @staticmethod
    def _release(entry: Entry) -> None:
        if entry.held is not None:
            entry.held.cancel()
            entry.held = None


def _number(entry: Entry) -> int:
    return entry.number
