"""A state that clients count up at once, through real gateways: no count is lost, all copies are equal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.api import post, request
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer

STATES = ("--namespace", "doc.state=true", "--namespace", "doc.history_size=20")
CHANNEL = "doc:count"
WRITERS = 4
COUNTS = 15
WAIT_S = 20.0


@pytest.fixture(params=["alone", "workers", "redis"])
def gateways(
    request: pytest.FixtureRequest, gateway_process: StartGateway, tmp_path: Path
) -> Iterator[list[GatewayProcess]]:
    if request.param == "redis":
        with RedisServer(tmp_path) as redis:
            yield [gateway_process("--broker", redis.url, *STATES) for _ in range(2)]
    else:
        workers = ("--workers", "2") if request.param == "workers" else ()
        yield [gateway_process(*workers, *STATES)]


class Counter:
    """A client that adds to a number which others change, too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch, self.version, self.n = "", -1, 0
        self.socket: ClientConnection | None = None
        self.stale = 0

    async def come(self, gateway: GatewayProcess) -> None:
        self.socket = await connect(gateway.ws_url, proxy=None)
        since = {"since": {"epoch": self.epoch, "offset": self.version}} if self.epoch else {}
        await self.say({"type": "subscribe", "channel": CHANNEL, **since})
        await self.answer()
        while not self.epoch:
            await self.hear()

    async def go(self) -> None:
        if self.socket is not None:
            await self.socket.close()

    async def say(self, command: dict[str, Any]) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps({"id": 1, **command}))

    async def hear(self) -> dict[str, Any]:
        assert self.socket is not None
        async with asyncio.timeout(WAIT_S):
            event: dict[str, Any] = json.loads(await self.socket.recv())
        if event["type"] == "state" or event.get("code") == "stale_version":
            self.epoch, self.version, self.n = (
                event["epoch"],
                event["version"],
                (event["data"] or {}).get("n", 0),
            )
        elif event["type"] == "patch" and event["version"] == self.version + 1:
            self.version, self.n = event["version"], event["patch"]["n"]
        return event

    async def answer(self) -> dict[str, Any]:
        while (event := await self.hear())["type"] not in ("reply", "error"):
            pass
        return event

    async def count(self, times: int) -> None:
        for number in range(times):
            done = False
            while not done:
                change = {"base": self.version, "epoch": self.epoch, "patch": {"n": self.n + 1}}
                key = f"{self.name}-{number}-{self.version}"
                await self.say({"type": "update", "channel": CHANNEL, "key": key, **change})
                answer = await self.answer()
                done = answer["type"] == "reply"
                assert done or answer["code"] == "stale_version", answer
                self.stale += not done


async def read_state(gateway: GatewayProcess) -> dict[str, Any]:
    _, body = await asyncio.to_thread(request, gateway.api, "GET", f"/api/channels/{CHANNEL}/state")
    state: dict[str, Any] = json.loads(body)
    return state


async def test_counts_of_many_at_once_are_all_there(gateways: list[GatewayProcess]) -> None:
    writers = [Counter(f"w{n}") for n in range(WRITERS)]
    away = Counter("away")
    clients = [*writers, away]
    try:
        for number, client in enumerate(clients):
            await client.come(gateways[number % len(gateways)])
        await away.go()
        await asyncio.gather(*(writer.count(COUNTS) for writer in writers))
        total = WRITERS * COUNTS
        for gateway in gateways:
            state = await read_state(gateway)
            assert (state["version"], state["data"]) == (total, {"n": total})
        await away.come(gateways[-1])  # too much was missed for patches
        body = {"channel": CHANNEL, "base": total, "patch": {"n": -1}}
        answer = await asyncio.to_thread(post, gateways[-1], "/api/update", body)
        assert answer["version"] == total + 1
        for client in clients:
            while client.version <= total:
                await client.hear()
            assert client.n == -1
        assert sum(writer.stale for writer in writers) > 0, "nobody was ever late: they did not write at once"
    finally:
        for client in clients:
            await client.go()
