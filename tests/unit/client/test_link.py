"""A client's connection against servers that do what they should not: it ends, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from wsproto.utilities import generate_accept_token

from gateway._encode import encode_close, encode_frame
from gateway._frames import Decoder
from gateway.client.dialing import dial, read_url, request_for
from gateway.client.link import Link
from gateway.errors import UsageError

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Owner:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.lost: list[tuple[int, str, float]] = []
        self.heard = 0
        self.changed = asyncio.Event()

    def link_heard(self, link: Link) -> None:
        self.heard += 1
        self.changed.set()

    def link_message(self, link: Link, message: bytes) -> None:
        self.messages.append(message)

    def link_lost(self, link: Link, code: int, reason: str, wait_s: float) -> None:
        self.lost.append((code, reason, wait_s))
        self.changed.set()


@asynccontextmanager
async def connected(serve: Server, **bounds: int) -> AsyncIterator[tuple[Link, Owner]]:
    """Connect to a server that does `serve`; everything is closed in the end."""
    served: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = read_url(f"ws://127.0.0.1:{port}")
    owner = Owner()
    link = Link(
        owner,
        request_for(address, "ringgate.v1.json", "tok"),
        opcode=1,
        max_message_bytes=bounds.get("max_message_bytes", 1 << 20),
        close_timeout_s=0.2,
    )
    try:
        await dial(link, address, None)
        yield link, owner
    finally:
        link.drop(1000)
        async with asyncio.timeout(30):
            await link.ended
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def answer(head: str, extra: str = "") -> bytes:
    """Return the answer that lets a client in."""
    lines = dict(line.split(": ", 1) for line in head.lower().split("\r\n") if ": " in line)
    key = next(line.split(": ", 1)[1] for line in head.split("\r\n") if "sec-websocket-key" in line.lower())
    assert lines["authorization"] == "bearer tok"
    accept = generate_accept_token(key.encode()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
    ).encode()


PROTOCOL = "Sec-WebSocket-Protocol: ringgate.v1.json\r\n"


def says(*frames: bytes, extra: str = PROTOCOL) -> Server:
    """Let a client in, and send frames with the very head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await head_of(reader), extra) + b"".join(frames))

    return serve


def answers(text: str) -> Server:
    """Answer the handshake with this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(text.encode())
        writer.close()

    return serve


async def end_of(owner: Owner) -> tuple[int, str, float]:
    async with asyncio.timeout(30):
        while not owner.lost:
            owner.changed.clear()
            await owner.changed.wait()
    assert len(owner.lost) == 1
    return owner.lost[0]


async def test_frames_behind_the_head_and_in_any_pieces_are_messages() -> None:
    frames = encode_frame(1, b"one") + encode_frame(9, b"?") + encode_frame(1, "zw\u00f6lf".encode())
    pongs: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in answer(await head_of(reader), PROTOCOL) + frames:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        decoder = Decoder(max_message_bytes=100, max_fragments=9)
        while not pongs:
            pongs.extend(event.payload for event in decoder.receive(await reader.read(100)))
        writer.write(encode_close(4200, "slow"))

    async with connected(serve) as (_, owner):
        assert await end_of(owner) == (4200, "slow", 0.0)
        assert owner.messages == [b"one", "zw\u00f6lf".encode()]
        assert pongs == [b"?"]


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nno ok", 401, "HTTP 401, no ok"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, "HTTP 403"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "HTTP 200"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", 1006, "no WebSocket server"),
        ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 1006, "no WebSocket server"),
        ("x" * 40_000, 1006, "too large"),
        ("HTTP/1.1 101 Switching", 1006, "closed the connection in the handshake"),
        ("", 1006, "connection"),
    ],
)
async def test_answer_that_does_not_let_in_is_told(text: str, code: int, part: str) -> None:
    async with connected(answers(text)) as (_, owner):
        told, reason, wait_s = await end_of(owner)
        assert (told, wait_s) == (code, 0.0)
        assert part in reason


async def test_gateway_that_is_full_says_how_long_to_stay_away() -> None:
    head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with connected(answers(head)) as (_, owner):
        assert (await end_of(owner))[::2] == (503, 7.0)


@pytest.mark.parametrize(
    ("frame", "part"),
    [
        (encode_frame(1, b"x", mask=b"abcd"), "masking"),
        (encode_frame(2, b"x"), "another encoding"),
        (encode_frame(1, b"x" * 2000), "too big"),
        (encode_frame(1, b"\xff"), "UTF-8"),
        (b"\x83\x00", "opcode"),
    ],
)
async def test_frame_that_breaks_a_rule_ends_the_connection(frame: bytes, part: str) -> None:
    async with connected(says(frame, encode_frame(1, b"late")), max_message_bytes=1000) as (_, owner):
        code, reason, _ = await end_of(owner)
        assert code == 1006
        assert part in reason
        assert owner.messages == []


async def test_connection_that_ends_without_a_word_is_lost() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(await head_of(reader), PROTOCOL) + encode_frame(1, b"one")[:2])
        await writer.drain()
        writer.transport.abort()

    async with connected(serve) as (_, owner):
        assert (await end_of(owner))[0] == 1006


async def test_server_that_does_not_answer_a_close_frame_is_not_waited_for_for_ever() -> None:
    async with connected(says(encode_frame(1, b"one"))) as (link, owner):
        while not owner.messages:
            owner.changed.clear()
            await owner.changed.wait()
        link.drop(1000)
        link.drop(1000)
        link.send(b"into the void")
        async with asyncio.timeout(30):
            await link.ended
        assert owner.lost == []


async def test_server_without_a_subprotocol_speaks_json() -> None:
    async with connected(says(encode_frame(1, b"one"), encode_close(1000), extra="")) as (_, owner):
        assert (await end_of(owner))[0] == 1000
        assert owner.messages == [b"one"]


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "target", "authority"),
    [
        ("ws://gw", "gw", 80, False, "/ws", "gw"),
        ("wss://gw/", "gw", 443, True, "/", "gw"),
        ("ws://gw:8000/x?a=b#f", "gw", 8000, False, "/x?a=b", "gw:8000"),
        ("wss://[::1]:1/ws", "::1", 1, True, "/ws", "[::1]:1"),
    ],
)
def test_url_is_taken_apart(
    url: str, host: str, port: int, secure: bool, target: str, authority: str
) -> None:
    address = read_url(url)
    assert (address.host, address.port, address.secure, address.target) == (host, port, secure, target)
    assert address.authority == authority


@pytest.mark.parametrize(
    "url",
    ["", "gw", "http://gw", "ws://", "ws://u:p@gw/", "ws://gw:x/", "ws://g\u00f6/", "ws://gw/a b", "ws://[/"],
)
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="URL"):
        read_url(url)
