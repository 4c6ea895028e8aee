"""The server on real sockets: bounds, deadlines, signals left alone, a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.broker.interface import PublishResult
from gateway.errors import UsageError
from gateway.http.app import build_app
from gateway.http.gateway_view import HttpOptions
from gateway.http.metrics import Metrics
from gateway.http.server import HttpServer, ServerLimits

from .fakes import FakeNode

HEAD = b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"channel":"a","data":[1.0 ]}'


class Served(HttpServer):
    """A server, and its port."""

    port = 0


@asynccontextmanager
async def serving(
    node: FakeNode | None = None, limits: ServerLimits | None = None, **options: Any
) -> AsyncIterator[Served]:
    node = node or FakeNode()
    chosen = HttpOptions(**{"version": "1", "max_body_bytes": 4096, **options})
    sock = socket.create_server(("127.0.0.1", 0))
    server = Served(build_app(node, chosen, Metrics(node, chosen)), sock, limits=limits)
    server.port = sock.getsockname()[1]
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def exchange(
    server: Served, *parts: bytes, delay_s: float = 0.0, answers: int = 1
) -> list[tuple[int, Any]]:
    """Send `parts`, read until so many answers came or the server closed; return status and JSON of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    received = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(delay_s)
        async with asyncio.timeout(30):
            while len(parse(received)) < answers and (data := await reader.read(65536)):
                received += data
    except ConnectionError:
        pass
    finally:
        writer.close()
    return parse(received)


def parse(received: bytes) -> list[tuple[int, Any]]:
    answers = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers.get("content-length", "0"))
        if len(rest) < size:
            break
        answers.append((status, json.loads(rest[:size]) if status != 100 else None))
        received = rest[size:]
    return answers


def only(answers: list[tuple[int, Any]]) -> tuple[int, str]:
    """The status and the error code of the one answer."""
    assert len(answers) == 1
    return answers[0][0], answers[0][1]["error"]["code"]


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def with_length(body: bytes, length: int | None = None) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


async def test_a_body_arrives_whole_however_it_is_cut() -> None:
    node = FakeNode()
    request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY[:3], BODY[3:4], BODY[4:])
    async with serving(node) as server:
        assert await exchange(server, with_length(BODY)) == [(200, {"epoch": "e1", "offset": 1})]
        assert await exchange(server, request) == [(200, {"epoch": "e1", "offset": 2})]
        bytewise = [bytes([byte]) for byte in with_length(BODY)]
        assert await exchange(server, *bytewise) == [(200, {"epoch": "e1", "offset": 3})]
    assert {call[1]["data"] for call in node.calls} == {b"[1.0 ]"}


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as server:
        answers = await exchange(server, with_length(BODY) * 3, answers=3)
    assert [body["offset"] for _, body in answers] == [1, 2, 3]


@pytest.mark.parametrize("size", [4096, 4097, 200_000])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_the_size_of_a_body_is_bounded_while_it_comes_in(size: int, is_chunked: bool) -> None:
    node = FakeNode()
    body = BODY + b" " * (size - len(BODY))
    if is_chunked:
        chunks = [body[at : at + 1000] for at in range(0, size, 1000)]
        request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(*chunks)
    else:
        request = with_length(body)
    async with serving(node) as server:
        answers = await exchange(server, request)
        if size == 4096:
            assert answers[0][0] == 200
        else:
            assert only(answers) == (413, "limit_exceeded")
            assert node.calls == []


async def test_who_asks_first_is_refused_before_sending() -> None:
    request = HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n"
    async with serving() as server:
        assert only(await exchange(server, request)) == (413, "limit_exceeded")
        polite = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        assert [status for status, _ in await exchange(server, polite, BODY, delay_s=0.05, answers=2)] == [
            100,
            200,
        ]


@pytest.mark.parametrize(
    "request_bytes",
    [
        with_length(BODY, 10),
        with_length(BODY, 0),
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1x\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Content-Length: 29\r\nContent-Length: 30\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 29\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(BODY),
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunked(BODY),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /health/live HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"\r\n\r\nnot http\r\n\r\n",
    ],
)
async def test_a_lying_or_broken_request_is_refused_and_nothing_is_published(request_bytes: bytes) -> None:
    node = FakeNode()
    async with serving(node) as server:
        answers = await exchange(server, request_bytes)
        assert answers
        assert {status for status, _ in answers} <= {400, 404}
        assert all(body["error"]["code"] == "bad_request" for _, body in answers)
        assert (await exchange(server, with_length(BODY)))[0][0] == 200
    assert len(node.calls) == 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health/live?" + b"a" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /health/live?" + b"a" * 8300 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 8000 + b"\r\n\r\n", 200),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 8300 + b"\r\n\r\n", 431),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 63 + b"\r\n", 200),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 64 + b"\r\n", 431),
        (
            b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
            + (b"X: " + b"a" * 8000 + b"\r\n") * 5
            + b"\r\n",
            431,
        ),
    ],
)
async def test_heads_are_bounded(head: bytes, status: int) -> None:
    async with serving() as server:
        answers = await exchange(server, head)
    assert [answer[0] for answer in answers] == [status]


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
async def test_an_endless_head_is_cut_off_at_its_bound(start: bytes) -> None:
    async with serving() as server:
        filler = b"a" * 1000 if start != b"GET / HTTP/1.1\r\n" else b"a: b\r\n" * 10
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(start)
        sent = 0
        try:
            while sent < 10_000_000 and not reader.at_eof():
                writer.write(filler)
                await writer.drain()
                await asyncio.sleep(0)
                sent += len(filler)
        except ConnectionError:
            pass
        writer.close()
        assert sent < 2_000_000
        assert (await exchange(server, with_length(BODY)))[0][0] == 200


