"""The examples of encodings in docs/protocol.md are what clients write and what the gateway sends."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.support.codecs import CASES
from tests.support.tables import PROTOCOL

PAGE = PROTOCOL.read_text()
BLOCKS = sorted(set(re.findall(r"^```text encoded\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)))
SUBPROTOCOLS = [case.codec.subprotocol for case in CASES.values()]


def lines(block: str) -> tuple[str, dict[str, bytes]]:
    """Return "command" or "event", and the message in each encoding."""
    kinds, messages = set(), {}
    for line in block.splitlines():
        kind, name, message = line.split(maxsplit=2)
        kinds.add(kind)
        messages[name] = message.encode() if name == "json" else bytes.fromhex(message)
    assert list(messages) == list(CASES)
    return kinds.pop(), messages


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[14:54])
def test_example_is_the_same_in_every_encoding(block: str) -> None:
    kind, messages = lines(block)
    if kind == "event":
        for name, message in messages.items():
            assert CASES[name].read(message) == orjson.loads(messages["json"]), name
        return
    decoded = {name: list(CASES[name].codec.decode(message, most=10)) for name, message in messages.items()}
    for name, commands in decoded.items():
        assert [told(command) for command in commands] == [told(command) for command in decoded["json"]], name
        assert "malformed" not in repr(commands).lower()


def told(command: object) -> dict[str, object]:
    """Return what a command says, its payload as bytes."""
    fields = {name: getattr(command, name) for name in command.__struct_fields__}  # type: ignore[attr-defined]
    if "data" in fields:
        fields["data"] = bytes(fields["data"])
    return {"is": type(command), **fields}


def test_examples_are_of_commands_and_events_with_both_kinds_of_payload() -> None:
    every = "\n".join(BLOCKS)
    assert len(BLOCKS) >= 6
    for needed in ("command json", "event json", '"data64"', '"data"', "[{"):
        assert needed in every


def test_every_subprotocol_has_a_column_and_a_row() -> None:
    assert f"| | {' | '.join(f'`{name}`' for name in SUBPROTOCOLS)} |" in PAGE
    for name in SUBPROTOCOLS:
        assert f"\n| `{name}` |" in PAGE
