"""What systemd hands in: names, counts, whose it is; copies leave the original alone."""

from __future__ import annotations

import os
import socket

import pytest

from gateway.systemd import Handed, handed_in, open_copy, why_none


def environment(**changed: str) -> dict[str, str]:
    return {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"} | changed


def test_descriptors_are_numbered_from_3_and_named() -> None:
    assert handed_in(environment(), 7) == [Handed(3, "a"), Handed(4, "b")]
    assert handed_in(environment(LISTEN_FDNAMES=""), 7) == [Handed(3, "unknown"), Handed(4, "unknown")]
    assert handed_in(environment(LISTEN_FDS="0", LISTEN_FDNAMES=""), 7) == []


@pytest.mark.parametrize("pid", ["8", "", "07", " 7", "7x"])
def test_what_is_for_another_process_is_left_alone(pid: str) -> None:
    assert handed_in(environment(LISTEN_PID=pid, LISTEN_FDS="nonsense"), 7) == []
    assert "this is 7" in why_none(environment(LISTEN_PID=pid), 7)


@pytest.mark.parametrize(
    "wrong", [{"LISTEN_FDS": ""}, {"LISTEN_FDS": "-1"}, {"LISTEN_FDS": "3"}, {"LISTEN_FDNAMES": "a:b:c"}]
)
def test_malformed_variables_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="LISTEN_FD"):
        handed_in(environment(**wrong), 7)


def test_copy_can_be_closed_and_the_original_still_listens_and_is_not_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as original:
        original.set_inheritable(True)
        for _ in range(2):
            copy = open_copy(Handed(original.fileno(), "a"))
            assert copy.getsockname() == original.getsockname()
            copy.close()
        assert not os.get_inheritable(original.fileno())
        socket.create_connection(original.getsockname(), timeout=5).close()


def test_what_is_no_listening_stream_is_refused() -> None:
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(OSError, match="does not listen"):
            open_copy(Handed(idle.fileno(), "a"))
        with pytest.raises(OSError, match="is not a stream socket"):
            open_copy(Handed(datagrams.fileno(), "a"))
    with open(os.devnull) as file, pytest.raises(OSError, match="is not a socket"):
        open_copy(Handed(file.fileno(), "a"))
