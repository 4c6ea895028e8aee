"""The whole gateway inside a program: start, stop, and what is left when either goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
import websockets

from gateway import Gateway, closecodes
from gateway.errors import CommandError, ConfigError, UsageError
from gateway.http.server import HttpServer

ANY_PORT = {"server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0", "shutdown_timeout": "2s"}}


async def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].removesuffix("/ws"))


async def test_publication_of_the_program_reaches_a_client() -> None:
    async with Gateway(ANY_PORT) as gateway, websockets.connect(gateway.ws_url) as client:
        assert json.loads(await client.recv())["type"] == "hello"
        await client.send('{"type":"subscribe","id":1,"channel":"news"}')
        await client.recv()
        first = await gateway.publish("news", {"n": 1})
        second = await gateway.publish("news", b"\x00")
        assert (first.offset, second.offset) == (1, 2)
        events = [json.loads(await client.recv()) for _ in range(3)]
        assert [e.get("data", e.get("data64")) for e in events if e["type"] != "join"] == [{"n": 1}, "AA=="]
        with pytest.raises(CommandError):
            await gateway.publish("no such name", 1)


async def test_stop_tells_clients_to_come_back_and_closes_both_ports() -> None:
    gateway = Gateway(ANY_PORT)
    await gateway.start()
    async with websockets.connect(gateway.ws_url) as client:
        await client.recv()
        ports = port_of(gateway.ws_url), port_of(gateway.api_url)
        assert [await answers(port) for port in ports] == [True, True]
        stopping = asyncio.create_task(gateway.stop())
        event = json.loads(await client.recv())
        assert (event["type"], event["reason"]) == ("reconnect", "drain")
        with pytest.raises(websockets.ConnectionClosed):
            await client.recv()
        assert client.close_code == closecodes.DRAIN
        await stopping
    assert [await answers(port) for port in ports] == [False, False]
    await gateway.stop()
    with pytest.raises(UsageError):
        await gateway.publish("news", 1)


async def test_client_that_does_not_answer_cannot_hold_the_stop_up() -> None:
    gateway = Gateway({"server": {**ANY_PORT["server"], "shutdown_timeout": "100ms"}})
    await gateway.start()
    with socket.create_connection(("127.0.0.1", port_of(gateway.ws_url))):
        await asyncio.sleep(0.05)
        async with asyncio.timeout(8):  # less than it would wait for a client by itself
            await gateway.stop()


async def test_gateway_can_be_started_once_and_again_after_its_stop() -> None:
    gateway = Gateway(ANY_PORT)
    async with gateway:
        with pytest.raises(UsageError):
            await gateway.start()
        assert (await gateway.publish("news", 1)).offset == 1
    async with gateway:
        assert (await gateway.publish("news", 1)).offset == 1


@pytest.mark.parametrize("key", ["listen", "api_listen"])
async def test_port_that_is_taken_is_named_and_nothing_is_left(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = Gateway({"server": {**ANY_PORT["server"], key: f"127.0.0.1:{taken.getsockname()[1]}"}})
        with pytest.raises(ConfigError, match=f"server.{key}: cannot listen"):
            await gateway.start()
    await gateway.start()  # nothing of the first try is in the way
    await gateway.stop()


async def test_start_that_fails_half_way_leaves_no_port_and_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(self: HttpServer) -> None:
        raise RuntimeError("no")

    gateway = Gateway(ANY_PORT)
    with monkeypatch.context() as patch:
        patch.setattr(HttpServer, "start", start)
        with pytest.raises(RuntimeError, match="no"):
            await gateway.start()
    assert [await answers(port_of(url)) for url in (gateway.ws_url, gateway.api_url)] == [False, False]
    await gateway.start()
    await gateway.stop()
