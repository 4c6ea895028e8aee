"""WebSocket clients that nobody here wrote, behind one interface, so that one suite runs over them all.

Each class drives a library in the way in which its users do, and adds nothing of the protocol itself.
`LIBRARIES` names them; `connect` makes a connected one.  What always holds: everything waited for is bounded
by the timeout of the test that waits.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import aiohttp
import picows
import picows.websockets
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from tests.support.tls import Authority

DRIVER: Final = Path(__file__).resolve().parents[1] / "clients" / "driver.mjs"
MAX_BYTES: Final = 64 << 20
NO_STATUS: Final = 1005

Library = Literal["websockets", "aiohttp", "picows", "picows.websockets", "ws"]
LIBRARIES: Final[tuple[Library, ...]] = ("websockets", "aiohttp", "picows", "picows.websockets", "ws")
DEFLATING: Final[tuple[Library, ...]] = ("websockets", "aiohttp", "picows.websockets", "ws")
UNIX_ABLE: Final[tuple[Library, ...]] = ("websockets", "aiohttp", "ws")
FRAGMENTING: Final[tuple[Library, ...]] = ("websockets", "picows", "picows.websockets", "ws")


class Closed(NamedTuple):
    """How a connection ended, as the library tells its user."""

    code: int
    reason: str


class Client(Protocol):
    """One connection of one library.  `extensions` is the value of the handshake's answer, "" without one."""

    subprotocol: str
    extensions: str

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        """Send a text or binary message in that many frames."""

    async def receive(self) -> str | bytes:
        """Return the next message.  Raises ConnectionError when the connection is over."""

    async def ping(self, payload: bytes) -> None:
        """Send a ping, and wait for the pong with the same payload."""

    async def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; 0 sends a close frame without a code where the library can."""

    async def closed(self) -> Closed:
        """Wait until the connection is over; what is still unread is dropped."""

    async def drop(self) -> None:
        """End everything, in whatever way the library ends a connection that its user drops."""


def pieces_of(message: str | bytes, fragments: int) -> list[bytes]:
    """Cut a message's bytes into that many frames' payloads, of the same size but for the last ones."""
    data = message.encode() if isinstance(message, str) else message
    size = -(-len(data) // fragments)
    return [data[i * size : (i + 1) * size] for i in range(fragments)]


class WebsocketsClient:
    """`websockets`, and `picows.websockets`, which has the same interface."""

    def __init__(self, connection: ClientConnection, others: bool) -> None:
        self._connection = connection
        self._closed_errors = (
            picows.websockets.ConnectionClosed if others else websockets.exceptions.ConnectionClosed
        )
        self.subprotocol = connection.subprotocol or ""
        response = connection.response
        self.extensions = response.headers.get("Sec-WebSocket-Extensions", "") if response else ""

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        if fragments == 1:
            await self._connection.send(message)
        elif isinstance(message, str):
            size = -(-len(message) // fragments)
            await self._connection.send([message[i * size : (i + 1) * size] for i in range(fragments)])
        else:
            await self._connection.send(pieces_of(message, fragments))

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except self._closed_errors as error:
            raise ConnectionError(str(error)) from None

    async def ping(self, payload: bytes) -> None:
        await (await self._connection.ping(payload))

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code or 1000, reason)

    async def closed(self) -> Closed:
        try:
            while True:
                await self._connection.recv()
        except self._closed_errors:
            return Closed(self._connection.close_code or 0, self._connection.close_reason or "")

    async def drop(self) -> None:
        await self._connection.close()


class AiohttpClient:
    """`aiohttp`, with a task that reads all the time: pings are answered only while somebody does."""

    def __init__(self, session: aiohttp.ClientSession, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._connection = connection
        self._transport = connection._conn.transport if connection._conn else None
        self._messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self._reason = ""
        self._reading = asyncio.create_task(self._read())
        self.subprotocol = connection.protocol or ""
        self.extensions = connection._response.headers.get("Sec-WebSocket-Extensions", "")

    async def _read(self) -> None:
        while True:
            event = await self._connection.receive()
            if event.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                self._messages.put_nowait(event.data)
            elif event.type is aiohttp.WSMsgType.PING:
                await self._connection.pong(event.data)
            elif event.type is aiohttp.WSMsgType.PONG:
                self._pongs.put_nowait(bytes(event.data))
            else:
                if event.type is aiohttp.WSMsgType.CLOSE:
                    self._reason = event.extra or ""
                self._messages.put_nowait(None)
                return

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        assert fragments == 1, "aiohttp cannot send fragments"
        if isinstance(message, str):
            await self._connection.send_str(message)
        else:
            await self._connection.send_bytes(message)

    async def receive(self) -> str | bytes:
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
            raise ConnectionError("closed")
        return message

    async def ping(self, payload: bytes) -> None:
        await self._connection.ping(payload)
        assert await self._pongs.get() == payload

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code=code or 1000, message=reason.encode())

    async def closed(self) -> Closed:
        await self._reading
        return Closed(self._connection.close_code or 0, self._reason)

    async def drop(self) -> None:
        await self._connection.close()
        await self._reading
        await self._session.close()
        if self._transport is not None:
            self._transport.abort()  # under TLS aiohttp waits neither for the end nor for the socket
            for _ in range(5):
                await asyncio.sleep(0)


class _Listener(picows.WSListener):
    """Joins the frames that picows hands over, as its users have to do themselves."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self._kind = picows.WSMsgType.TEXT
        self._parts: list[bytes] = []

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind == picows.WSMsgType.PONG:
            self.pongs.put_nowait(frame.get_payload_as_bytes())
        elif kind == picows.WSMsgType.CLOSE:
            transport.disconnect()
        elif kind != picows.WSMsgType.PING:
            if kind != picows.WSMsgType.CONTINUATION:
                self._kind = kind
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                data = b"".join(self._parts)
                self._parts.clear()
                self.messages.put_nowait(data.decode() if self._kind == picows.WSMsgType.TEXT else data)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.messages.put_nowait(None)


