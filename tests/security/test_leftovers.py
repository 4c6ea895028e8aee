"""What the gateway holds for connections that are gone, seen from inside: nothing.

The same abrupt leavings as in `test_floods`, against a gateway in the test's own loop, whose timer wheel,
tasks, sessions, users and channels can be looked at.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway import Gateway
from tests.security.client import connect, reset
from tests.security.test_floods import LEAVING

FORGETFUL = {
    "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0", "shutdown_timeout": "1s"},
    "websocket": {"close_timeout": "500ms", "handshake_timeout": "1s"},
    "session": {"resume_ttl": "500ms"},
    "namespace": {"default": {"ring_idle": "500ms"}},
}


def leave(port: int, count: int) -> None:
    socks = [connect(port) for _ in range(count)]
    for number, sock in enumerate(socks):
        sock.sendall(LEAVING[number % len(LEAVING)](number))
    for sock in socks[::2]:
        sock.settimeout(0.05)
        try:
            sock.recv(100)
        except OSError:
            continue
    for sock in socks:
        reset(sock)


async def until_empty(gateway: Gateway) -> list[object]:
    """Return what is still held after at most five seconds."""
    edge, node = gateway._edge, gateway._node
    assert edge is not None
    assert node is not None
    for _ in range(100):
        held: list[object] = [
            *edge.connections, *node.sessions, *node.users, *node._tasks, *node._opening, *node._closing,
            *(channel.name for channel in node.hub.channels()), *(["wheel"] * len(edge.wheel)),
            *["members"] * node.broker.stats()["members"], *["sessions"] * node.broker.stats()["sessions"],
        ]  # fmt: skip
        if not held:
            break
        await asyncio.sleep(0.05)
    return held


async def test_nothing_is_held_for_connections_that_are_gone(caplog: pytest.LogCaptureFixture) -> None:
    rounds = 2
    before = asyncio.all_tasks()
    with caplog.at_level(logging.WARNING):
        async with Gateway(FORGETFUL) as gateway:
            assert gateway._edge is not None
            for _ in range(rounds):
                await asyncio.to_thread(leave, gateway.edge_address.port, 120)
                assert await until_empty(gateway) == []
            assert gateway._edge.stats.accepted == gateway._edge.stats.closed == rounds * 120
            assert asyncio.all_tasks() == before
    assert not caplog.records
