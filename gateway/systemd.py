"""Sockets that systemd, or whoever else follows sd_listen_fds(3), hands to this process.

It knows the protocol (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; descriptors from 3 on), not what the sockets
are for.  What always holds: the descriptors that were handed in stay open and belong to whoever handed them
in; what is returned are copies.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple

FIRST: Final = 3
_UNNAMED: Final = "unknown"
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Handed(NamedTuple):
    """A descriptor that was handed in, and its name (FileDescriptorName=)."""

    descriptor: int
    name: str


def handed_in(environment: Mapping[str, str], pid: int) -> list[Handed]:
    """Return what was handed to the process `pid`; nothing when it was meant for another process.

    Raises ValueError when the variables are malformed.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not re.fullmatch(r"[0-9]{1,5}", count):
        raise ValueError("LISTEN_FDS is not a number")
    given = environment.get("LISTEN_FDNAMES", "")
    names = given.split(":") if given else [_UNNAMED] * int(count)
    if len(names) != int(count):
        raise ValueError(f"LISTEN_FDNAMES has {len(names)} names for {int(count)} sockets")
    return [Handed(FIRST + n, name) for n, name in enumerate(names)]


def why_none(environment: Mapping[str, str], pid: int) -> str:
    """Say why `handed_in` returned nothing."""
    listen_pid = environment.get("LISTEN_PID")
    if listen_pid is None:
        return "none were handed in (LISTEN_PID is not set)"
    if listen_pid != str(pid):
        return f"they were handed to process {listen_pid[:20]}, and this is {pid} (LISTEN_PID)"
    return "none were handed in (LISTEN_FDS is 0)"


def open_copy(handed: Handed) -> socket.socket:
    """Return a socket of our own for what was handed in.  Raises OSError when it is no listening stream."""
    try:
        os.set_inheritable(handed.descriptor, False)
        sock = socket.socket(fileno=os.dup(handed.descriptor))
    except OSError as problem:
        raise OSError(problem.errno, f"descriptor {handed.descriptor} is not a socket") from None
    try:
        if sock.type != socket.SOCK_STREAM or sock.family not in _FAMILIES:
            raise OSError(f"descriptor {handed.descriptor} is not a stream socket")
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(f"descriptor {handed.descriptor} does not listen: the socket unit needs Accept=no")
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
