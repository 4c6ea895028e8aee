"""docs/python-client.md: every block of its code runs, and does what the page says of it."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from gateway.client import Client
from tests.support.peers import ANY_PORT

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "python-client.md").read_text()
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
USED = {"main", "follow", "follow_everything", "follow_with_callbacks", "look", "edit", "report"}
WITHIN_S = 20.0


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    namespaces = {"chat": {"presence": True, "join_leave": True}, "board": {"state": True}}
    async with Gateway({"server": ANY_PORT, "namespace": namespaces}) as running:
        yield running


@pytest.fixture
def scope() -> dict[str, Any]:
    """Return what the page defines."""
    found: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block.replace("asyncio.run(main())", ""), "page", "exec"), found)  # noqa: S102
    return found


async def printed(capsys: pytest.CaptureFixture[str], *expected: str) -> None:
    """Wait until each of these was printed, in a line of its own."""
    lines: list[str] = []
    async with asyncio.timeout(WITHIN_S):
        while not all(any(part in line for line in lines) for part in expected):
            lines += capsys.readouterr().out.splitlines()
            await asyncio.sleep(0.01)


def test_every_function_of_the_page_is_called_here() -> None:
    functions = {
        part.name
        for block in BLOCKS
        for part in ast.parse(block).body
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert functions == USED
    assert len(BLOCKS) == 4


async def test_quick_start_works(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = (block for block in BLOCKS if "asyncio.run(main())" in block)
    found: dict[str, Any] = {}
    source = source.replace("ws://127.0.0.1:8000/ws", gateway.ws_url).replace("asyncio.run(main())", "")
    exec(compile(source, "page", "exec"), found)  # noqa: S102
    async with asyncio.timeout(WITHIN_S):
        await found["main"]()
    assert capsys.readouterr().out == "1 {'text': 'hello'}\n"


async def test_channels_are_heard_in_every_way(
    gateway: Gateway, scope: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with Client(gateway.ws_url) as client:
        scope["follow_with_callbacks"](client)
        tasks = [asyncio.create_task(scope[name](client)) for name in ("follow", "follow_everything")]
        await client.online()
        await asyncio.sleep(0)
        await client.publish("news", "heard")
        await printed(capsys, "Message(channel='news'")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_members_and_history_are_read(
    gateway: Gateway, scope: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with Client(f"{gateway.ws_url}?user=ann") as client:
        await gateway.publish("chat:1", "kept")
        async with asyncio.timeout(WITHIN_S):
            await scope["look"](client)
        assert capsys.readouterr().out.splitlines()[-2:] == ["['ann']", "['kept'] True"]


async def test_state_is_edited_and_a_conflict_is_told(
    gateway: Gateway, scope: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with Client(gateway.ws_url) as ann, Client(gateway.ws_url) as bob, asyncio.timeout(WITHIN_S):
        theirs = await bob.state("board:1").ready()
        await ann.state("board:1").ready()
        editing = asyncio.create_task(scope["edit"](ann))
        while not ann.state("board:1").pending:  # noqa: ASYNC110
            await asyncio.sleep(0)
        # Whoever is first, the other one's edit was made on a version that is not the newest any more.
        await asyncio.gather(editing, theirs.update({"cards": {"a": {"text": "another"}}}))
        out = capsys.readouterr().out
        assert re.search(r"^\d \{'cards': \{'a': \{'text': '\w+'\}\}\}$", out, re.MULTILINE), out
        conflict = type("Conflict", (), {"paths": [], "theirs": {}, "drop": lambda self: None})()
        scope["report"](conflict)
        assert "somebody else changed" in capsys.readouterr().out