@pytest.mark.parametrize("ending", [b"0\r\nX: ", b"0\r\n", b"5;"])
async def test_endless_trailers_and_chunk_extensions_are_cut_off(ending: bytes) -> None:
    filler = b"a: b\r\n" * 1000 if ending == b"0\r\n" else b"a" * 10_000
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        closing = asyncio.create_task(reader.read())
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + ending)
        sent = 0
        while sent < 20_000_000 and not closing.done():
            writer.write(filler)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0)
            sent += len(filler)
        writer.close()
        assert sent < 8_000_000
        with contextlib.suppress(ConnectionError):
            await closing


async def test_a_large_body_passes_where_it_is_allowed() -> None:
    node = FakeNode()
    body = b'{"channel":"a","data":"' + b"x" * (40 << 20) + b'"}'
    async with serving(node, max_body_bytes=64 << 20) as server:
        assert (await exchange(server, with_length(body)))[0][0] == 200
    assert len(node.calls[0][1]["data"]) == (40 << 20) + 2


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /hea",
        b"GET /health/live HTTP/1.1\r\nHost: loc",
        with_length(BODY, 100),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
async def test_a_request_that_does_not_come_is_cut_off_at_its_deadline(beginning: bytes) -> None:
    async with serving(limits=ServerLimits(request_s=0.2)) as server:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(beginning)
        async with asyncio.timeout(30):
            received = await reader.read()
        writer.close()
        assert only(parse(received)) == (408, "timeout")
        assert 0.15 < time.monotonic() - started < 2


async def test_a_trickle_does_not_move_the_deadline() -> None:
    async with serving(limits=ServerLimits(request_s=0.3)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        closing = asyncio.create_task(reader.read())
        started = time.monotonic()
        for byte in HEAD * 3:
            if closing.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert 0.2 < time.monotonic() - started < 2
        assert only(parse(await closing)) == (408, "timeout")
        writer.close()


async def test_connections_beyond_the_bound_are_refused_and_those_within_served() -> None:
    async with serving(limits=ServerLimits(connections=3)) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert only(await exchange(server, b"")) == (503, "unavailable")
        reader, writer = held[0]
        writer.write(with_length(BODY))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _, other in held:
            other.close()
        await asyncio.sleep(0.05)
        assert (await exchange(server, with_length(BODY)))[0][0] == 200


async def test_a_websocket_upgrade_is_answered_like_any_request(caplog: pytest.LogCaptureFixture) -> None:
    request = (
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    async with serving() as server:
        assert await exchange(server, request) == [(200, {"status": "ok"})]
    assert caplog.text == ""


async def test_a_load_balancer_that_speaks_http_1_0_and_names_no_host_is_answered() -> None:
    ready = (200, {"status": "ready", "details": {"broker": "ok"}})
    async with serving() as server:
        assert await exchange(server, b"GET /health/ready HTTP/1.0\r\n\r\n") == [ready]
        foreign = await exchange(server, b"GET /health/ready HTTP/1.0\r\nHost: evil.example\r\n\r\n")
        empty = await exchange(server, b"GET /health/ready HTTP/1.0\r\nHost:\r\n\r\n")
        page = await exchange(server, b"GET /api/nodes HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n")
        modern = await exchange(server, b"GET /health/ready HTTP/1.1\r\n\r\n")
    assert [only(answers)[0] for answers in (foreign, empty, page, modern)] == [403, 400, 403, 400]


async def test_answers_do_not_name_the_server() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert b"server:" not in head.lower()
    assert b"uvicorn" not in head.lower()


async def test_signals_and_global_loggers_are_left_alone() -> None:
    def on_signal(number: int, frame: object) -> None:
        raise AssertionError

    numbers = (signal.SIGINT, signal.SIGTERM)
    access = logging.getLogger("uvicorn.access")
    logger_before = (list(access.handlers), access.propagate, access.level)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        async with serving() as server:
            assert [signal.getsignal(number) for number in numbers] == [on_signal, on_signal]
            await exchange(server, with_length(BODY))
        assert [signal.getsignal(number) for number in numbers] == [on_signal, on_signal]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert (list(access.handlers), access.propagate, access.level) == logger_before


class SlowNode(FakeNode):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def publish(
        self, channel: str, data: bytes, *, binary: bool = False, key: str = "", exclude: str = ""
    ) -> PublishResult:
        await asyncio.sleep(self.seconds)
        return await super().publish(channel, data, binary=binary, key=key, exclude=exclude)


@pytest.mark.parametrize(("seconds", "answered"), [(0.2, True), (30.0, False)])
async def test_stop_finishes_what_is_in_hand_within_its_bound(
    seconds: float, answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    async with serving(SlowNode(seconds), ServerLimits(stop_s=0.6)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        idle = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(with_length(BODY))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await server.stop()
        assert time.monotonic() - started < 2
        received = await reader.read()
        assert received.startswith(b"HTTP/1.1 200" if answered else b"HTTP/1.1 504")
        assert await idle[0].read() == b""
        for end in (writer, idle[1]):
            end.close()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server.port)
    assert caplog.text == ""


async def test_stop_twice_is_fine_and_start_twice_is_not() -> None:
    async with serving() as server:
        with pytest.raises(UsageError):
            await server.start()
        await server.stop()
        await server.stop()
