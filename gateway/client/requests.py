"""Commands that wait for their answers on the connection that there is.

It knows no socket: `post` takes an encoded command.  Answers are handed on at once and not through futures,
because what follows an answer (the messages behind a reply to `subscribe`) must find it already dealt with.
What always holds: each command is answered exactly once, by its reply, its error, or by `drop`; an id is
never used for two commands, also not over several connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..message.commands import Command
from .codecs import ClientCodec
from .errors import RinggateError
from .incoming import Error, Reply

Answer = Callable[[Reply | RinggateError], None]
"""What becomes of a command."""

_UNKNOWN: Final = frozenset({"timeout", "internal"})
"""After these the command may have been carried out."""


class Requests:
    """Numbers commands, sends them, and hands their answers on."""

    def __init__(self, codec: ClientCodec, post: Callable[[bytes], None]) -> None:
        self._codec = codec
        self._post = post
        self._waiting: dict[int, Answer] = {}
        self._last = 0

    def encode(self, command: Command) -> tuple[int, bytes]:
        """Return a command's id, which is its own on every connection, and the message."""
        self._last += 1
        return self._last, self._codec.encode(msgspec.structs.replace(command, id=self._last))

    def start(self, number: int, message: bytes, answer: Answer) -> None:
        """Send what `encode` gave."""
        self._waiting[number] = answer
        self._post(message)

    def send(self, command: Command, answer: Answer) -> None:
        """Encode and send; only while there is a connection."""
        self.start(*self.encode(command), answer)

    def settle(self, event: Reply | Error) -> None:
        """Hand an answer on; nobody may be waiting for it any more."""
        answer = self._waiting.pop(event.id, None)
        if answer is not None:
            answer(event if isinstance(event, Reply) else error_of(event))

    def forget(self, number: int) -> None:
        """Nobody waits for the answer to this command any more."""
        self._waiting.pop(number, None)

    def drop(self) -> None:
        """The connection ended: break off whatever waits."""
        broken = list(self._waiting.values())
        self._waiting.clear()
        for answer in broken:
            answer(RinggateError("disconnected", "the connection ended before the answer came", unknown=True))


def error_of(event: Error) -> RinggateError:
    """Return an `error` event as an exception."""
    error = RinggateError(event.code, event.message, retry=event.retry, unknown=event.code in _UNKNOWN)
    error.current = event
    return error
