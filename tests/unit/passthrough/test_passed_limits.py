"""Limits of clients that are passed through: what is counted, and what becomes of who says too much."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.utils import accept_key

from gateway.connection._walker import FrameWalker
from gateway.exceeded import Exceeded
from gateway.limits import LimitedConnection, LimitOptions, Limits
from gateway.meters import Allowance
from gateway.passed_limits import PassedClient
from gateway.passthrough.dialing import Address
from tests.support.frames import frame

from .conftest import echo, rig


class Limiter:
    """Limits as a node has them, with every user of a name that a test sets."""

    def __init__(self, name: str = "", **options: Any) -> None:
        self.name = name
        self.exceeded = Exceeded(asyncio.get_running_loop().time)
        self.limits = Limits(LimitOptions(**options), asyncio.get_running_loop(), self.exceeded)
        self.taken: list[tuple[int, int]] = []

    def enter(self, connection: LimitedConnection, user: str) -> PassedClient:
        client = Noted(self.limits, connection, user or self.name, str(id(connection)))
        client.taken = self.taken
        self.limits.enter(client)
        return client


class Noted(PassedClient):
    taken: list[tuple[int, int]]

    def take(self, messages: int, size_bytes: int) -> bool:
        self.taken.append((messages, size_bytes))
        return super().take(messages, size_bytes)


def listener(got: list[Any], over: asyncio.Event) -> Any:
    async def service(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                got.append(await connection.recv())
        got.append(connection.close_code)
        over.set()

    return service


def test_walker_counts_what_begins_but_no_goodbyes_and_no_pongs_that_were_asked_for() -> None:
    walker = FrameWalker(masked=True)
    walker.owed = 1
    free = (frame(10, b"asked for"), frame(8))
    paid = (
        *(frame(1, b"one", fin=False), frame(0, b"two")),
        *(frame(9, b"ping"), frame(10, b"pong"), frame(2, b"x" * 300)),
    )
    data = b"".join((*free[:1], *paid, *free[1:]))
    for at in range(len(data)):
        walker.walk_bytes(data[at : at + 1])
    assert (walker.begun, walker.begun_bytes) == (4, len(b"".join(paid)))
    assert (walker.messages, walker.pings, walker.owed, walker.closed) == (2, 1, 0, True)


async def test_who_has_said_too_much_may_still_answer_pings_finish_a_message_and_say_goodbye() -> None:
    got: list[Any] = []
    over = asyncio.Event()

    async def service(connection: ServerConnection) -> None:
        async with asyncio.timeout(30):
            got.append(await connection.recv())
            await (await connection.ping())
            await connection.send("pong came")
        await listener(got, over)(connection)

    limiter = Limiter(connection=Allowance(messages=0.1, bytes=1), burst_s=10)
    async with rig(service, limiter=limiter) as r, r.connect() as client:
        client.transport.write(frame(1, b"a" * 1000, fin=False))
        await asyncio.sleep(0.05)
        client.transport.write(frame(0, b"b" * 1000))
        assert await client.recv() == "pong came"
        await client.close(3001, "enough")
        async with asyncio.timeout(30):
            await over.wait()
    assert got == ["a" * 1000 + "b" * 1000, 3001]
    assert limiter.exceeded.counts == {}


@pytest.mark.parametrize("step", [1, 1000])
def test_walker_bounds_the_fragments_of_a_message(step: int) -> None:
    walker = FrameWalker(masked=True, max_fragments=3)
    good = frame(1, b"", fin=False) + frame(0, b"", fin=False)
    good += frame(0, b"") + frame(1, b"", fin=False)
    bad = frame(0, b"x", fin=False) * 3
    codes = [walker.walk_bytes((good + bad)[at : at + step])[1] for at in range(0, len(good + bad), step)]
    assert next(code for code in codes if code) == 1008


async def test_a_client_that_says_too_much_is_closed_with_1008_and_its_service_with_1001() -> None:
    got: list[Any] = []
    over = asyncio.Event()
    limiter = Limiter(connection=Allowance(messages=2), burst_s=5)
    async with rig(listener(got, over), limiter=limiter) as r, r.connect() as client:
        with contextlib.suppress(ConnectionClosed):
            for number in range(100):
                await client.send(str(number))
                await asyncio.sleep(0.002)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1008, "too many messages")
        async with asyncio.timeout(30):
            await over.wait()
    *messages, code = got
    assert code == 1001
    assert messages == [str(number) for number in range(len(messages))]
    assert 10 <= len(messages) <= 30  # a burst, and a few for the time it took
    assert limiter.exceeded.counts == {"connection_messages": 1}
    assert len(limiter.limits) == 0


async def test_the_rest_of_a_frame_that_was_paid_for_passes_before_what_is_refused() -> None:
    got: list[Any] = []
    over = asyncio.Event()
    limiter = Limiter(connection=Allowance(bytes=1000), burst_s=1)
    large, small = frame(2, b"x" * 50_000), frame(2, b"y" * 10)
    async with rig(listener(got, over), limiter=limiter) as r, r.connect() as client:
        client.transport.write(large[:20_000])  # more than the allowance, but it was full
        async with asyncio.timeout(30):
            while not limiter.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        client.transport.write(large[20_000:] + small)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1008
        async with asyncio.timeout(30):
            await over.wait()
    assert got == [b"x" * 50_000, 1001]
    assert limiter.taken == [(1, len(large)), (1, len(small))]
    assert limiter.exceeded.counts == {"connection_bytes": 1}


async def test_many_messages_at_once_are_not_one() -> None:
    got: list[Any] = []
    over = asyncio.Event()
    limiter = Limiter(connection=Allowance(messages=2), burst_s=5)
    async with rig(listener(got, over), limiter=limiter) as r, r.connect() as client:
        client.transport.write(frame(1, b"x") * 1000 + frame(1, b"y" * 100)[:50])  # and begins one more
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1008
        async with asyncio.timeout(30):
            await over.wait()
    assert got == [1001]
    assert limiter.exceeded.counts == {"connection_messages": 1}


async def test_all_connections_of_a_user_share_what_the_user_may_say_and_pings_count() -> None:
    limiter = Limiter("ada", user=Allowance(messages=1), burst_s=6)
    async with rig(echo, limiter=limiter) as r, r.connect() as one, r.connect() as two:
        for client in (one, two, one, two):
            await client.send("x")
            assert await client.recv() == "x"
        await two.ping()
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await two.send("x")
                await two.recv()
        assert two.close_code == 1008
        assert limiter.exceeded.counts == {"user_messages": 1}


async def test_a_user_has_so_many_connections() -> None:
    limiter = Limiter("ada", connections_per_user=1)
    async with rig(echo, limiter=limiter) as r, r.connect() as one:
        async with r.connect() as two:
            with pytest.raises(ConnectionClosed):
                await two.recv()
            assert (two.close_code, two.close_reason) == (1008, "too many connections")
        await one.send("still here")
        assert await one.recv() == "still here"


async def test_goodbye_waits_for_the_end_of_a_frame_and_what_comes_behind_it_does_not_pass() -> None:
    go_on = asyncio.Event()
    heard: list[bytes] = []

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = re.search(rb"(?i)sec-websocket-key: (\S+)\r\n", await reader.readuntil(b"\r\n\r\n"))
        assert key is not None
        writer.write(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept_key(key[1].decode()).encode())
        writer.write(b"\x82\x7e\x10\x00" + b"x" * 1000)
        await go_on.wait()
        writer.write(b"x" * 3096 + b"\x81\x04late")
        heard.append(await reader.readexactly(2 + 4 + 22))
        writer.close()

    server = await asyncio.start_server(service, "127.0.0.1", 0)
    there = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server, rig(addresses=[there]) as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{r.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            assert await reader.readexactly(1004) == b"\x82\x7e\x10\x00" + b"x" * 1000
            (client,) = r.edge.connections
            client.close(4001, "the token is revoked")
            await asyncio.sleep(0.05)
            go_on.set()
            rest = await reader.readexactly(3096 + 4 + 20)
            assert rest == b"x" * 3096 + b"\x88\x16" + (4001).to_bytes(2, "big") + b"the token is revoked"
            writer.close()
            await writer.wait_closed()
            await r.gone()
        assert heard[0][:2] == b"\x88\x96"
        code = bytes(a ^ b for a, b in zip(heard[0][6:8], heard[0][2:4], strict=True))
        assert code == (1001).to_bytes(2, "big")


async def test_goodbye_does_not_wait_for_a_frame_that_never_ends() -> None:
    async def service(connection: ServerConnection) -> None:
        connection.transport.write(b"\x82\x7e\x10\x00" + b"x" * 1000)
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()

    async with rig(service, close_timeout=0.3) as r:
        client = await r.connect()
        async with asyncio.timeout(30):
            while not r.stats.messages_in and r.passage.counts.open == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            (end,) = r.edge.connections
            end.close(4001, "the token is revoked")
            with pytest.raises(ConnectionClosed):
                await client.recv()
        assert client.close_code == 1006