class PicowsClient:
    """`picows` itself: frames, and neither compression nor subprotocols but by headers given by hand."""

    def __init__(self, transport: picows.WSTransport, listener: _Listener) -> None:
        self._transport = transport
        self._listener = listener
        headers = transport.response.headers
        self.subprotocol = headers.get("Sec-WebSocket-Protocol", "")
        self.extensions = headers.get("Sec-WebSocket-Extensions", "")

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        kind = picows.WSMsgType.TEXT if isinstance(message, str) else picows.WSMsgType.BINARY
        pieces = pieces_of(message, fragments)
        for number, piece in enumerate(pieces, 1):
            self._transport.send(kind, piece, fin=number == fragments)
            if number < fragments:
                self._transport.send_ping(b"between")
            kind = picows.WSMsgType.CONTINUATION

    async def receive(self) -> str | bytes:
        message = await self._listener.messages.get()
        if message is None:
            self._listener.messages.put_nowait(None)
            raise ConnectionError("closed")
        return message

    async def ping(self, payload: bytes) -> None:
        self._transport.send_ping(payload)
        assert await self._listener.pongs.get() == payload

    async def close(self, code: int, reason: str) -> None:
        self._transport.send_close(cast("picows.WSCloseCode", code), reason.encode())

    async def closed(self) -> Closed:
        await self._transport.wait_disconnected()
        told = self._transport.close_handshake.recv
        return Closed(int(cast(int, told.code)), told.reason or "") if told else Closed(1006, "")

    async def drop(self) -> None:
        self._transport.disconnect(graceful=False)
        await self._transport.wait_disconnected()


