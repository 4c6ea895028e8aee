"""The Flask service of `examples/` beside a gateway, started as its page says, on ports of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.process import ROOT, GatewayProcess, StartGateway
from tests.support.redis_servers import free_port, wait_until

FOLDER = ROOT / "examples" / "flask_grip"


class Kitchen:
    """The service as its page starts it, on a port of its own, and the gateway in front of it."""

    def __init__(self, folder: Path) -> None:
        self.port, self._api_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = folder / "ringgate.toml"
        configured = (FOLDER / "ringgate.toml").read_text()
        self._config.write_text(configured.replace("127.0.0.1:9000", f"127.0.0.1:{self.port}"))
        (line,) = re.findall(r"^    (flask .*?)\s+#", (FOLDER / "README.md").read_text(), re.MULTILINE)
        self._command = [sys.executable, "-m", *line.replace("9000", str(self.port)).split()]
        self._service: subprocess.Popen[bytes] | None = None

    def start_service(self) -> None:
        env = os.environ | {"RINGGATE_API": f"http://127.0.0.1:{self._api_port}"}
        self._service = subprocess.Popen(self._command, cwd=FOLDER, env=env, stderr=subprocess.DEVNULL)
        wait_until(lambda: _listens(self.port), "the service", 30.0)

    def start_gateway(self, start: StartGateway) -> GatewayProcess:
        flags = ("--config", str(self._config), "--api-listen", f"127.0.0.1:{self._api_port}")
        return start(*flags, "--grip-patience", "60s")

    def end_service(self, sig: signal.Signals) -> None:
        if self._service is not None:
            self._service.send_signal(sig)
            self._service.wait(20)


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path)
    made.start_service()
    try:
        yield made
    finally:
        made.end_service(signal.SIGTERM)


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    except httpx.ConnectError:
        return False


async def test_service_does_what_its_page_says_also_after_it_was_killed(
    kitchen: Kitchen, gateway_process: StartGateway
) -> None:
    gateway = await asyncio.to_thread(kitchen.start_gateway, gateway_process)
    url = f"ws://{gateway.edge}/chat/kitchen?name="
    async with asyncio.timeout(120), httpx.AsyncClient(base_url=kitchen.url) as http:
        async with connect(url + "ada", proxy=None) as ada:
            assert await ada.recv() == "welcome to kitchen, ada"
            async with connect(url + "bob", proxy=None) as bob:
                heard = [await ada.recv()]
                while heard[-1] != "bob is here":  # perhaps she hears of herself, too
                    heard.append(await ada.recv())
                assert await bob.recv() == "welcome to kitchen, bob"
                await ada.send("hello")
                assert await ada.recv() == "ada: hello"
                while await bob.recv() != "ada: hello":
                    pass
                await bob.send("/leave")
                assert await bob.recv() == "you hear nothing more"
                await http.post("/announce/kitchen", content="dinner is ready")
                assert await ada.recv() == "dinner is ready"
                await http.post("/close/kitchen")
                with pytest.raises(ConnectionClosed):
                    await ada.recv()
                assert (ada.close_code, ada.close_reason) == (1000, "closed")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(bob.recv(), 0.2)
        async with connect(url + "eve", proxy=None) as eve:
            assert await eve.recv() == "welcome to kitchen, eve"
            rude = await connect(url + "rude", proxy=None)
            assert await rude.recv() == "welcome to kitchen, rude"
            rude.transport.abort()
            while await eve.recv() != "rude is gone":
                pass
            await asyncio.to_thread(kitchen.end_service, signal.SIGKILL)
            await eve.send("hello, hello?")
            await asyncio.to_thread(kitchen.start_service)
            while await eve.recv() != "eve: hello, hello?":
                pass
        forged = await http.post("/chat/kitchen", content="OPEN\r\n", headers={"Connection-Id": "x"})
        assert forged.status_code == 403
        items = {"items": [{"channel": "kitchen", "ws-message": {"content": "spam"}}]}
        assert (await http.post(f"{gateway.api_url}/publish/", json=items)).status_code == 401
