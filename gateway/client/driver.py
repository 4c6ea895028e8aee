"""The I/O of a client: sockets and the application's token callback, for the engine's connection.

It knows asyncio and links, nothing of channels.  What always holds: at most one link is used, and nothing is
told of one that was dropped; after `finish` no task and no socket is left.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..closecodes import ABNORMAL
from .codecs import ClientCodec
from .credentials import TokenSource
from .dialing import Address, dial, read_url, request_for
from .link import Link
from .options import Options

if TYPE_CHECKING:
    from .connection import Connection


class Driver:
    """A `Port`, and the `Owner` of its links.  `connection` has to be set before anything is asked of it."""

    connection: Connection

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        codec: ClientCodec,
        token: TokenSource | None,
        options: Options,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._url = url
        self._address = read_url(url) if isinstance(url, str) else None  # where it is always the same
        self._codec = codec
        self._token = token
        self._options = options
        self._tls = tls
        self._link: Link | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._fetching: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Future[None]] = set()

    # -- what the connection wants: see `Port` -----------------------------------------------------

    def ask_token(self) -> None:
        """Call the application; once, however often it is asked meanwhile."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    def open(self, token: str) -> None:
        """Connect."""
        try:
            address = self._address or read_url(str(self._url() if callable(self._url) else self._url))
        except Exception as error:  # noqa: BLE001 - whatever the application raises, there is no address now
            reason = f"no address: {str(error) or type(error).__name__}"
            asyncio.get_running_loop().call_soon(self.connection.lost, ABNORMAL, reason, 0.0)
            return
        link = self._link = Link(
            self,
            request_for(address, self._codec.subprotocol, token),
            opcode=self._codec.opcode,
            max_message_bytes=self._options.max_message_bytes,
            close_timeout_s=self._options.close_timeout,
        )
        self._dialing = asyncio.create_task(self._dial(link, address))

    def send(self, message: bytes) -> None:
        """Send."""
        if self._link is not None:
            self._link.send(message)

    def drop(self, code: int) -> None:
        """Close the socket, or end the attempt."""
        link, self._link = self._link, None
        if self._dialing is not None:
            self._dialing.cancel()
            self._dialing = None
        if link is not None:
            link.drop(code)
            if link.is_connected:
                self._ending.add(link.ended)
                link.ended.add_done_callback(self._ending.discard)

    def fetch(self, source: TokenSource, told: Callable[[str | Exception], None]) -> None:
        """Get a token for a channel; tell it, or why there is none, in a later turn of the loop."""
        task = asyncio.create_task(self._fetch(source, told))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def finish(self) -> None:
        """Wait until every socket is closed, which does not take longer than `close_timeout`."""
        for task in self._fetching:
            task.cancel()
        if self._fetching:
            await asyncio.wait(set(self._fetching))
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        if self._ending:
            await asyncio.wait(set(self._ending))

    # -- what it does ---------------------------------------------------------------------------------

    async def _ask(self) -> None:
        try:
            token = await _get(self._token)
        except Exception as error:  # noqa: BLE001 - whatever the application raises, there is no token now
            self._asking = None
            self.connection.token_failed(f"no token: {str(error) or type(error).__name__}")
        else:
            self._asking = None
            self.connection.token_came(token)

    async def _fetch(self, source: TokenSource, told: Callable[[str | Exception], None]) -> None:
        answer: str | Exception
        try:
            answer = await _get(source) or ""
        except Exception as error:  # noqa: BLE001 - the same
            answer = error
        told(answer)

    async def _dial(self, link: Link, address: Address) -> None:
        try:
            await dial(link, address, self._tls)
        except OSError as error:
            self.link_lost(link, ABNORMAL, _reason(error, address), 0.0)

    # -- what links tell: see `Owner` -------------------------------------------------------------------

    def link_heard(self, link: Link) -> None:
        """Something came."""
        if link is self._link:
            self.connection.heard()

    def link_message(self, link: Link, message: bytes) -> None:
        """A message came."""
        if link is self._link:
            self.connection.received(message)

    def link_lost(self, link: Link, code: int, reason: str, wait_s: float) -> None:
        """It is over."""
        if link is self._link:
            self.connection.lost(code, reason, wait_s)


async def _get(source: TokenSource | None) -> str | None:
    """Return a token; where it is a function of the application's, what that gives or raises."""
    token = source() if callable(source) else source
    return await token if inspect.isawaitable(token) else token


def _reason(error: OSError, address: Address) -> str:
    """Return what to tell of a socket that could not be connected."""
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {address.host}:{address.port}"
    return error.strerror or str(error) or type(error).__name__