class NodeClient:
    """Node's `ws`, in a process of its own (`tests/clients/driver.mjs`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.subprotocol = self.extensions = ""

    async def connect(
        self, url: str, subprotocols: list[str], deflate: bool | Mapping[str, object], ca_file: str
    ) -> None:
        answer = await self._do(op="connect", url=url, protocols=subprotocols, deflate=deflate, ca=ca_file)
        self.subprotocol, self.extensions = answer["protocol"], answer["extensions"]

    async def _do(self, **command: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command, ensure_ascii=False).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        answer = json.loads(line)
        if "error" in answer:
            raise ConnectionError(answer["error"])
        return answer

    async def send(self, message: str | bytes, fragments: int = 1) -> None:
        if isinstance(message, str):
            await self._do(op="send", text=message, fragments=fragments)
        else:
            await self._do(op="send", base64=base64.b64encode(message).decode(), fragments=fragments)

    async def receive(self) -> str | bytes:
        answer = await self._do(op="receive")
        if "closed" in answer:
            raise ConnectionError("closed")
        return str(answer["text"]) if "text" in answer else base64.b64decode(answer["base64"])

    async def ping(self, payload: bytes) -> None:
        await self._do(op="ping", base64=base64.b64encode(payload).decode())

    async def close(self, code: int, reason: str) -> None:
        await self._do(op="close", code=code, reason=reason)

    async def closed(self) -> Closed:
        answer = await self._do(op="closed")
        return Closed(answer["code"], answer["reason"])

    async def drop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        await self._process.wait()


async def open_client(
    library: Library,
    url: str,
    *,
    subprotocols: tuple[str, ...] = (),
    deflate: bool = False,
    node: str = "node",
    node_deflate: Mapping[str, object] | None = None,
    auto_pong: bool = True,
    authority: Authority | None = None,
    unix_path: str = "",
) -> Client:
    """Connect.  Raises what the library raises when the handshake fails (ConnectionError for `ws`).

    `node_deflate` are options of ws's perMessageDeflate; `auto_pong` can be switched off for picows;
    `authority` is trusted for wss:; with `unix_path` the URL says only what is asked for there (UNIX_ABLE).
    """
    tls = authority.client() if authority else None
    if library == "aiohttp":
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(unix_path) if unix_path else None)
        try:
            return AiohttpClient(
                session,
                await session.ws_connect(
                    url,
                    protocols=subprotocols,
                    compress=15 if deflate else 0,
                    max_msg_size=0,
                    autoping=False,
                    ssl=tls or True,
                ),
            )
        except BaseException:
            await session.close()
            raise
    if library == "picows":
        assert not deflate
        offers = {"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else None
        transport, listener = await picows.ws_connect(
            _Listener,
            url,
            ssl_context=tls,
            extra_headers=offers,
            max_frame_size=MAX_BYTES,
            enable_auto_pong=auto_pong,
        )
        return PicowsClient(transport, cast(_Listener, listener))
    if library == "ws":
        process = await asyncio.create_subprocess_exec(
            node, str(DRIVER), stdin=-1, stdout=-1, limit=MAX_BYTES
        )
        client = NodeClient(process)
        try:
            place = f"ws+unix:{unix_path}:{urlsplit(url).path}" if unix_path else url
            compress = (node_deflate or True) if deflate else False
            ca_file = str(authority.ca_file) if authority else ""
            await client.connect(place, list(subprotocols), compress, ca_file)
        except BaseException:
            await client.drop()
            raise
        return client
    module: Any = websockets if library == "websockets" else picows.websockets
    more: dict[str, Any] = {"ssl": tls} if tls else {}
    connect = module.connect
    if unix_path:
        connect, more["path"] = websockets.unix_connect, unix_path
    connection = await connect(
        uri=url,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression="deflate" if deflate else None,
        max_size=MAX_BYTES,
        ping_interval=None,
        close_timeout=1,
        **({} if unix_path else {"proxy": None}),
        **more,
    )
    return WebsocketsClient(connection, library == "picows.websockets")


@asynccontextmanager
async def connected(library: Library, url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect, and let go of the connection at the end in any case; see `open_client`."""
    client = await open_client(library, url, **options)
    try:
        yield client
    finally:
        await client.drop()
