"""docs/state.md: its examples happen, its code runs, its tables are true."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from gateway.client.merge import merge
from gateway.config.schema import all_options
from tests.support.peers import ANY_PORT
from tests.support.replay import examples, play

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "state.md").read_text()
URL = "ws://127.0.0.1:8000/ws"


def block(language: str) -> str:
    """Return the page's only block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    text: str = found
    return text


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway({"server": ANY_PORT, **tomllib.loads(block("toml"))}) as running:
        yield running


@pytest.mark.parametrize("example", examples(PAGE), ids=lambda text: text.splitlines()[0][:40])
async def test_example_happens_as_it_is_written(example: str) -> None:
    await play(example)


async def test_configuration_is_taken_and_what_is_commented_out_is_what_holds_anyway(
    gateway: Gateway,
) -> None:
    told = dict(re.findall(r"^# (\w+) = (\S+)", block("toml"), re.MULTILINE))
    defaults = {
        option.key.rpartition(".")[2]: option.kind.to_toml(option.default)
        for option in all_options()
        if option.key.startswith("namespace.")
    }
    assert told == {name: defaults[name] for name in told}
    assert len(told) == 4


def test_patches_of_the_table_make_what_it_says() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        value, patch, result = map(json.loads, row)
        assert merge(value, patch) == result


async def test_python_runs(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    source = block("python").replace(URL, gateway.ws_url)
    scope: dict[str, Any] = {}
    exec(compile(source.replace("asyncio.run(main())", ""), "page", "exec"), scope)  # noqa: S102
    async with asyncio.timeout(20):
        await scope["main"]()
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "now {'cards': {'a': {'text': 'one'}}}"
    assert "version 2 1" in told
    assert told[-1] == "limit_exceeded False"


async def test_javascript_runs(gateway: Gateway, node: str, tmp_path: Path) -> None:
    modules = tmp_path / "node_modules"
    modules.mkdir()
    (modules / "ringgate").symlink_to(ROOT / "clients" / "js")
    (modules / "ws").symlink_to(ROOT / "tests" / "clients" / "node_modules" / "ws")
    # Node 20 has no WebSocket of its own; what is imported by `--import` runs before the page's code.
    (tmp_path / "socket.mjs").write_text('import WebSocket from "ws"; globalThis.WebSocket ??= WebSocket;')
    (tmp_path / "page.mjs").write_text(block("js").replace(URL, gateway.ws_url))
    process = await asyncio.create_subprocess_exec(
        node, "--import", "./socket.mjs", "page.mjs", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = out.decode().splitlines()
    assert process.returncode == 0, told
    assert told[0] == 'now {"cards":{"c":{"text":"three"}}}'
    assert told[-1].startswith("version ")
    assert told[-1].endswith(" 0")
    assert 'now {"cards":{"c":{"text":"three"}},"count":1}' in told
