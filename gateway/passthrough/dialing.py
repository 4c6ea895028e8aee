"""Connections to upstreams: TCP, or TLS, to one address, as an end of a tunnel that is not joined yet.

It knows sockets, nothing of HTTP.  What always holds: whatever fails, nothing stays open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from ..connection._dialing import SocketAddress, connect
from ..connection._edge import Edge
from ..connection._tunnel import TunnelEnd


class Address:
    """Where an upstream listens.  Made once, used for every connection to it.

    `tls` is None for `ws://`; `name` is who its certificate must be for.  `timeout_s` is the longest time to
    connect, that of TLS not included.
    """

    __slots__ = ("ip", "name", "place", "port", "timeout_s", "tls")

    def __init__(
        self, ip: str, port: int, tls: ssl.SSLContext | None = None, name: str = "", timeout_s: float = 5.0
    ) -> None:
        self.ip = ip
        self.port = port
        self.tls = tls
        self.name = name or ip
        self.timeout_s = timeout_s
        self.place = SocketAddress(ip, port)


def dial(edge: Edge, address: Address, end: TunnelEnd) -> None:
    """Begin to connect an end, without TLS; what it says waits until it is connected.

    Raises OSError when that fails at once; later, its owner hears that it is over.
    """
    connect(edge, end, address.place)


async def dial_tls(edge: Edge, address: Address, end: TunnelEnd) -> None:
    """Connect an end, with TLS.  Raises OSError, which ssl's errors are too; its owner hears nothing then."""
    loop = edge.loop
    sock = socket.socket(socket.AF_INET6 if ":" in address.ip else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(address.timeout_s):
            await loop.sock_connect(sock, (address.ip, address.port))
        await loop.create_connection(lambda: end, sock=sock, ssl=address.tls, server_hostname=address.name)
    except BaseException:
        sock.close()
        raise
