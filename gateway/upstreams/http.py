"""Sends one HTTP request to one endpoint, and reads its answer within bounds.

The one place that knows the HTTP client, which is aiohttp's (decision 0020).  What always holds: nothing goes
anywhere but to the endpoint; no redirect is followed, no proxy of the environment used, no cookie kept;
an answer is read up to a bound, never decompressed; a connection on which something was left unread is
closed, not used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

import aiohttp

from ..errors import ServiceError, ServiceUnavailableError
from .options import UpstreamOptions
from .target import Endpoint

_CHUNK_BYTES: Final = 64 * 1024
_SET_COOKIE: Final = "set-cookie"


class Request(NamedTuple):
    """What is sent.  `path` begins with a slash and may have a query; header names are as they go out."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Response(NamedTuple):
    """What came back.  Names of headers are in lower case.

    Several with one name are one, joined by commas (RFC 9110 section 5.3); but cookies cannot be joined, and
    are in `set_cookies` alone, one for each `Set-Cookie`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    set_cookies: tuple[str, ...] = ()

    def lines(self, name: str) -> tuple[str, ...]:
        """Return the values with which a header, named in lower case, is to be said again."""
        if name == _SET_COOKIE:
            return self.set_cookies
        return (self.headers[name],) if name in self.headers else ()


class TooLargeError(ServiceError):
    """The answer is larger than what is read."""


class Transport(Protocol):
    """Whatever carries a request to an endpoint."""

    async def send(self, endpoint: Endpoint, request: Request) -> Response:
        """Send, and return the answer.

        Raises ServiceUnavailableError when no connection could be made, so that nothing was sent, and
        ServiceError when it broke later.
        """

    async def close(self) -> None:
        """Close every connection.  Idempotent."""


class HttpTransport:
    """Connections to the endpoints of one upstream, kept alive.  Made inside a running loop."""

    def __init__(self, options: UpstreamOptions) -> None:
        self._most_bytes = options.max_answer_bytes
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=options.idle_timeout_s)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout_s),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def send(self, endpoint: Endpoint, request: Request) -> Response:
        """See `Transport.send`."""
        address = endpoint.address
        ip = f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip
        try:
            async with self._session.request(
                request.method,
                f"{address.scheme}://{ip}:{address.port}{request.path}",
                data=request.body if request.method != "GET" else None,
                headers={
                    "Host": _host_header(endpoint),
                    "Accept-Encoding": "identity",
                    "User-Agent": "ringgate",
                    **request.headers,
                },
                allow_redirects=False,
                server_hostname=address.host if address.scheme == "https" else None,
            ) as answer:
                body = await self._read(answer)
                return _response(answer.status, answer.headers.items(), body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
            raise ServiceUnavailableError(f"{endpoint}: no connection: {problem}") from None
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            raise ServiceError(f"{endpoint}: {type(problem).__name__}: {problem}") from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        declared = answer.content_length
        if declared is not None and declared > self._most_bytes:
            answer.close()
            raise TooLargeError(f"an answer of {declared} bytes, more than {self._most_bytes}")
        chunks: list[bytes] = []
        read = 0
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            read += len(chunk)
            if read > self._most_bytes:
                answer.close()
                raise TooLargeError(f"an answer of more than {self._most_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def _response(status: int, fields: Iterable[tuple[str, str]], body: bytes) -> Response:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for shown, value in fields:
        name = shown.lower()
        if name == _SET_COOKIE:
            cookies.append(value)
        else:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Response(status, headers, body, tuple(cookies))


def _host_header(endpoint: Endpoint) -> str:
    address = endpoint.address
    host = f"[{address.host}]" if ":" in address.host else address.host
    usual = 443 if address.scheme == "https" else 80
    return host if address.port == usual else f"{host}:{address.port}"
