"""`ringgate subscribe`, as a process of its own, against small fake gateways."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.cli import main

HELLO = '{"type":"hello","client":"c1","session":"s1","user":"","ping":30}'
REPLY = '{"type":"reply","id":1,"channel":"news","epoch":"x1","offset":15,"recovered":true}'
MESSAGE = '{"type":"message","channel":"news","offset":16,"id":"i-16","data":{"a":1},"time":1}'
PATIENCE_S = 15.0

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def fake_gateway(handler: Handler) -> AsyncIterator[str]:
    async with serve(
        handler, "127.0.0.1", 0, subprotocols=[Subprotocol("ringgate.v1.json")], ping_interval=None
    ) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def start(*arguments: str, stdout: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "subscribe",
        *arguments,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Return exit status, output and errors of a process that ends by itself."""
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    return process.returncode or 0, (output or b"").decode(), errors.decode()


async def outcome(handler: Handler, *arguments: str) -> tuple[int, str, str]:
    async with fake_gateway(handler) as url:
        return await finish(await start(*arguments, "--url", url))


def read_line(process: asyncio.subprocess.Process) -> Awaitable[bytes]:
    assert process.stdout is not None
    return asyncio.wait_for(process.stdout.readline(), PATIENCE_S)


async def greet(peer: ServerConnection) -> dict[str, object]:
    await peer.send(HELLO)
    command: dict[str, object] = json.loads(await peer.recv())
    await peer.send(REPLY)
    return command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_subscribe_prints_events_as_they_come_and_closes_properly_on_a_signal(
    number: signal.Signals,
) -> None:
    commands: list[object] = []
    closed: list[object] = []
    go_on = asyncio.Event()

    async def handler(peer: ServerConnection) -> None:
        commands.append((peer.request.path if peer.request else "", peer.subprotocol, await greet(peer)))
        await go_on.wait()
        await peer.send(MESSAGE)
        await (await peer.ping())
        await peer.wait_closed()
        closed.append(peer.close_code)

    async with fake_gateway(handler) as url:
        process = await start("news", "--url", url)
        assert await read_line(process) == HELLO.encode() + b"\n"
        assert await read_line(process) == REPLY.encode() + b"\n"
        go_on.set()
        assert await read_line(process) == MESSAGE.encode() + b"\n"
        await asyncio.sleep(0.1)
        process.send_signal(number)
        assert await finish(process) == (0, "", "")
    assert commands == [("/ws", "ringgate.v1.json", {"type": "subscribe", "id": 1, "channel": "news"})]
    assert closed == [1000]


async def test_subscribe_sends_every_channel_the_token_and_the_position() -> None:
    seen: list[object] = []

    async def handler(peer: ServerConnection) -> None:
        assert peer.request is not None
        seen.append((peer.request.path, peer.request.headers.get("Authorization")))
        await peer.send(HELLO)
        seen.append(json.loads(await peer.recv()))
        if "two" in peer.request.path:
            seen.append(json.loads(await peer.recv()))
        await peer.close()

    async with fake_gateway(handler) as url:
        status, _, errors = await finish(
            await start("a:1", "--once", "--url", f"{url}/x?y=z", "--token", "tok", "--since", "x:1:12")
        )
        assert (status, errors) == (0, "")
        await finish(await start("a", "b", "--once", "--url", f"{url}/two"))
    assert seen == [
        ("/x?y=z", "Bearer tok"),
        {"type": "subscribe", "id": 1, "channel": "a:1", "since": {"epoch": "x:1", "offset": 12}},
        ("/two", None),
        {"type": "subscribe", "id": 1, "channel": "a"},
        {"type": "subscribe", "id": 2, "channel": "b"},
    ]


async def test_event_with_line_breaks_is_printed_as_one_harmless_line_of_the_same_json() -> None:
    event = '{"type":"message",\r\n"channel":"news","offset":16,"id":"i","time":1,'
    event += '"data":{\n "a": "é\u0085\u2028\u009b\x7f",\n "b": 1.0}}'

    async def handler(peer: ServerConnection) -> None:
        await greet(peer)
        await peer.send(event)
        await peer.close()

    status, output, errors = await outcome(handler, "news", "--once")
    assert (status, errors) == (0, "")
    lines = output.split("\n")
    assert len(lines) == 4
    assert lines[2].isprintable()
    assert "é" in lines[2]
    assert '"b": 1.0' in lines[2]
    assert json.loads(lines[2]) == json.loads(event)


async def test_large_event_in_many_fragments_is_printed_whole() -> None:
    fields = {"type": "message", "channel": "news", "offset": 16, "id": "i", "data": "é" * 200_000, "time": 1}
    event = json.dumps(fields, ensure_ascii=False)

    async def handler(peer: ServerConnection) -> None:
        await greet(peer)
        await peer.send(event[index : index + 5000] for index in range(0, len(event), 5000))
        await peer.close()

    _, output, _ = await outcome(handler, "news", "--once")
    assert output.split("\n")[2] == event


async def test_refused_subscription_ends_with_1_and_the_reason() -> None:
    error = '{"type":"error","id":1,"code":"permission_denied","message":"no\\n","retry":false}'

    async def handler(peer: ServerConnection) -> None:
        await peer.send(HELLO)
        await peer.recv()
        await peer.send(error)
        await peer.wait_closed()

    status, output, errors = await outcome(handler, "news", "--once")
    assert (status, output) == (1, f"{HELLO}\n{error}\n")
    assert errors == "ringgate: the gateway refused to subscribe to news: permission_denied: no\\n\n"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (4202, "drain", "4202 drain; --since x1:16 resumes"),
        (4999, "why\u202e", "4999, why\\u202e; --since x1:16 resumes"),
        (1001, "", "1001 going_away; --since x1:16 resumes"),
    ],
)
async def test_close_by_the_gateway_ends_with_1_its_code_and_how_to_resume(
    code: int, reason: str, expected: str
) -> None:
    async def handler(peer: ServerConnection) -> None:
        await greet(peer)
        await peer.send(MESSAGE)
        await peer.close(code, reason)

    status, _, errors = await outcome(handler, "news", "--once")
    assert status == 1
    assert errors == f"ringgate: the gateway closed the connection: {expected}\n"


