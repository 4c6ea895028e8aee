"""`ringgate call` against small fake gateways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from gateway.cli import main

HELLO = '{"type":"hello","client":"c1","session":"s1","ping":30}'


@asynccontextmanager
async def service(answer: Callable[[dict[str, Any]], dict[str, Any] | None]) -> AsyncIterator[str]:
    """Serve calls; gives the URL.  None: there is no answer."""

    async def handler(peer: ServerConnection) -> None:
        await peer.send(HELLO)
        async for text in peer:
            command = json.loads(text)
            answered = answer(command)
            if answered is not None:
                await peer.send(json.dumps({"id": command["id"], **answered}))

    protocols = [Subprotocol("ringgate.v1.json")]
    async with serve(handler, "127.0.0.1", 0, subprotocols=protocols) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def call(*arguments: str) -> Awaitable[int]:
    return asyncio.to_thread(main, ["call", *arguments])


@pytest.mark.parametrize(("data", "payload"), [(["[1, 2.50]"], [1, 2.5]), (["x", "--text"], "x"), ([], None)])
async def test_answer_is_printed(
    data: list[str], payload: object, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []

    def answer(command: dict[str, Any]) -> dict[str, Any]:
        seen.append(command)
        return {"type": "reply", "payload": {"items": 2}}

    async with service(answer) as url:
        assert await call("cart.add", *data, "--url", url, "--timeout", "5s") == 0
    assert json.loads(capsys.readouterr().out) == {"items": 2}
    (command,) = seen
    assert (command["type"], command["method"], command["timeout"]) == ("call", "cart.add", 5000)
    assert command.get("payload") == payload


async def test_error_of_the_service_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "error", "code": "sold_out", "message": "none left", "retry": False}
    async with service(lambda command: error) as url:
        assert await call("cart.add", "1", "--url", url) == 1
    expected = "ringgate: the gateway refused to call cart.add: sold_out: none left\n"
    assert capsys.readouterr().err == expected


async def test_service_that_does_not_answer_is_not_waited_for_for_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with service(lambda command: None) as url:
        assert await call("cart.add", "1", "--url", url, "--timeout", "300ms") == 1
    assert "no answer to call cart.add in time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x" * 201], "is not a method"),
        (["m", "{"], "DATA is not JSON"),
        (["m", "--url", "http://x"], "allowed: ws://HOST:PORT"),
        (["m", "--url", "ws://127.0.0.1:1"], "is `ringgate serve` running?"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["call", *arguments]) == 1
    assert expected in capsys.readouterr().err
