"""The services of `examples/` beside a gateway, started as their pages say, on ports of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.process import ROOT, GatewayProcess, StartGateway
from tests.support.redis_servers import free_port, wait_until
from tests.support.waiting import until

EXAMPLES = ROOT / "examples"
NPM = ROOT / "tests" / "clients" / "node_modules"


class Example:
    """A service as a process, and the gateway in front of it."""

    def __init__(self, folder: Path, start: StartGateway) -> None:
        self.port = free_port()
        self.api_port = free_port()
        config = (folder / "ringgate.toml").read_text().replace("127.0.0.1:9000", f"127.0.0.1:{self.port}")
        self._start, self._config, self._folder = start, config, folder
        self._service: subprocess.Popen[bytes] | None = None

    def run(self, command: list[str], tmp_path: Path) -> GatewayProcess:
        """Start both; return the gateway."""
        api = f"http://127.0.0.1:{self.api_port}"
        env = {"RINGGATE_API": api, "PORT": str(self.port), "NODE_PATH": str(NPM)}
        file = tmp_path / "ringgate.toml"
        file.write_text(self._config)
        self._service = subprocess.Popen(command, cwd=self._folder, env=os.environ | env)
        wait_until(self._listens, "the service", 30.0)
        flags = ("--config", str(file), "--hooks-vacated-after", "200ms")
        return self._start(*flags, "--api-listen", f"127.0.0.1:{self.api_port}")

    def _listens(self) -> bool:
        try:
            return httpx.get(f"{self.url}/rooms").status_code == 200
        except httpx.ConnectError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self._service is not None:
            self._service.send_signal(signal.SIGTERM)
            self._service.wait(20)


@pytest.fixture(params=["fastapi_service", "express_service"])
def example(
    request: pytest.FixtureRequest, gateway_process: StartGateway, tmp_path: Path
) -> Iterator[tuple[Example, GatewayProcess]]:
    made = Example(EXAMPLES / request.param, gateway_process)
    if request.param == "fastapi_service":
        command = [sys.executable, "-m", "uvicorn", "service:app", "--log-level", "warning"]
        command += ["--port", str(made.port)]
    else:
        command = [request.getfixturevalue("node"), "service.js"]
    try:
        yield made, made.run(command, tmp_path)
    finally:
        made.stop()


async def ask(client: ClientConnection, **command: Any) -> dict[str, Any]:
    await client.send(json.dumps({"id": 1, **command}))
    return await event_of(client, "reply", "error")


async def event_of(client: ClientConnection, *types: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            event: dict[str, Any] = json.loads(await client.recv())
            if event["type"] in types:
                return event


async def test_service_does_what_its_page_says(example: tuple[Example, GatewayProcess]) -> None:
    service, gateway = example
    async with connect(f"{gateway.ws_url}?user=ada") as ada, httpx.AsyncClient(base_url=service.url) as http:
        await ask(ada, type="subscribe", channel="orders")
        await ask(ada, type="subscribe", channel="chat:1")
        await ada.send('{"type":"call","id":7,"method":"order.place","payload":{"item":"tea"}}')
        events = [await event_of(ada, "message", "reply") for _ in range(2)]
        (message,) = [event for event in events if event["type"] == "message"]
        (reply,) = [event for event in events if event["type"] == "reply"]
        assert (message["channel"], message["data"]) == ("orders", {"number": 1, "item": "tea"})
        assert reply == {"type": "reply", "id": 7, "payload": {"number": 1}}
        refused = await ask(ada, type="call", method="order.eat")
        assert (refused["code"], refused["message"]) == ("bad_request", "there is only order.place")
        refused = await ask(ada, type="publish", channel="chat:1", data={"text": "spam"})
        assert (refused["code"], refused["message"]) == ("permission_denied", "no spam here")
        await ada.send('{"type":"publish","channel":"chat:1","data":{"text":" hello "}}')
        assert (await event_of(ada, "message"))["data"] == {"text": "hello", "by": "ada"}

        async def rooms() -> list[str]:
            found: list[str] = (await http.get("/rooms")).json()
            return found

        async def are_known() -> bool:
            return await rooms() == ["@ada", "chat:1", "orders"]

        await until(are_known)
        await ada.close()

        async def are_empty() -> bool:
            return await rooms() == []

        await until(are_empty)
        forged = {"webhook-id": "q_1", "webhook-timestamp": "1764000000", "webhook-signature": "v1,AAAA"}
        assert (
            await http.post("/hooks/call", json={"method": "order.place"}, headers=forged)
        ).status_code == 401