async def test_lost_connection_ends_with_1() -> None:
    async def handler(peer: ServerConnection) -> None:
        await greet(peer)
        peer.transport.close()

    status, _, errors = await outcome(handler, "news", "--once")
    assert (status, errors) == (1, "ringgate: the connection was lost; --since x1:15 resumes\n")


@pytest.mark.parametrize("ping", ["1", "0.25"])
async def test_gateway_that_falls_silent_ends_with_1(ping: str) -> None:
    async def handler(peer: ServerConnection) -> None:
        await peer.send(HELLO.replace("30", ping))
        await peer.wait_closed()

    status, _, errors = await outcome(handler, "news", "--once")
    assert status == 1
    assert errors == "ringgate: nothing was heard from the gateway\n"


@pytest.mark.parametrize("text", ["nonsense", "[]", '"x"', "[" * 100_000])
async def test_text_that_is_no_event_ends_with_1(text: str) -> None:
    async def handler(peer: ServerConnection) -> None:
        await peer.send(text)
        await peer.wait_closed()

    status, output, errors = await outcome(handler, "news", "--once")
    assert (status, output) == (1, "")
    assert "something that is not an event" in errors


async def test_lost_connection_is_made_again_and_the_channel_goes_on_where_it_stopped() -> None:
    commands: list[object] = []

    async def handler(peer: ServerConnection) -> None:
        commands.append(await greet(peer))
        await peer.send(MESSAGE)
        if len(commands) == 1:
            await peer.close(4200)
        await peer.wait_closed()

    async with fake_gateway(handler) as url:
        process = await start("news", "--url", url)
        lines = [json.loads(await read_line(process))["type"] for _ in range(6)]
        process.send_signal(signal.SIGTERM)
        assert await finish(process) == (0, "", "")
    assert lines == ["hello", "reply", "message"] * 2
    assert commands[1] == {
        "type": "subscribe",
        "id": 2,
        "channel": "news",
        "since": {"epoch": "x1", "offset": 16, "clients": ["c1"], "id": "i-16"},
    }


async def test_gateway_that_refuses_for_good_ends_it_with_1() -> None:
    async def handler(peer: ServerConnection) -> None:
        await greet(peer)
        await peer.close(4004, "go")

    status, _, errors = await outcome(handler, "news")
    assert status == 1
    assert "4004 disconnected, go; --since x1:15 resumes" in errors


async def test_output_nobody_reads_ends_quietly_with_a_close_frame() -> None:
    closed: list[object] = []

    async def handler(peer: ServerConnection) -> None:
        try:
            await greet(peer)
            await peer.wait_closed()
        except ConnectionClosed:
            pass
        closed.append(peer.close_code)

    reading, writing = os.pipe()
    os.close(reading)
    async with fake_gateway(handler) as url:
        process = await start("news", "--url", url, stdout=writing)
        os.close(writing)
        assert await finish(process) == (0, "", "")
    assert closed == [1000]


async def raw_outcome(answer: bytes, *, then_close: bool = True) -> tuple[int, str, str]:
    """Return what becomes of a subscriber whose handshake is answered with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if then_close:
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        return await finish(await start("news", "--url", url, "--timeout", "500ms"))
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno \x1b[2J",
            "refused the connection: HTTP 403, no \\x1b",
        ),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "refused the connection: HTTP 503"),
        (b"", "closed the connection in the handshake"),
        (b"SSH-2.0-x\r\n\r\n", "no WebSocket server"),
        (b"HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "no WebSocket server"),
    ],
)
async def test_failed_handshake_ends_with_1_and_the_reason(answer: bytes, expected: str) -> None:
    status, output, errors = await raw_outcome(answer)
    assert (status, output) == (1, "")
    assert expected in errors
    assert errors.count("\n") == 1
    assert errors.rstrip("\n").isprintable()


async def test_handshake_that_is_not_answered_ends_in_time() -> None:
    status, _, errors = await raw_outcome(b"", then_close=False)
    assert status == 1
    assert "no connection in time" in errors


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["subscribe", *arguments]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["news", "--url", "ws://127.0.0.1:1/ws"], "is `ringgate serve` running?"),
        (["news", "--url", "http://127.0.0.1"], "allowed: ws://HOST:PORT or wss://HOST:PORT"),
        (["a b"], '"a b" is not the name of a channel'),
        (["a", "b", "--since", "x:1"], "--since is a position of one channel"),
        (["a", "--since", "x1"], '--since is "x1"; allowed: EPOCH:OFFSET'),
        (["a", "--since", "x:-1"], "allowed: EPOCH:OFFSET"),
        (["a", "--since", ":1"], "allowed: EPOCH:OFFSET"),
        (["a", "--token", "x\r\ny"], "--token: a secret is"),
        (["a", "--timeout", "x"], '--timeout is "x"'),
    ],
)
def test_subscribe_with_wrong_arguments_says_what_is_allowed(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in error_of(arguments, capsys)


def test_subscribe_reads_the_token_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot read" in error_of(["news", "--token", f"file:{tmp_path}/none"], capsys)
