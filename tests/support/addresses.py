"""Clients and services of a gateway at whatever address it has: HOST:PORT, or unix:/PATH."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, unix_connect

from tests.support.api import request


async def open_at(address: str, stack: AsyncExitStack, **options: Any) -> ClientConnection:
    """Connect to HOST:PORT or unix:/PATH, and take the hello."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        client = await stack.enter_async_context(unix_connect(path, "ws://localhost/ws", **options))
    else:
        scheme = "wss" if "ssl" in options else "ws"
        client = await stack.enter_async_context(
            websockets.connect(f"{scheme}://{address}/ws", proxy=None, **options)
        )
    assert json.loads(await client.recv())["type"] == "hello"
    return client


async def ask(client: ClientConnection, kind: str, **fields: object) -> dict[str, Any]:
    await client.send(json.dumps({"type": kind, "id": 1, **fields}))
    while (event := dict(json.loads(await client.recv()))).get("id") != 1:
        pass
    return event


async def next_message(client: ClientConnection) -> Any:
    while (event := json.loads(await client.recv()))["type"] != "message":
        pass
    return event["data"]


async def close_code(client: ClientConnection) -> int | None:
    """Read to the end; return the code that the connection was closed with."""
    with contextlib.suppress(websockets.ConnectionClosed):
        async for _ in client:
            pass
    return client.close_code


class UnixHttp(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


def http_at(address: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Send a request to HOST:PORT or unix:/PATH; return status and JSON."""
    data = json.dumps(body).encode() if body is not None else None
    sent = {"Content-Type": "application/json"} | headers
    if not address.startswith("unix:"):
        status, answer = request(address, method, path, data, sent)
        return status, json.loads(answer)
    connection = UnixHttp(address.removeprefix("unix:"))
    try:
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
