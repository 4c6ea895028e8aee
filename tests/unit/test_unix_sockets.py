"""Files of Unix sockets: made, replaced and removed, and never somebody else's."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import unix_sockets
from gateway.unix_sockets import listen_unix


@pytest.fixture
def path() -> Iterator[Path]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "a.sock"


def left_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_socket_listens_with_its_mode_and_goes_with_its_file(path: Path, mode: int) -> None:
    sock, file = listen_unix(str(path), 5, mode)
    with sock:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        file.remove()
        assert not path.exists()
        file.remove()


def test_file_that_is_left_behind_is_replaced(path: Path) -> None:
    left_behind(path)
    sock, file = listen_unix(str(path), 5, 0o600)
    with sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        file.remove()


def test_file_that_took_its_place_stays(path: Path) -> None:
    sock, file = listen_unix(str(path), 5, 0o600)
    with sock:
        path.unlink()
        left_behind(path)
        file.remove()
        assert path.is_socket()


def test_folder_that_somebody_else_locks_is_waited_for_and_then_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_sockets, "_LOCK_S", 0.05)
    left_behind(path)
    inode = path.stat().st_ino
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="is locked by another process"):
            listen_unix(str(path), 5, 0o600)
        assert path.stat().st_ino == inode
    finally:
        os.close(folder)
    sock, file = listen_unix(str(path), 5, 0o600)
    with sock:
        file.remove()


def test_nothing_is_left_of_a_socket_that_cannot_listen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(where: str, mode: int) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(PermissionError):
        listen_unix(str(path), 5, 0o600)
    assert not path.exists()
