"""Plays the examples of a document against a real gateway and compares what happens with what is written.

An example is a fenced block that is opened by "```text replay".  Its lines:

    ada connects to /ws?user=ada        a client of that name connects
    ada > {...}                         it sends this
    ada < {...}                         it is sent this, and nothing before it
    ada leaves                          it closes its connection
    ada is closed with 4004             the gateway closes its connection
    http > POST /api/publish {...}      an app service asks (a GET has no body)
    http < 200 {...}                    and is answered
    the gateway stops                   begins to

Values that differ from run to run (ids, sessions, epochs) stand for the ones of this run from where they
first appear; times are compared as numbers.  Everything else has to be as it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway import Gateway

WAIT_S = 25.0
_BLOCK = re.compile(r"^```text replay\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CHANGING = {"client", "session", "epoch"}
_LOOPBACK = {
    "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"},
    "namespace": {"board": {"state": True, "join_leave": False}},
}


def examples(document: str) -> list[str]:
    """Return the examples of a document, in order."""
    return _BLOCK.findall(document)


class Replay:
    """One run of one example.  `known` maps what is written to what it stands for in this run."""

    def __init__(self, gateway: Gateway, http: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.http = http
        self.clients: dict[str, ClientConnection] = {}
        self.known: dict[str, str] = {}
        self.answer: httpx.Response | None = None
        self.stopping: asyncio.Task[None] | None = None

    async def play(self, line: str) -> None:
        """Do what a line says, or check that it happened.  Raises AssertionError when it did not."""
        if line == "the gateway stops":
            self.stopping = asyncio.create_task(self.gateway.stop())
        elif " connects to " in line:
            name, path = line.split(" connects to ")
            url = self.gateway.ws_url.removesuffix("/ws") + path
            self.clients[name] = await connect(url, proxy=None)
        elif line.endswith(" leaves"):
            await self.clients.pop(line.removesuffix(" leaves")).close()
        elif " is closed with " in line:
            name, code = line.split(" is closed with ")
            await self._expect_close(self.clients.pop(name), int(code))
        elif match := re.fullmatch(r"(\w+) ([<>]) (.*)", line):
            await self._say_or_hear(*match.groups())
        else:
            raise AssertionError(f"this line is not understood: {line}")

    async def _say_or_hear(self, name: str, arrow: str, what: str) -> None:
        if name == "http" and arrow == ">":
            method, path, body = [*self._actual(what).split(" ", 2), ""][:3]
            headers = {"content-type": "application/json"}
            self.answer = await self.http.request(method, path, content=body, headers=headers)
        elif name == "http":
            assert self.answer is not None, "an answer without a request"
            status, body = what.split(" ", 1)
            assert self.answer.status_code == int(status), self.answer.text
            self.compare(json.loads(body), self.answer.json())
        elif arrow == ">":
            await self.clients[name].send(self._actual(what))
        else:
            async with asyncio.timeout(WAIT_S):
                heard = await self.clients[name].recv()
            self.compare(json.loads(what), json.loads(heard))

    async def _expect_close(self, client: ClientConnection, code: int) -> None:
        heard: object = None
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(WAIT_S):
                heard = await client.recv()
        assert heard is None, f"a message came before the close frame: {heard!r}"
        await client.wait_closed()
        assert client.close_code == code

    def _actual(self, text: str) -> str:
        for written, real in self.known.items():
            text = text.replace(written, real)
        return text

    def compare(self, written: Any, real: Any, key: str = "") -> None:
        """Raise AssertionError unless `real` is what is written, but for what changes from run to run."""
        if isinstance(written, dict) and isinstance(real, dict):
            assert list(written) == list(real), (written, real)
            for name in written:
                self.compare(written[name], real[name], name)
        elif isinstance(written, list) and isinstance(real, list):
            assert len(written) == len(real), (written, real)
            for one, other in zip(written, real, strict=True):
                self.compare(one, other)
        elif key == "time":
            assert isinstance(written, int)
            assert isinstance(real, int)
        elif isinstance(written, str) and (key in _CHANGING or key == "id"):
            assert self.known.setdefault(written, real) == real, (key, written, real)
        elif isinstance(written, str):
            assert self._actual(written) == real, (written, real)
        else:
            assert type(written) is type(real), (written, real)
            assert written == real, (key, written, real)

    async def end(self) -> None:
        """Check that nothing more came than what is written, and disconnect."""
        for name, client in self.clients.items():
            await client.send('{"type":"ping"}')
            async with asyncio.timeout(WAIT_S):
                heard = await client.recv()
            assert heard == '{"type":"pong"}', f"{name} was sent more than what is written: {heard!r}"
            await client.close()


async def play(example: str, config: Mapping[str, Any] = _LOOPBACK) -> None:
    """Play one example against a gateway of its own.  Raises AssertionError when something is different."""
    gateway = Gateway(config)
    await gateway.start()
    try:
        async with httpx.AsyncClient(base_url=gateway.api_url, trust_env=False) as http:
            replay = Replay(gateway, http)
            for line in example.splitlines():
                await replay.play(line)
            await replay.end()
            if replay.stopping is not None:
                await replay.stopping
    finally:
        await gateway.stop()
