"""The echo service of `examples/websockets_echo` behind a gateway, as its page says; killed, and back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.process import ROOT, StartGateway
from tests.support.redis_servers import free_port, wait_until

EXAMPLE = ROOT / "examples" / "websockets_echo"


class Service:
    """The example's service as a process."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = os.environ | {"PORT": str(self.port)}
        self._process = subprocess.Popen([sys.executable, "service.py"], cwd=EXAMPLE, env=env)
        wait_until(self._listens, "the service", 30.0)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service(free_port())
    made.start()
    try:
        yield made
    finally:
        made.kill()


async def test_service_does_what_its_page_says(
    gateway_process: StartGateway, service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "ringgate.toml"
    config = (EXAMPLE / "ringgate.toml").read_text()
    file.write_text(config.replace("127.0.0.1:9000", f"127.0.0.1:{service.port}"))
    command = [sys.executable, "-m", "gateway", "token", "--config", str(file), "--user", "ada"]
    made = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True)
    gateway = await asyncio.to_thread(gateway_process, "--config", str(file))
    url = f"ws://{gateway.edge}/echo/room"
    named = f"{url}?token={made.stdout.strip()}"
    with pytest.raises(InvalidHandshake, match="401"):
        await websockets.connect(url, proxy=None)
    async with websockets.connect(named, proxy=None) as ada:
        assert await ada.recv() == "hello ada"
        await ada.send("still the same code")
        assert await ada.recv() == "still the same code"
        await asyncio.to_thread(service.kill)
        with pytest.raises(ConnectionClosed):
            await ada.recv()
        assert ada.close_code == 1012
    with pytest.raises(InvalidHandshake, match=r"50[23]"):
        await websockets.connect(named, proxy=None)
    await asyncio.to_thread(service.start)
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(InvalidHandshake):
                back = await websockets.connect(named, proxy=None)
                break
            await asyncio.sleep(0.2)
    assert await back.recv() == "hello ada"
    with contextlib.suppress(ConnectionClosed):
        for _ in range(1000):
            await back.send("too much")
    async with asyncio.timeout(30):
        await back.wait_closed()
    assert back.close_code == 1008
