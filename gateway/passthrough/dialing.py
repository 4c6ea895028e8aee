"""Connections to upstreams: TCP, or TLS, to one address, as an end of a tunnel that is not joined yet.

It knows sockets and names, nothing of HTTP.  What always holds: whatever fails, nothing stays open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

from ..connection._edge import Edge
from ..connection._sockets import attach
from ..connection._tunnel import TunnelEnd


class Address(NamedTuple):
    """Where an upstream listens.

    `tls` is None for `ws://`; `name` is who its certificate must be for.  `timeout_s` is the longest time to
    connect, that of TLS not included.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str = ""
    timeout_s: float = 5.0


async def dial(
    edge: Edge, address: Address, *, on_bytes: Callable[[bytes], None], on_over: Callable[[], None]
) -> TunnelEnd:
    """Return an end that is connected to an address; `on_over` is called only if it is returned.

    Raises OSError, which ssl's errors are too.
    """
    loop = edge.loop
    sock = await _connected(loop, address)
    try:
        end = TunnelEnd(edge, client=False, on_bytes=on_bytes, on_over=on_over)
        if address.tls is None:
            attach(edge, end, sock)
        else:
            await loop.create_connection(
                lambda: end, sock=sock, ssl=address.tls, server_hostname=address.name or address.host
            )
    except BaseException:
        sock.close()
        raise
    return end


async def _connected(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    """Return a connected socket, to the first of the host's addresses that answers."""
    problem: OSError = OSError(f"{address.host} has no address")
    for family, where in await _places(loop, address):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(address.timeout_s):
                await loop.sock_connect(sock, where)
        except OSError as error:
            problem = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem


async def _places(loop: asyncio.AbstractEventLoop, address: Address) -> list[tuple[int, Any]]:
    """Return where to connect: at once for an IP address, which needs no other thread."""
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]
    return [(socket.AF_INET if version == 4 else socket.AF_INET6, (address.host, address.port))]
