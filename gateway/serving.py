"""Serves a protocol on a listening socket, whatever loop and whatever family it is.

It knows asyncio and uvloop, and nothing of what is served.  What always holds: files of Unix sockets are
left to whoever made them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import uvloop


async def serve_socket(
    protocol: Callable[[], Any],
    sock: socket.socket,
    *,
    backlog: int,
    tls: ssl.SSLContext | None = None,
    tls_handshake_s: float | None = None,
    tls_shutdown_s: float | None = None,
) -> asyncio.Server:
    """Accept connections at a socket in the running loop, which closes it in the end; TLS on TCP only."""
    loop = asyncio.get_running_loop()
    if sock.family == socket.AF_UNIX:
        # Loops of Python 3.13 and uvloop would remove the file, also one that was handed in.
        removes = isinstance(loop, uvloop.Loop) or sys.version_info >= (3, 13)
        keep: dict[str, Any] = {"cleanup_socket": False} if removes else {}
        return await loop.create_unix_server(protocol, sock=sock, backlog=backlog, **keep)
    if tls is None:
        return await loop.create_server(protocol, sock=sock, backlog=backlog)
    return await loop.create_server(
        protocol,
        sock=sock,
        backlog=backlog,
        ssl=tls,
        ssl_handshake_timeout=tls_handshake_s,
        ssl_shutdown_timeout=tls_shutdown_s,
    )
