"""Limits of clients of GRIP services: what is counted, and what becomes of who says too much."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.connection._connection import Connection
from gateway.exceeded import Exceeded
from gateway.grip.events import Event, Kind, close_event
from gateway.limits import LimitOptions, Limits
from gateway.meters import Allowance
from gateway.passed_limits import PassedClient
from tests.support.grip import OPEN, GripService, control, echo, rig, text
from tests.support.waiting import until

DISCONNECT = Event(Kind.DISCONNECT)


class Limiter:
    """Limits as a node has them; every client is of one user, or of none."""

    def __init__(self, name: str = "", **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.exceeded = Exceeded(loop.time)
        self.limits = Limits(LimitOptions(**options), loop, self.exceeded)

    def enter(self, connection: Connection, user: str) -> PassedClient:
        client = PassedClient(self.limits, connection, user or self.name, str(id(connection)))
        self.limits.enter(client)
        return client


async def end_of(client: Any) -> tuple[int | None, str | None]:
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                await client.recv()
    return client.close_code, client.close_reason


@pytest.mark.parametrize("opens", [(), (control('{"type":"detach"}'),)], ids=["attached", "detached"])
async def test_a_client_that_says_too_much_is_closed_with_1008(opens: tuple[Event, ...]) -> None:
    service = GripService(echo)
    service.opens, service.headers = opens, {"Sec-WebSocket-Extensions": "grip"}
    limiter = Limiter(connection=Allowance(messages=0.01), burst_s=1000)
    async with rig(service, limiter=limiter) as r:
        async with r.connect() as client:
            await until(lambda: r.counts.open == 1 and not r.route._tasks)
            for number in range(9):
                await client.send(str(number))
            await asyncio.wait_for(await client.ping(), 20)  # the tenth
            with contextlib.suppress(ConnectionClosed):
                for number in range(5):
                    await client.send(f"too much {number}")
            assert await end_of(client) == (1008, "too many messages")
        await r.gone()
        assert limiter.exceeded.counts == {"connection_messages": 1}
        assert len(limiter.limits) == 0
        assert r.stats.closes == {1008: 1}
    told = [OPEN] if opens else [OPEN, *(text(str(n)) for n in range(9)), Event(Kind.PING), DISCONNECT]
    assert [event if event.kind is not Kind.PING else Event(Kind.PING) for event in service.told] == told


async def test_pings_count() -> None:
    limiter = Limiter(connection=Allowance(messages=0.01), burst_s=300)
    service = GripService()
    async with rig(service, limiter=limiter) as r, r.connect() as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(5):
                await client.ping()
        assert await end_of(client) == (1008, "too many messages")
        await r.gone()
    assert [event.kind for event in service.told] == [Kind.OPEN, *3 * [Kind.PING], Kind.DISCONNECT]


async def test_answers_to_pings_and_goodbyes_are_free() -> None:
    def ask(events: list[Event]) -> list[Event]:
        return [Event(Kind.PING, b"there?")] if events[-1].kind in {Kind.TEXT, Kind.PONG} else []

    service = GripService(ask)
    limiter = Limiter(connection=Allowance(messages=0.01), burst_s=100)
    async with rig(service, limiter=limiter) as r:
        async with r.connect() as client:
            await client.send("one, and no more")
            await until(lambda: service.told.count(Event(Kind.PONG, b"there?")) >= 5)
            await client.close(3001, "enough")
        await r.gone()
    assert service.told[-1] == close_event(3001, b"enough")
    assert limiter.exceeded.counts == {}


async def test_bytes_are_those_of_messages_and_connections_of_a_user_share_them() -> None:
    limiter = Limiter("ada", user=Allowance(bytes=10), burst_s=100)
    service = GripService(echo)
    async with rig(service, limiter=limiter) as r, r.connect() as one, r.connect() as two:
        for client in (one, two):
            await client.send("x" * 500)  # exactly the allowance, in the end
            assert await client.recv() == "x" * 500
        await two.send("y" * 500)
        assert await end_of(two) == (1008, "too many messages")
        assert limiter.exceeded.counts == {"user_bytes": 1}
    assert text("y" * 500) not in service.told


async def test_a_user_has_so_many_connections_and_the_service_hears_of_the_end() -> None:
    limiter = Limiter("ada", connections_per_user=1)
    service = GripService(echo)
    async with rig(service, limiter=limiter) as r, r.connect() as one:
        async with r.connect() as two:
            assert await end_of(two) == (1008, "too many connections")
        await one.send("still here")
        assert await one.recv() == "still here"
        await until(lambda: DISCONNECT in service.told)
        await one.close()
        await until(lambda: len(limiter.limits) == 0)
        async with r.connect() as three:  # its place is free again
            await three.send("x")
            assert await three.recv() == "x"
        assert limiter.exceeded.counts == {"connections_per_user": 1}


async def test_what_was_said_before_the_handshake_was_answered_counts() -> None:
    limiter = Limiter(connection=Allowance(messages=0.01), burst_s=100)
    service = GripService(echo)
    async with rig(service, limiter=limiter) as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        head = b"GET /chat/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        writer.write(head + b"\x81\x81\0\0\0\0a" * 2)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(4) == b"\x88\x13\x03\xf0"
        writer.close()
        await writer.wait_closed()
        await r.gone()
    assert service.told == [OPEN, text("a"), DISCONNECT]
