"""Listening Unix sockets: their files, made and removed so that nobody else's is ever taken away.

It knows files and sockets, and nothing of the gateway.  How it works: a file is left over when connecting to
it is refused, since the kernel accepts for whoever listens.  Looking, removing and binding are one step for
all gateways, under a lock of the folder; the mode is set before the socket listens, so nobody connects too
early.

What always holds: a file is removed only while nobody listens on it, or, at the end, while it is still
the one that was made here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LOCK_S: Final = 1.0
_ANSWER_S: Final = 1.0


class UnixFile:
    """The file of a socket that was made here."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = _identity(os.lstat(path))

    def remove(self) -> None:
        """Remove it, unless it is gone or another one has taken its place.  The socket must still be open."""
        with contextlib.suppress(OSError):
            if _identity(os.lstat(self._path)) == self._identity:
                os.unlink(self._path)


def listen_unix(path: str, backlog: int, mode: int) -> tuple[socket.socket, UnixFile]:
    """Return a listening socket and its file.

    A file that a gateway left behind is replaced.  Raises OSError whose `strerror` says what is in the way.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(Path(path).parent):
            _make_way(path)
            sock.bind(path)
            file = UnixFile(path)
            try:
                os.chmod(path, mode)
                sock.listen(backlog)
            except OSError:
                file.remove()
                raise
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock, file


def _make_way(path: str) -> None:
    """Remove what an ended process left there.  Raises OSError when it is anything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:  # it was removed meanwhile
            return
        except (TimeoutError, BlockingIOError):
            raise OSError(errno.EADDRINUSE, "another process listens there, and does not answer") from None
        except OSError as problem:
            reason = "a socket of another kind" if problem.errno == errno.EPROTOTYPE else problem.strerror
            raise OSError(problem.errno, f"there is a socket that cannot be tried: {reason}") from None
    raise OSError(errno.EADDRINUSE, "Address already in use")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other gateways from making sockets in a folder meanwhile.  Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_up = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise OSError(errno.EAGAIN, f"the folder {folder} is locked by another process") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
