"""The I/O of a client: sockets and the application's token callback, for the engine's connection.

It knows asyncio and links, nothing of channels.  What always holds: at most one link is used, and nothing is
told of one that was dropped; after `finish` no task and no socket is left.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from typing import TYPE_CHECKING

from ..closecodes import ABNORMAL
from .codecs import ClientCodec
from .credentials import TokenSource
from .dialing import Address, dial, request_for
from .link import Link
from .options import Options

if TYPE_CHECKING:
    from .connection import Connection


class Driver:
    """A `Port`, and the `Owner` of its links.  `connection` has to be set before anything is asked of it."""

    connection: Connection

    def __init__(
        self,
        address: Address,
        *,
        codec: ClientCodec,
        token: TokenSource | None,
        options: Options,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._address = address
        self._codec = codec
        self._token = token
        self._options = options
        self._tls = tls
        self._link: Link | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Future[None]] = set()

    # -- what the connection wants: see `Port` -----------------------------------------------------

    def ask_token(self) -> None:
        """Call the application; once, however often it is asked meanwhile."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    def open(self, token: str) -> None:
        """Connect."""
        link = self._link = Link(
            self,
            request_for(self._address, self._codec.subprotocol, token),
            opcode=self._codec.opcode,
            max_message_bytes=self._options.max_message_bytes,
            close_timeout_s=self._options.close_timeout,
        )
        self._dialing = asyncio.create_task(self._dial(link))

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

    async def finish(self) -> None:
        """Wait until every socket is closed, which does not take longer than `close_timeout`."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        if self._ending:
            await asyncio.wait(set(self._ending))

    # -- what it does ---------------------------------------------------------------------------------

    async def _ask(self) -> None:
        source = self._token
        try:
            token = source() if callable(source) else source
            if inspect.isawaitable(token):
                token = await token
        except Exception as error:  # noqa: BLE001 - whatever the application raises, there is no token now
            self._asking = None
            self.connection.token_failed(f"no token: {str(error) or type(error).__name__}")
        else:
            self._asking = None
            self.connection.token_came(token)

    async def _dial(self, link: Link) -> None:
        try:
            await dial(link, self._address, self._tls)
        except OSError as error:
            self.link_lost(link, ABNORMAL, _reason(error, self._address), 0.0)

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


def _reason(error: OSError, address: Address) -> str:
    """Return what to tell of a socket that could not be connected."""
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {address.host}:{address.port}"
    return error.strerror or str(error) or type(error).__name__
