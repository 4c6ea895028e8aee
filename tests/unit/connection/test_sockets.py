"""Plain sockets behind one epoll: who is lost, who is let in, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from pathlib import Path

import pytest

from gateway._frames import TEXT
from gateway.connection._sockets import Listener
from tests.support.edges import Handler, Peer, edge, eventually, request, text
from tests.support.frames import frame
from tests.support.simulated import settle


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


async def test_connection_dropped_by_another_ones_handler_hears_nothing_more() -> None:
    async with edge() as rig:
        first, second = await rig.open(), await rig.open()

        def drop_the_other(handler: Handler, payload: bytes) -> None:
            (other,) = [h for h in rig.handlers if h is not handler]
            other.connection.abort()

        rig.on = drop_the_other
        for handler in rig.handlers:
            handler.on = drop_the_other
        first.sock.send(text("a"))  # both are ready when the loop looks
        second.sock.send(text("b"))
        await eventually(lambda: len(rig.edge.connections) == 1)
        await settle()
        assert sorted(len(handler.messages) for handler in rig.handlers) == [0, 1]
        assert sorted(handler.closes for handler in rig.handlers) == [[], [1006]]


async def test_reset_of_a_peer_that_is_not_read_from_ends_the_connection() -> None:
    async with edge() as rig:
        peer = await rig.open(receive_buffer=16384)
        (connection,) = rig.edge.connections
        for _ in range(400):
            rig.handlers[0].connection.send(TEXT, b"." * 16384)
        assert connection.blocked
        peer.reset()
        await rig.gone()
        assert rig.handlers[0].closes == [1006]


async def test_what_waits_leaves_before_the_end() -> None:
    async with edge() as rig:
        peer = await rig.open(receive_buffer=16384)
        (connection,) = rig.edge.connections
        rig.handlers[0].connection.send(TEXT, b"." * 4_000_000)
        assert connection.queued_bytes > 0
        await peer.send(frame(8, b"\x03\xe8"))  # read when there is room again: answered behind what waits
        (message, close) = await peer.receive(2)
        assert (len(message.payload), close.close_code) == (4_000_000, 1000)
        assert await peer.everything() == b""
        peer.close()
        await rig.gone()


async def test_peers_address_is_told_while_there_is_one() -> None:
    async with edge() as rig:
        peer = await rig.open()
        connection = rig.handlers[0].connection
        host, port = peer.sock.getsockname()
        assert connection.remote == f"{host}:{port}"
        peer.close()
        await rig.gone()
        assert connection.remote == ""


async def test_closed_listener_keeps_who_is_in_and_leaves_no_descriptor() -> None:
    before = descriptors()
    async with edge() as rig:
        peer = await rig.open("/echo")
        assert rig.server is not None
        rig.server.close()
        rig.server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", rig.port), timeout=1)
        await peer.send(text("still here"))
        assert await peer.payloads(1) == [b"still here"]
    assert descriptors() == before


async def test_unix_sockets_are_listened_at_too(tmp_path: Path) -> None:
    async with edge() as rig:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(tmp_path / "edge"))
        sock.listen()
        listener = Listener(rig.edge, sock, loop=asyncio.get_running_loop())
        peer = Peer(socket.socket(socket.AF_UNIX))
        peer.sock.connect(str(tmp_path / "edge"))
        peer.sock.setblocking(False)
        rig.peers.append(peer)
        await peer.upgrade()
        assert rig.handlers[0].connection.remote == ""
        listener.close()


async def test_without_descriptors_nobody_is_let_in_until_there_are_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with edge() as rig:
        other = await rig.open("/echo")
        sock = socket.socket()
        sock.setblocking(False)
        peer = Peer(sock)
        rig.peers.append(peer)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            sock.connect_ex(("127.0.0.1", rig.port))
            await eventually(lambda: "no connection can be accepted now" in caplog.text)
            await other.send(text("still served"))
            assert await other.payloads(1) == [b"still served"]
            assert rig.stats.accepted == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await peer.upgrade("/echo")
        assert rig.stats.accepted == 2
    assert "internal error" not in caplog.text


async def test_listener_that_rests_can_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with edge() as rig:
        sock = socket.socket()
        sock.setblocking(False)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            sock.connect_ex(("127.0.0.1", rig.port))
            await eventually(lambda: "no connection can be accepted now" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert rig.server is not None
        rig.server.close()
        sock.close()
    assert descriptors() == before


async def test_many_at_once_are_all_let_in() -> None:
    async with edge() as rig:
        socks = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(90)]
        for sock in socks:
            sock.setblocking(False)
            sock.send(request("/echo"))
            rig.peers.append(Peer(sock))
        await eventually(lambda: rig.stats.opened == 90)
