"""One connection's requests to its service: headers that stay the same, what is remembered, trying again.

It knows a `Backend` to ask, and no sockets.  How it works: each call of `send` is one POST; what the service
wants to be reminded of (`Set-Meta-*`) goes along with the next.  What always holds: a request is sent again
only when it was not sent at all; nothing of a client's handshake can pass for what the gateway says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol

from ..connection.request import Request
from ..errors import ServiceUnavailableError
from ..passthrough.upgrade import may_pass
from ..upstreams.http import Request as HttpRequest
from ..upstreams.http import Response
from ..upstreams.upstream import Asked
from .events import CONTENT_TYPE, OPEN, Event, serialise
from .replies import NonsenseError, Opened, Reply, check_later, read_opened, read_reply, remember

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
# Of one message alone, or the gateway's to say; a name that begins so, too.
_DROPPED: Final = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"connection-id",
        b"content-bytes-replayed",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"trailer",
    )
)
_DROPPED_PREFIXES: Final = (b"meta-", b"grip-")


class Backend(Protocol):
    """Where a service is (see `upstreams.upstream.Upstream`)."""

    def ask(self, asked: Asked) -> Coroutine[Any, Any, Response]:
        """Send a request.  Raises ServiceUnavailableError when nothing was sent, else ServiceError."""


class Facts(NamedTuple):
    """What the gateway knows of a client and tells the service.  `target`: path and query."""

    connection: str
    address: str
    scheme: str
    target: str
    user: str
    key: str


def offered(request: Request) -> frozenset[str]:
    """Return the subprotocols that a client offers."""
    values = b",".join(request.values(b"sec-websocket-protocol")).decode("ascii", "replace")
    return frozenset(name.strip() for name in values.split(",")) - {""}


def headers_of(request: Request, facts: Facts) -> dict[str, str]:
    """Return what every request of a connection has: the client's handshake, and what is known of it."""
    listed = {name.strip().lower() for value in request.values(b"connection") for name in value.split(b",")}
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name in listed or name in _DROPPED or name.startswith(_DROPPED_PREFIXES) or not may_pass(name):
            continue
        shown, text = name.decode().title(), _text(value)
        joint = "; " if name == b"cookie" else ", "  # RFC 9110 section 5.3, RFC 6265 section 5.4
        headers[shown] = f"{headers[shown]}{joint}{text}" if shown in headers else text
    host = _text(request.fields[b"host"])
    headers |= {
        "Host": host,
        "Accept": CONTENT_TYPE,
        "Content-Type": CONTENT_TYPE,
        "Connection-Id": facts.connection,
        "Sec-WebSocket-Extensions": "grip",
        "X-Forwarded-For": facts.address,
        "X-Forwarded-Proto": facts.scheme,
        "X-Forwarded-Host": host,
    }
    protocols = b", ".join(request.values(b"sec-websocket-protocol"))
    if protocols:
        headers["Sec-WebSocket-Protocol"] = _text(protocols)
    if facts.user:
        headers["X-Ringgate-User"] = facts.user
    return headers


def _text(value: bytes) -> str:
    """Return a header's value as the HTTP client takes it, which writes UTF-8."""
    text = value.decode("utf-8", "replace")
    return "".join(char for char in text if char.isprintable() or char == "\t")


class Exchange:
    """The requests of one connection, one at a time."""

    def __init__(
        self,
        backend: Backend,
        facts: Facts,
        headers: Mapping[str, str],
        *,
        signature: Callable[[], str],
        random: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._facts = facts
        self._headers = headers
        self._signature = signature
        self._random = random
        self._meta: dict[str, str] = {}
        self.requests = 0

    async def open(self, subprotocols: frozenset[str]) -> tuple[Response, Opened | None]:
        """Ask whether a client may come in; the second is None where the service said no, by its status.

        Raises ServiceError, and NonsenseError.
        """
        answer, reply = await self._ask((OPEN,), opening=True)
        if reply is None:
            return answer, None
        opened = read_opened(reply, answer.headers, subprotocols)
        self._meta = remember(self._meta, reply.meta)
        return answer, opened

    async def send(self, events: Sequence[Event], patience_s: float, *, again_bytes: int = 0) -> Reply:
        """Tell the service what happened; where none can be reached try again for `patience_s`.

        `again_bytes` of the content it was told before, and did not take.
        Raises ServiceError and NonsenseError.
        """
        loop = asyncio.get_running_loop()
        ends, pause = loop.time() + patience_s, _FIRST_PAUSE_S
        while True:
            try:
                answer, reply = await self._ask(events, again_bytes=again_bytes)
                break
            except ServiceUnavailableError:
                left = ends - loop.time()
                if left <= 0:
                    raise
                await asyncio.sleep(min(left, pause * (0.5 + self._random())))
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        if reply is None:
            raise NonsenseError(f"status {answer.status}")
        check_later(reply)
        self._meta = remember(self._meta, reply.meta)
        return reply

    async def _ask(
        self, events: Iterable[Event], *, opening: bool = False, again_bytes: int = 0
    ) -> tuple[Response, Reply | None]:
        """Post events; the reply is None where the status is not 200."""
        found: list[Reply | NonsenseError] = []

        def is_good(answer: Response) -> bool:
            """Read the answer once, where the upstream can learn of it."""
            if answer.status != HTTPStatus.OK:
                return opening and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
            try:
                found.append(read_reply(answer))
            except NonsenseError as problem:
                found.append(problem)
            return isinstance(found[-1], Reply)

        self.requests += 1
        meta = {f"Meta-{name.title()}": value for name, value in self._meta.items()}
        headers = {**self._headers, **meta}
        signature = self._signature()
        if signature:
            headers["Grip-Sig"] = signature
        if again_bytes:
            headers["Content-Bytes-Replayed"] = str(again_bytes)
        facts = self._facts
        request = HttpRequest("POST", facts.target, headers, serialise(events))
        answer = await self._backend.ask(Asked(request, key=facts.key, is_good=is_good))
        if answer.status != HTTPStatus.OK or not found:
            return answer, None
        if isinstance(found[-1], NonsenseError):
            raise found[-1]
        return answer, found[-1]
