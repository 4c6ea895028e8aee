"""What a service answers, understood whole or not at all.

Pure.  What always holds: of an answer that is not understood nothing is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..errors import GatewayError
from ..upstreams.http import Response
from .control import DEFAULT_MESSAGE_PREFIX
from .events import CONTENT_TYPE, Event, Kind, MalformedEventsError, parse

_OK: Final = 200
_SET_META: Final = "set-meta-"
_MOST_META: Final = 64
_MOST_META_BYTES: Final = 8192
_LEAST_KEEP_ALIVE_S: Final = 1.0
_MOST_KEEP_ALIVE_S: Final = 86_400.0
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_PREFIX = re.compile(r'\s*message-prefix\s*=\s*(?:"([^"\\]{0,64})"|([!#$%&\'*+.^_`|~0-9A-Za-z:-]{0,64}))\s*')


class NonsenseError(GatewayError):
    """An answer that is none.  The text is for the log."""


class Reply(NamedTuple):
    """What an answer says.

    `keep_alive_s`: None where nothing is said of it, 0 for none.  `meta`: what to remember, by lower-case
    name; "" to forget it.  `taken_bytes`: how much of the content that was sent it has taken; None for all.
    """

    events: list[Event]
    keep_alive_s: float | None
    meta: Mapping[str, str]
    taken_bytes: int | None = None


class Opened(NamedTuple):
    """What the answer to OPEN says beside its reply.

    `prefix`: what messages to the client begin with, where control messages are among them; None where
    every message is the client's.
    """

    reply: Reply
    prefix: bytes | None
    subprotocol: str


def read_reply(answer: Response) -> Reply:
    """Return what an answer says.  Raises NonsenseError."""
    if answer.status != _OK:
        raise NonsenseError(f"status {answer.status}")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != CONTENT_TYPE:
        raise NonsenseError(f"the content type is {kind[:100]!r}, not {CONTENT_TYPE}")
    try:
        events = parse(answer.body)
    except MalformedEventsError as problem:
        raise NonsenseError(str(problem)) from None
    return Reply(events, _keep_alive(answer.headers), _meta(answer.headers), _taken_bytes(answer.headers))


def read_opened(reply: Reply, headers: Mapping[str, str], offered: frozenset[str]) -> Opened:
    """Return what the answer to OPEN says; `offered` are the client's subprotocols.  Raises NonsenseError."""
    if not reply.events or reply.events[0].kind is not Kind.OPEN:
        raise NonsenseError("the answer to OPEN does not begin with OPEN")
    subprotocol = headers.get("sec-websocket-protocol", "").strip()
    if subprotocol and subprotocol not in offered:
        raise NonsenseError("a subprotocol that was not offered")
    prefix = _message_prefix(headers.get("sec-websocket-extensions", ""))
    return Opened(reply._replace(events=reply.events[1:]), prefix, subprotocol)


def check_later(reply: Reply) -> None:
    """Refuse another OPEN.  Raises NonsenseError."""
    if any(event.kind is Kind.OPEN for event in reply.events):
        raise NonsenseError("OPEN for a connection that is open")


def _keep_alive(headers: Mapping[str, str]) -> float | None:
    said = headers.get("keep-alive-interval")
    if said is None:
        return None
    if not _NUMBER.fullmatch(said.strip()):
        raise NonsenseError("Keep-Alive-Interval is no number of seconds")
    seconds = float(said)
    return min(max(seconds, _LEAST_KEEP_ALIVE_S), _MOST_KEEP_ALIVE_S) if seconds > 0 else 0.0


def _taken_bytes(headers: Mapping[str, str]) -> int | None:
    said = headers.get("content-bytes-accepted", "").strip()
    if not said:
        return None
    if not said.isdecimal() or not _NUMBER.fullmatch(said):
        raise NonsenseError("Content-Bytes-Accepted is no number of bytes")
    return int(said)


def _meta(headers: Mapping[str, str]) -> Mapping[str, str]:
    meta = {
        name.removeprefix(_SET_META): value.strip()
        for name, value in headers.items()
        if name.startswith(_SET_META)
    }
    if not all(_TOKEN.fullmatch(name) and value.isprintable() for name, value in meta.items()):
        raise NonsenseError("a Set-Meta that no header can repeat")
    return meta


def remember(meta: Mapping[str, str], news: Mapping[str, str]) -> dict[str, str]:
    """Return what is remembered from now on.  Raises NonsenseError for more than there is room for."""
    merged = {name: value for name, value in {**meta, **news}.items() if value}
    if (
        len(merged) > _MOST_META
        or sum(len(n) + len(v.encode()) for n, v in merged.items()) > _MOST_META_BYTES
    ):
        raise NonsenseError(f"more than {_MOST_META} or {_MOST_META_BYTES} bytes of Set-Meta")
    return merged


def _message_prefix(extensions: str) -> bytes | None:
    """Return the prefix that the extension `grip` names, or the usual one; None where it is not there."""
    for offer in extensions.split(","):
        name, *parameters = offer.split(";")
        if name.strip().lower() != "grip":
            continue
        for parameter in parameters:
            found = _PREFIX.fullmatch(parameter)
            if found is None and parameter.strip().startswith("message-prefix"):
                raise NonsenseError("a message-prefix that is not understood")
            if found is not None:
                return (found[1] if found[1] is not None else found[2]).encode()
        return DEFAULT_MESSAGE_PREFIX
    return None
