"""Listening sockets of the edge where trusted proxies begin connections with a PROXY header.

It joins `connection.preamble`, which reads the header, with the edge's own sockets, or with the loop's TLS,
which begins behind it.  What always holds: a connection's client is known to the edge's admission
before the connection arrives.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final

from .connection._edge import Edge
from .connection._sockets import Listener
from .connection.addresses import TrustedNetworks
from .connection.admission import Admission
from .connection.preamble import Preambles
from .connection.proxy_protocol import Source

REFUSED_AT_A_TIME: Final = 64  # as the edge's: connections without room that may wait to be told


class ProxiedListener:
    """Lets connections in at a listening socket, which becomes its own; with TLS where `tls` is not None.

    `admission` is the edge's.  Times in seconds.
    """

    def __init__(
        self,
        edge: Edge,
        sock: socket.socket,
        *,
        admission: Admission,
        trusted: TrustedNetworks,
        tls: ssl.SSLContext | None,
        tls_shutdown_s: float,
    ) -> None:
        self._edge = edge
        self._admission = admission
        self._loop: asyncio.AbstractEventLoop = edge.loop
        self._tls = tls
        self._tls_shutdown_s = tls_shutdown_s
        self._beginning: set[asyncio.Task[None]] = set()
        self._preambles = Preambles(
            loop=self._loop,
            trusted=trusted,
            timeout_s=edge.options.handshake_timeout,
            room=lambda: edge.options.max_connections + REFUSED_AT_A_TIME - len(edge.connections),
            hand_on=self._hand_on,
            refused=edge.stats.count_refusal,
        )
        self._listener = Listener(edge, sock, loop=self._loop, first=self._preambles.take)

    def close(self) -> None:
        """Let nobody in any more; who is in stays.  Idempotent."""
        self._preambles.close()
        for task in self._beginning:
            task.cancel()
        self._listener.close()

    def _hand_on(self, sock: socket.socket, source: Source) -> None:
        connection = self._edge()
        if source.ip is not None:
            self._admission.expect(connection, source.ip, source.port)
        if self._tls is None:
            try:
                self._listener.adopt(sock.detach(), connection)
            except OSError:
                self._admission.leave(connection)
                raise
            return
        task = self._loop.create_task(self._begin_tls(connection, sock, self._tls))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin_tls(self, connection: Any, sock: socket.socket, tls: ssl.SSLContext) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=tls,
                ssl_handshake_timeout=self._edge.options.handshake_timeout,
                ssl_shutdown_timeout=self._tls_shutdown_s,
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            self._admission.leave(connection)  # it never arrived
            sock.close()
