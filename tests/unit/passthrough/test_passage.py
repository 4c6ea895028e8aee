"""Clients passed through to real WebSocket services, by a real edge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.passthrough.dialing import Address
from tests.support.tls import Authority

from .conftest import echo, rig, server_context


async def test_messages_of_every_size_and_kind_come_back() -> None:
    async with rig(echo, max_message_bytes=1 << 20) as r, r.connect(max_size=None) as client:
        for size in (0, 1, 125, 126, 127, 65535, 65536, 500_000):
            for message in ("x" * size, os.urandom(size)):
                await client.send(message)
                assert await client.recv() == message
        fragments = ["one", "two", "three"]
        await client.send(fragments)
        assert await client.recv() == "onetwothree"
        assert r.stats.messages_in == r.stats.messages_out == 17


async def test_pings_and_pongs_pass() -> None:
    async with rig(echo) as r, r.connect() as client:
        pong = await client.ping(b"through")
        async with asyncio.timeout(30):
            await pong


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4321])
async def test_close_codes_and_reasons_pass_both_ways(code: int) -> None:
    heard: list[tuple[int | None, str | None]] = []
    over = asyncio.Event()

    async def service(connection: ServerConnection) -> None:
        message = await connection.recv()
        if message == "you":
            await connection.close(code, "because")
        else:
            with contextlib.suppress(ConnectionClosed):
                await connection.recv()
        heard.append((connection.close_code, connection.close_reason))
        over.set()

    async with rig(service) as r:
        async with r.connect() as client:
            await client.send("you")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (code, "because")
        over.clear()
        client = await r.connect()
        await client.send("me")
        await client.close(code, "enough")
        async with asyncio.timeout(30):
            await over.wait()
        assert heard[-1] == (code, "enough")


async def test_subprotocol_compression_and_headers_reach_the_service() -> None:
    seen: list[dict[str, str]] = []

    async def service(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        seen[-1]["path"] = connection.request.path
        await echo(connection)

    headers = {
        "Authorization": "Bearer abc",
        "Cookie": "a=b",
        "X-Custom": "yes",
        "X-Forwarded-For": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Ringgate-User": "root",
        "X-Real-IP": "6.6.6.6",
        "Proxy-Authorization": "no",
    }
    serve = {"subprotocols": ["chat.v2"], "compression": "deflate"}
    async with (
        rig(service, serve=serve) as r,
        r.connect(
            "/app/room?x=1&y=%20",
            additional_headers=headers,
            subprotocols=["chat.v1", "chat.v2"],
            compression="deflate",
        ) as client,
    ):
        assert client.subprotocol == "chat.v2"
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        for message in ("word " * 5000, "again " * 5000):
            await client.send(message)
            assert await client.recv() == message
        got = seen[0]
        assert got["path"] == "/app/room?x=1&y=%20"
        assert (got["authorization"], got["cookie"], got["x-custom"]) == ("Bearer abc", "a=b", "yes")
        assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == ("127.0.0.1", "ws")
        assert got["host"] == got["x-forwarded-host"] == f"127.0.0.1:{r.port}"
        assert got.keys().isdisjoint({"forwarded", "x-ringgate-user", "x-real-ip", "proxy-authorization"})


async def test_first_messages_of_both_sides_that_come_with_the_handshake_pass() -> None:
    async def service(connection: ServerConnection) -> None:
        await connection.send("welcome")
        await echo(connection)

    async with rig(service) as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        head = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{r.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        writer.write(head.encode() + b"\x81\x82\0\0\0\0hi")
        async with asyncio.timeout(30):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert {await reader.readexactly(9), await reader.readexactly(4)} == {
                b"\x81\x07welcome",
                b"\x81\x02hi",
            }
        writer.close()
        await writer.wait_closed()


async def test_a_service_that_goes_without_goodbye_closes_with_1012() -> None:
    async def service(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async with rig(service) as r, r.connect() as client:
        await client.send("x")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012


async def test_a_client_that_goes_without_goodbye_is_1001_for_its_service() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def service(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()
        codes.put_nowait(connection.close_code)

    async with rig(service) as r:
        client = await r.connect()
        client.transport.abort()
        async with asyncio.timeout(30):
            assert await codes.get() == 1001
        await client.wait_closed()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x81\x01x", 1002),  # no mask
        (b"\xc1\x81\0\0\0\0x", 1002),  # a reserved bit
        (b"\x83\x81\0\0\0\0x", 1002),  # an opcode that is not there
        (b"\x80\x81\0\0\0\0x", 1002),  # a continuation of nothing
        (b"\x89\xfe\x00\x80\0\0\0\0", 1002),  # a long ping
        (b"\x81\xfe\x00\x01\0\0\0\0x", 1002),  # not the shortest length
        (b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 1002),  # the high bit
        (b"\x81\xff\0\0\0\0\0\x01\0\x01\0\0\0\0", 1009),  # too large
    ],
)
async def test_what_breaks_a_rule_is_refused_and_not_passed(bad: bytes, code: int) -> None:
    got: list[Any] = []
    over = asyncio.Event()

    async def service(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                got.append(await connection.recv())
        got.append(connection.close_code)
        over.set()

    async with rig(service) as r, r.connect() as client:
        reached: list[str] = []
        r.edge.on_limit = lambda limit, who: reached.append(limit)
        await client.send("good")
        for at in range(len(bad)):  # a byte at a time
            client.transport.write(bad[at : at + 1])
            await asyncio.sleep(0)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == code
        async with asyncio.timeout(30):
            await over.wait()
        assert got == ["good", 1001]
        assert reached == (["message_bytes"] if code == 1009 else [])


async def test_a_service_that_breaks_a_rule_is_stopped() -> None:
    async def service(connection: ServerConnection) -> None:
        connection.transport.write(b"\x81\x02ok\x8f\x00")
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()

    async with rig(service) as r, r.connect() as client:
        assert await client.recv() == "ok"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012


async def test_refusals_of_the_service_are_passed_on() -> None:
    def refuse(status: int) -> Any:
        return lambda connection, request: connection.respond(status, "no\n")

    for status, told in ((401, 401), (403, 403), (404, 404), (429, 429), (500, 502), (503, 503), (302, 502)):
        async with rig(echo, serve={"process_request": refuse(status)}) as r:
            with pytest.raises(InvalidStatus) as refused:
                await r.connect()
            assert refused.value.response.status_code == told
            said = "failed" if told >= 500 else "connected"
            assert r.upstreams.leases[0].said[0] == said
            assert r.passage.counts.refused == {str(told): 1}


async def test_nobody_to_dial_is_503_and_a_closed_port_502() -> None:
    async with rig() as r:
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == 503
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with rig(addresses=[Address("127.0.0.1", port)]) as r:
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == 502
        assert [lease.said for lease in r.upstreams.leases] == [["failed", "release"]] * 3


async def test_the_next_address_is_tried_when_one_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with rig(echo, addresses=[Address("127.0.0.1", port)]) as r, r.connect() as client:
        await client.send("x")
        assert await client.recv() == "x"
        assert [lease.said[0] for lease in r.upstreams.leases] == ["failed", "connected"]


async def test_a_service_that_says_nothing_is_504_and_one_that_talks_nonsense_502() -> None:
    answers: dict[str, bytes] = {
        "nothing": b"",
        "nonsense": b"\x00\x01\x02\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH\r\n\r\n",
        "wrong accept": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        "endless head": b"HTTP/1.1 101 x\r\n" + b"X-A: b\r\n" * 10_000,
        "hangs up": b"bye",
    }

    for name, data in answers.items():

        async def talk(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes = data
        ) -> None:
            with contextlib.suppress(OSError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"" if data == b"bye" else data)
                if data != b"bye":
                    await reader.read()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, rig(addresses=[Address("127.0.0.1", port)], connect_timeout_s=0.5) as r:
            with pytest.raises(InvalidStatus) as refused:
                await r.connect()
            assert refused.value.response.status_code == (504 if name == "nothing" else 502), name
            assert r.upstreams.leases[0].said[0] == "failed"


async def test_a_client_that_leaves_while_its_service_is_sought_ends_the_search() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, rig(addresses=[Address("127.0.0.1", port)], connect_timeout_s=60) as r:
        dialling = asyncio.create_task(r.connect(open_timeout=None).__aenter__())
        async with asyncio.timeout(30):
            while not r.upstreams.leases:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            dialling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await dialling
            await r.gone()


async def test_who_does_not_read_stops_the_other_side() -> None:
    sent = 0
    stopped = asyncio.Event()

    async def service(connection: ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionClosed):
            while True:
                sending = asyncio.create_task(connection.send(b"x" * 65536))
                done, _ = await asyncio.wait({sending}, timeout=0.5)
                if not done:
                    stopped.set()
                await sending
                sent += 1
                if sent > 2000:
                    await connection.close()

    async with rig(service) as r:
        client = await r.connect(max_queue=1, max_size=None)
        async with asyncio.timeout(20):
            await stopped.wait()
        assert sent < 1000  # what kernel buffers hold, and no more
        got = 0
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.recv()
                got += 1
        assert got == sent


async def test_a_client_that_is_silent_for_too_long_is_dropped_and_one_that_answers_pings_is_not() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def service(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()
        codes.put_nowait(connection.close_code)

    async with rig(service, ping_interval=0.2, idle_timeout=1.0) as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{r.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with r.connect() as lively:
            async with asyncio.timeout(10):
                assert await codes.get() == 1001
                data = await reader.read()
            assert b"\x89\x00" in data
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(1.5)
            pong = await lively.ping()
            async with asyncio.timeout(30):
                await pong


async def test_a_stopping_gateway_closes_both_sides() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def service(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()
        codes.put_nowait(connection.close_code)

    async with rig(service) as r, r.connect() as client:
        r.edge.drain(4202, "the gateway is stopping")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012
        async with asyncio.timeout(30):
            assert await codes.get() == 1001


async def test_a_stopping_gateway_closes_its_clients_one_by_one() -> None:
    async with rig(echo) as r:
        loop = asyncio.get_running_loop()
        clients = [await r.connect() for _ in range(24)]
        begun = loop.time()
        r.edge.drain(4202, "the gateway is stopping", 1.0)
        await clients[-1].send("still here")
        ends: list[float] = []

        async def note(client: Any) -> None:
            async with asyncio.timeout(30):
                await client.wait_closed()
            ends.append(loop.time() - begun)

        await asyncio.gather(*map(note, clients))
        assert {client.close_code for client in clients} == {1012}
        assert max(ends) - min(ends) > 0.3  # 24 of them within 0.3 s of 1.0: once in 10 ** 11 runs
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == 503


async def test_many_clients_at_once() -> None:
    async with rig(echo) as r:

        async def one(number: int) -> None:
            async with r.connect() as client:
                for turn in range(20):
                    await client.send(f"{number}:{turn}" * (turn + 1))
                    assert await client.recv() == f"{number}:{turn}" * (turn + 1)

        await asyncio.gather(*(one(number) for number in range(50)))
        assert r.passage.counts.opened == 50


async def test_a_path_that_is_not_passed_is_404() -> None:
    async with rig(echo) as r:
        with pytest.raises(InvalidStatus) as refused:
            await websockets.connect(r.url("/apple"), proxy=None)
        assert refused.value.response.status_code == 404


async def test_tls_on_both_sides(tmp_path: Path) -> None:
    seen: list[str] = []

    async def service(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers["X-Forwarded-Proto"])
        await connection.send("welcome")
        await echo(connection)

    authority = Authority(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            websockets.serve(service, "127.0.0.1", 0, ssl=server_context(authority), max_size=None)
        )
        there = Address("127.0.0.1", server.sockets[0].getsockname()[1], authority.client(), "localhost")
        r = await stack.enter_async_context(
            rig(addresses=[there], authority=authority, max_message_bytes=1 << 23)
        )
        client = await stack.enter_async_context(r.connect(ssl=authority.client(), max_size=None))
        assert await client.recv() == "welcome"
        for size in (0, 70_000, 5_000_000):
            await client.send("x" * size)
            assert await client.recv() == "x" * size
        assert seen == ["wss"]
        await client.close(3007, "done")
        assert client.close_code == 3007


async def test_a_service_whose_certificate_is_not_trusted_is_not_spoken_to(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=server_context(other)) as server:
        there = Address("127.0.0.1", server.sockets[0].getsockname()[1], authority.client(), "localhost")
        async with rig(addresses=[there]) as r:
            with pytest.raises(InvalidStatus) as refused:
                await r.connect()
            assert refused.value.response.status_code == 502
