"""Who is at the other end of a Unix socket, in a few words for logs and lists.

TCP peers have addresses; these have none, but the kernel knows which process connected.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


def unix_peer(sock: Any) -> str:
    """Return "unix:pid=N" with the id of the process that connected, or "unix" where it is not known.

    `sock` is what a transport calls its socket, or None.  For other families: "", their peer is gone.
    """
    if sock is None or sock.family != socket.AF_UNIX:
        return ""
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return "unix"
    pid, _, _ = _CREDENTIALS.unpack(found)
    return f"unix:pid={pid}" if pid else "unix"
