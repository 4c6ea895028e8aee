"""Hands listening sockets to a gateway as systemd does: descriptors from 3 on, and LISTEN_* variables.

It knows the protocol of sd_listen_fds(3), nothing of the gateway.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import GatewayProcess, start_gateway

# Runs between fork and exec of the gateway: only there its process id is known.
_SCRIPT = """\
#!{python}
import os, sys
given = [int(text) for text in os.environ.pop("HANDED").split(",")]
high = [os.dup2(descriptor, 100 + n) for n, descriptor in enumerate(given)]
os.closerange(3, 100)
for n, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + n)
    os.close(descriptor)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def listening(path: Path | None = None, host: str = "127.0.0.1") -> socket.socket:
    """Return a listening socket: a Unix one at `path`, or TCP on any port."""
    if path is None:
        return socket.create_server((host, 0))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(100)
    return sock


def start_handed(
    sockets: Mapping[str, socket.socket], *flags: str, folder: Path, env: Mapping[str, str] | None = None
) -> GatewayProcess:
    """Start a gateway that gets `sockets`, by their names.  `env` overrides what it is told of them.

    Its log, and the command that hands them in, are in `folder`.  Raises GatewayProcessError.
    """
    command = folder / "python"
    command.write_text(_SCRIPT.format(python=sys.executable))
    command.chmod(0o755)
    descriptors = tuple(sock.fileno() for sock in sockets.values())
    told = {
        "HANDED": ",".join(map(str, descriptors)),
        "LISTEN_FDS": str(len(sockets)),
        "LISTEN_FDNAMES": ":".join(sockets),
        **(env or {}),
    }
    return start_gateway(
        *flags, log_path=folder / "gateway.log", env=told, python=str(command), pass_fds=descriptors
    )
