"""Serves an ASGI application on listening sockets, in the running loop, with uvicorn's HTTP protocol.

uvicorn's own Server is not used: it takes over the process's signals, wakes ten times a second,
and changes global loggers; all it adds to its protocol is the accept loop, which is here.  What its
protocol lacks is added: bounds on heads and whole requests, deadlines for both, a bound on
connections.  No exception leaves a protocol callback.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ..errors import UsageError
from ..serving import serve_socket
from .results import ErrorAnswer, ErrorBody

_MOST_FRAMING: Final = 8
"""A chunk of one byte takes six: more than this many bytes for each byte of a body is no honest framing."""

_SLACK_BYTES: Final = 1 << 20
"""Room for the head, and for what was read together with it."""

_LAST_WORDS_S: Final = 0.05
"""How long the kernel gets to take the last answers before connections are aborted."""

_log = logging.getLogger("gateway.http.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Bounds of the internal port; sizes in bytes, times in seconds.

    `request_s` is for a whole request to arrive, counted from its connection or from the last answer
    where the connection is kept alive (then `keep_alive_s` for its first byte).
    """

    line_bytes: int = 8 << 10
    headers: int = 64
    head_bytes: int = 32 << 10
    request_s: float = 30.0
    keep_alive_s: int = 30
    connections: int = 1024
    backlog: int = 512
    stop_s: float = 5.0


class HttpServer:
    """An application on listening sockets, TCP or Unix.  `start` and `stop` belong to the running loop."""

    def __init__(self, app: ASGIApp, *socks: socket.socket, limits: ServerLimits | None = None) -> None:
        self._socks = socks
        self._limits = limits or ServerLimits()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._config = Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=self._limits.keep_alive_s,
        )

    async def start(self) -> None:
        """Accept connections from now on.  Raises UsageError when it was started before."""
        if self._config.loaded:
            raise UsageError("the HTTP server was started before")
        self._config.load()
        for sock in self._socks:
            self._servers.append(await serve_socket(self._protocol, sock, backlog=self._limits.backlog))

    def _protocol(self) -> BoundedProtocol:
        return BoundedProtocol(self._config, self._state, self._limits)

    async def stop(self) -> None:
        """Accept no more, finish the requests in hand within `stop_s`, close everything.  Idempotent."""
        servers, self._servers = self._servers, []
        if not servers:
            return
        for server in servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._limits.stop_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._state.connections:
            await asyncio.sleep(_LAST_WORDS_S)
        for connection in list(self._state.connections):
            connection.transport.abort()
        for server in servers:
            await server.wait_closed()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with bounds and deadlines, and refusals in our form."""

    def __init__(self, config: Config, state: ServerState, limits: ServerLimits) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self.logger = _log
        self.access_log = False
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._request_bytes = 0
        self._body_bytes = 0
        self._refusal = _BAD_REQUEST
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request, or refuse at once when there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(_TOO_MANY_CONNECTIONS)
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse `data`, and see that an unfinished head or request stays within its bound."""
        if self._refused or self.transport.is_closing():
            return
        self._arm()
        self._request_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._request_bytes > self._limits.head_bytes:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._request_bytes > _MOST_FRAMING * self._body_bytes + _SLACK_BYTES:
            self._refuse(_HEAD_TOO_LARGE)  # trailers or chunk extensions without end

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        super().on_url(url)
        self._bound(len(url), self.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, of which nobody here has a use."""
        self._bound(len(name) + len(value) + 4, name + value)
        if not self._in_head:
            return
        if len(self.headers) >= self._limits.headers:
            self._stop_parsing(_HEAD_TOO_LARGE)
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._refusal = _BAD_REQUEST
        self._arm()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; how much of it is kept is the application's to bound."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here: its deadline and its count of bytes end."""
        super().on_message_complete()
        self._in_head = True
        self._request_bytes = self._body_bytes = 0
        self._disarm()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, where no answer to an earlier request would be mistaken for it."""
        self._refuse(self._refusal)

    def _bound(self, count: int, line: bytes) -> None:
        self._head_bytes += count
        if len(line) > self._limits.line_bytes or self._head_bytes > self._limits.head_bytes:
            self._stop_parsing(_HEAD_TOO_LARGE)

    def _stop_parsing(self, refusal: bytes) -> None:
        """Leave the parser's callback; uvicorn then calls `send_400_response`."""
        self._refusal = refusal
        raise ValueError("bound exceeded")

    def _refuse(self, response: bytes) -> None:
        """Read no more; answer what was refused, or let the answers to earlier requests be the last."""
        self._refused = True
        if self._may_answer():
            self.transport.write(response)
        elif not self.cycle.more_body:
            self.cycle.keep_alive = False
            return
        self.transport.close()

    def _may_answer(self) -> bool:
        """Tell whether an answer written now is the one to what is being received now."""
        if getattr(self.cycle, "response_complete", True):  # there is no cycle before the first request
            return True
        return self.cycle.more_body and not self.cycle.response_started and not self.pipeline

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a request to upgrade is answered like any other, as RFC 9110 section 7.8 allows."""

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.request_s, self._give_up)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refuse(_TOO_SLOW)


def _canned(status: str, code: str, message: str) -> bytes:
    body = msgspec.json.encode(ErrorAnswer(ErrorBody(code, message)))
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_BAD_REQUEST: Final = _canned("400 Bad Request", "bad_request", "this is not a valid HTTP/1.1 request")
_TOO_SLOW: Final = _canned("408 Request Timeout", "timeout", "the request did not arrive in time")
_HEAD_TOO_LARGE: Final = _canned(
    "431 Request Header Fields Too Large", "limit_exceeded", "the head of the request is too large"
)
_TOO_MANY_CONNECTIONS: Final = _canned(
    "503 Service Unavailable", "unavailable", "too many connections to the internal port"
)
