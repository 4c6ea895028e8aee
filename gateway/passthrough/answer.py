"""The head of an upstream's answer to a handshake: cut out of the bytes received, and taken apart.

Pure; it knows HTTP/1.1 (RFC 9112 sections 2, 4 and 5) and nothing of WebSocket.  It is stricter than a
client may be: lines end with CRLF and are not folded, and nothing but visible characters, spaces and tabs is
in them.  Only heads are read here: what follows a 101 is no HTTP any more, and after another answer the
connection is closed.  What always holds: what it finds depends on the bytes alone, not on how they were cut.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..connection.request import TEXT_BYTES, TOKEN_BYTES

MOST_BYTES: Final = 16 * 1024
_VERSION: Final = b"HTTP/1.1 "
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9])(?: [^\r\n]*)?")
_LINE_FEED_ALONE: Final = re.compile(rb"(?<!\r)\n")
_SWITCHING: Final = 101


class BadAnswerError(ValueError):
    """The bytes are no answer, or one that could be read in two ways."""


class AnswerHead(NamedTuple):
    """A head that is no interim one: its status, its fields in order (names in lower case), its length."""

    status: int
    fields: list[tuple[bytes, bytes]]
    consumed: int


class AnswerReader:
    """Reads one answer, of at most MOST_BYTES with all that comes before it."""

    __slots__ = ("_received", "_start")

    def __init__(self) -> None:
        self._received = b""
        self._start = 0

    def receive(self, data: bytes) -> tuple[AnswerHead, bytes] | None:
        """Take bytes; return the head and what came behind it, or None until it is whole.

        Raises BadAnswerError.  Interim answers (1xx, but 101) are passed over (RFC 9110 section 15.2).
        """
        seen = max(self._start, len(self._received) - 3)
        received = self._received = self._received + data if self._received else data
        while True:
            end = received.find(b"\r\n\r\n", seen, MOST_BYTES)
            if end < 0:
                self._check_beginning(seen)
                return None
            head = _take_apart(received[self._start : end])
            if head.status == _SWITCHING or head.status >= 200:
                return head, received[end + 4 :]
            self._start = seen = end + 4

    def _check_beginning(self, seen: int) -> None:
        received, start = self._received, self._start
        if not received.startswith(_VERSION[: len(received) - start], start):
            raise BadAnswerError("it is not HTTP/1.1")
        if len(received) >= MOST_BYTES:
            raise BadAnswerError("its head is too large")
        if _LINE_FEED_ALONE.search(received, seen):
            raise BadAnswerError("a line does not end with CRLF")


def _take_apart(head: bytes) -> AnswerHead:
    lines = head.split(b"\r\n")
    # What is left without all text are the line ends: as many pairs as there are lines, so no CR or LF alone.
    if head.translate(None, TEXT_BYTES) != b"\r\n" * (len(lines) - 1):
        raise BadAnswerError("it has control characters")
    status = _STATUS_LINE.fullmatch(lines[0])
    if status is None:
        raise BadAnswerError("it is not HTTP/1.1")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, TOKEN_BYTES):
            raise BadAnswerError("a header line is malformed")
        fields.append((name.lower(), value.strip(b" \t")))
    return AnswerHead(int(status[1]), fields, len(head) + 4)
