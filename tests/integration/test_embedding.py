"""The gateway inside somebody's asyncio program, on uvloop and on asyncio's own loop."""

from __future__ import annotations

import asyncio
import json
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvloop
import websockets
from websockets.asyncio.client import ClientConnection

from gateway import Gateway
from gateway.errors import CommandError, ConfigError, UsageError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "embedding.py"
ANY_PORT = {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"}
T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Iterator[Run[None]]:
    """Run a coroutine on a loop of the kind in question, for at most 20 seconds."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: runner.run(asyncio.wait_for(work, 20))


def gateway_with(**server: object) -> Gateway:
    return Gateway({"server": {**ANY_PORT, **server}})


async def receive(client: ClientConnection, kind: str = "message") -> dict[str, Any]:
    """The next event of a kind."""
    async with asyncio.timeout(10):
        while (event := json.loads(await client.recv()))["type"] != kind:
            pass
    return dict(event)


async def subscribe(client: ClientConnection, channel: str) -> None:
    await client.send(json.dumps({"type": "subscribe", "id": 1, "channel": channel}))
    await receive(client, "reply")


async def expect_drain(client: ClientConnection) -> None:
    """Wait for the end of a connection to a gateway that stops."""
    await receive(client, "reconnect")
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await client.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4202


# -- the example --------------------------------------------------------------------------


def test_example_is_about_ten_lines() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines()[1:] if line.strip()]
    assert len(lines) <= 12


def test_example_as_a_program_publishes_until_it_is_interrupted() -> None:
    program = subprocess.Popen([sys.executable, EXAMPLE], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    async def listen(url: str) -> None:
        async with websockets.connect(url, proxy=None) as client:
            await subscribe(client, "clock")
            event = await receive(client)
            assert abs(event["data"]["time"] - time.time()) < 10
            program.send_signal(signal.SIGINT)
            await expect_drain(client)

    try:
        assert program.stdout
        line = program.stdout.readline().decode()
        assert line.startswith("subscribe to the channel clock at ws://127.0.0.1:")
        asyncio.run(asyncio.wait_for(listen(line.split()[-1]), 20))
        _, problems = program.communicate(timeout=10)
    finally:
        program.kill()
        program.communicate()
    assert problems.splitlines()[-1] == b"KeyboardInterrupt"
    assert program.returncode == -signal.SIGINT


def test_example_runs_on_both_loops(run: Run[None], capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]

    async def work() -> None:
        running = asyncio.ensure_future(main())
        await asyncio.sleep(0.5)
        line = capsys.readouterr().out
        async with websockets.connect(line.split()[-1], proxy=None) as client:
            await subscribe(client, "clock")
            assert "time" in (await receive(client))["data"]
            running.cancel()
            await expect_drain(client)
        with pytest.raises(asyncio.CancelledError):
            await running

    run(work())


# -- publishing ---------------------------------------------------------------------------


def test_embedded_gateway_publishes_and_serves_both_ports(run: Run[None]) -> None:
    async def work() -> None:
        async with gateway_with() as gateway, websockets.connect(gateway.ws_url, proxy=None) as client:
            await subscribe(client, "news")
            first = await gateway.publish("news", {"title": "ünïcode", "n": [1, 2.5, None]})
            second = await gateway.publish("news", b"\x00\xff")
            third = await gateway.publish("news", "text", key="k")
            assert await gateway.publish("news", "again", key="k") == third
            assert (first.offset, second.offset, third.offset) == (1, 2, 3)
            assert (await receive(client))["data"] == {"title": "ünïcode", "n": [1, 2.5, None]}
            assert (await receive(client))["data64"] == "AP8="
            assert (await receive(client))["data"] == "text"
            async with httpx.AsyncClient(base_url=gateway.api_url) as http:
                answer = await http.post("/api/publish", json={"channel": "news", "data": 4})
                assert answer.json() == {"epoch": first.epoch, "offset": 4}
                assert (await receive(client))["data"] == 4
                assert (await http.get("/health/ready")).status_code == 200

    run(work())


def test_wrong_publications_are_refused(run: Run[None]) -> None:
    async def work() -> None:
        gateway = gateway_with()
        with pytest.raises(UsageError):
            await gateway.publish("news", 1)
        async with gateway:
            with pytest.raises(CommandError, match="bad_request"):
                await gateway.publish("not a name", 1)
            with pytest.raises(CommandError, match="limit_exceeded"):
                await gateway.publish("news", "x" * 40_000)
            with pytest.raises(TypeError):
                await gateway.publish("news", object())
        with pytest.raises(UsageError):
            await gateway.publish("news", 1)

    run(work())


def test_big_messages_are_echoed_and_a_slow_reader_is_waited_for(run: Run[None]) -> None:
    async def work() -> None:
        async with (
            Gateway(
                {"server": {**ANY_PORT, "echo": True}, "websocket": {"max_message_bytes": "16MiB"}}
            ) as gateway,
            websockets.connect(
                gateway.ws_url.replace("/ws", "/echo"), proxy=None, max_size=None, max_queue=1
            ) as client,
        ):
            messages = [bytes([n]) * (1 << 20) for n in range(12)]
            sending = asyncio.gather(*(client.send(message) for message in messages))
            await asyncio.sleep(0.3)  # nobody reads: both directions fill up
            for message in messages:
                assert await client.recv() == message
            await sending

    run(work())


# -- life ---------------------------------------------------------------------------------


def test_second_start_is_refused_and_harms_nothing(run: Run[None]) -> None:
    async def work() -> None:
        async with gateway_with() as gateway:
            with pytest.raises(UsageError, match="started before"):
                await gateway.start()
            async with websockets.connect(gateway.ws_url, proxy=None) as client:
                await receive(client, "hello")

    run(work())


def test_two_starts_at_once_make_one_gateway(run: Run[None]) -> None:
    async def work() -> None:
        gateway = gateway_with()
        results = await asyncio.gather(gateway.start(), gateway.start(), return_exceptions=True)
        assert [type(result) for result in results if result] == [UsageError]
        async with websockets.connect(gateway.ws_url, proxy=None) as client:
            await receive(client, "hello")
        await gateway.stop()

    run(work())


def test_stop_can_be_called_again_at_once_and_before_any_start(run: Run[None]) -> None:
    async def work() -> None:
        gateway = gateway_with()
        await gateway.stop()
        await gateway.start()
        async with websockets.connect(gateway.ws_url, proxy=None) as client:
            await receive(client, "hello")
            await asyncio.gather(gateway.stop(), gateway.stop(), expect_drain(client))
        await gateway.stop()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await websockets.connect(gateway.ws_url, proxy=None)

    run(work())


def test_stopped_gateway_starts_anew_with_another_epoch(run: Run[None]) -> None:
    async def work() -> None:
        gateway = gateway_with()
        epochs = set()
        for _ in range(2):
            async with gateway, websockets.connect(gateway.ws_url, proxy=None) as client:
                await subscribe(client, "news")
                position = await gateway.publish("news", 1)
                assert position.offset == 1
                assert (await receive(client))["offset"] == 1
                epochs.add(position.epoch)
        assert len(epochs) == 2

    run(work())


@pytest.mark.parametrize("key", ["listen", "api_listen"])
def test_port_in_use_is_told_by_its_key_and_nothing_is_left(key: str, run: Run[None]) -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            gateway = gateway_with(**{key: address})
            with pytest.raises(ConfigError, match=rf"server\.{key}.*{address}.*in use"):
                await gateway.start()
        await gateway.start()  # the port is free now
        async with websockets.connect(gateway.ws_url, proxy=None) as client:
            await receive(client, "hello")
        await gateway.stop()

    run(work())


def test_one_port_for_both_sides_is_a_config_error(run: Run[None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    async def work() -> None:
        with pytest.raises(ConfigError, match="listen"):
            await Gateway({"server": {"listen": address, "api_listen": address}}).start()

    run(work())


def test_two_gateways_on_the_same_port_at_once_is_a_config_error_for_one(run: Run[None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    async def work() -> None:
        gateways = [gateway_with(listen=address) for _ in range(2)]
        results = await asyncio.gather(*(g.start() for g in gateways), return_exceptions=True)
        assert [type(result) for result in results if result] == [ConfigError]
        for gateway in gateways:
            await gateway.stop()

    run(work())


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"server": {"lisen": "127.0.0.1:0"}}, "lisen"),
        ({"server": {"listen": "nowhere"}}, "listen"),
        ({"sever": {}}, "sever"),
        ({"server": {"listen": "0.0.0.0:0"}}, "insecure"),
    ],
)
def test_wrong_configuration_is_told_by_its_key(mapping: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Gateway(mapping)


def test_two_gateways_live_in_one_loop_and_share_nothing(run: Run[None]) -> None:
    async def work() -> None:
        async with (
            gateway_with() as one,
            gateway_with() as other,
            websockets.connect(one.ws_url, proxy=None) as client_of_one,
            websockets.connect(other.ws_url, proxy=None) as client_of_other,
        ):
            await subscribe(client_of_one, "news")
            await subscribe(client_of_other, "news")
            await one.publish("news", "one")
            await other.publish("news", "other")
            assert (await receive(client_of_one))["data"] == "one"
            assert (await receive(client_of_other))["data"] == "other"
            await asyncio.gather(one.stop(), expect_drain(client_of_one))
            await other.publish("news", "still here")
            assert (await receive(client_of_other))["data"] == "still here"
            async with httpx.AsyncClient() as http:
                shown = (await http.get(f"{other.api_url}/metrics")).text
            assert "ringgate_handshakes_total 1.0" in shown

    run(work())
