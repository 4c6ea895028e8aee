"""The events of WebSocket over HTTP as bytes: what a request's body holds, and its answer's.

Pure.  An event is its name, and perhaps a space, the size of its content in hexadecimal, CRLF and the
content; CRLF ends it.  What always holds: `parse` returns events or raises MalformedEventsError, whatever
the bytes, in linear time; what it returned, serialised, means the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from .. import closecodes
from ..errors import GatewayError

CONTENT_TYPE: Final = "application/websocket-events"
MOST_EVENTS: Final = 4096
MOST_CONTROL_BYTES: Final = 125  # of a control frame's payload: RFC 6455 section 5.5
_LINE = re.compile(rb"([A-Z]{4,10})(?: ([0-9A-Fa-f]{1,8}))?\r\n")


class MalformedEventsError(GatewayError):
    """Bytes that are no events.  The text is for the log, and quotes nothing of them."""


class Kind(StrEnum):
    """What events there are."""

    OPEN = "OPEN"
    TEXT = "TEXT"
    BINARY = "BINARY"
    PING = "PING"
    PONG = "PONG"
    CLOSE = "CLOSE"
    DISCONNECT = "DISCONNECT"


_KINDS: Final = {kind.value.encode(): kind for kind in Kind}
_CONTROL: Final = frozenset((Kind.PING, Kind.PONG, Kind.CLOSE))
_EMPTY: Final = frozenset((Kind.OPEN, Kind.DISCONNECT))


class Event(NamedTuple):
    """One event.  The content of OPEN and DISCONNECT means nothing, and is not kept."""

    kind: Kind
    content: bytes = b""


OPEN: Final = Event(Kind.OPEN)
DISCONNECT: Final = Event(Kind.DISCONNECT)


def serialise(events: Iterable[Event]) -> bytes:
    """Return events as a body."""
    parts: list[bytes] = []
    for kind, content in events:
        name = kind.value.encode()
        if content or kind is Kind.TEXT or kind is Kind.BINARY:
            parts.append(b"%s %X\r\n%s\r\n" % (name, len(content), content))
        else:
            parts.append(name + b"\r\n")
    return b"".join(parts)


def parse(body: bytes, most: int = MOST_EVENTS) -> list[Event]:
    """Return the events of a body, at most `most`.  Raises MalformedEventsError."""
    events: list[Event] = []
    at = 0
    while at < len(body):
        line = _LINE.match(body, at)
        if line is None:
            raise MalformedEventsError(f"at byte {at}: no event's name and size")
        kind = _KINDS.get(line[1])
        if kind is None:
            raise MalformedEventsError(f"at byte {at}: an event that is not known")
        if len(events) >= most:
            raise MalformedEventsError(f"more than {most} events")
        at, content = line.end(), b""
        if line[2] is not None:
            end = at + int(line[2], 16)
            if body[end : end + 2] != b"\r\n":
                raise MalformedEventsError(f"at byte {at}: the content has not the size that it says")
            at, content = end + 2, body[at:end]
        events.append(_checked(kind, content))
    return events


def _checked(kind: Kind, content: bytes) -> Event:
    if kind in _EMPTY:
        return Event(kind)
    if kind in _CONTROL and len(content) > MOST_CONTROL_BYTES:
        raise MalformedEventsError(f"a {kind.value} of more than {MOST_CONTROL_BYTES} bytes")
    try:
        if kind is Kind.TEXT:
            content.decode()
        elif kind is Kind.CLOSE and len(content) > 2:
            content[2:].decode()
    except UnicodeDecodeError:
        raise MalformedEventsError(f"a {kind.value} that is not UTF-8") from None
    if kind is Kind.CLOSE and content and not _is_code(content[:2]):
        raise MalformedEventsError("a CLOSE with a code that nobody may send")
    return Event(kind, content)


def _is_code(code: bytes) -> bool:
    return len(code) == 2 and closecodes.may_receive(int.from_bytes(code))


def close_event(code: int, reason: bytes = b"") -> Event:
    """Return the CLOSE of a close frame; 1005 is one without a code."""
    if code == closecodes.NO_STATUS:
        return Event(Kind.CLOSE)
    return Event(Kind.CLOSE, code.to_bytes(2) + reason[: MOST_CONTROL_BYTES - 2])


def content_bytes(events: Iterable[Event]) -> int:
    """Return how much content events have, without their names and sizes."""
    return sum(len(event.content) for event in events)


def not_taken(events: Sequence[Event], taken_bytes: int) -> list[Event]:
    """Return what is left of events when so many bytes of content were taken: the first may be a rest."""
    for number, event in enumerate(events):
        if len(event.content) > taken_bytes:
            return [event._replace(content=event.content[taken_bytes:]), *events[number + 1 :]]
        taken_bytes -= len(event.content)
    return []


def code_and_reason(close: Event) -> tuple[int, str]:
    """Return what a CLOSE says; 1000 where it says nothing."""
    if not close.content:
        return closecodes.NORMAL, ""
    return int.from_bytes(close.content[:2]), close.content[2:].decode()
