"""The tables of the client's state machines: complete, reachable, and as their pictures show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.client.channels import _EFFECTS as CHANNEL_EFFECTS
from gateway.client.connection import _EFFECTS as CONNECTION_EFFECTS
from gateway.client.table import CHANNEL, CONNECTION, Table, step

PAGE = Path(__file__).resolve().parents[3] / "docs" / "python-client.md"
TABLES = {"connection": CONNECTION, "channel": CHANNEL}
FIRST = {"connection": "idle", "channel": "away"}
EFFECTS: dict[str, Mapping[str, object]] = {"connection": CONNECTION_EFFECTS, "channel": CHANNEL_EFFECTS}


def arrows(table: Table) -> set[tuple[str, str, str]]:
    return {(state, row[i].state, i) for state, row in table.items() for i in row}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_be_reached_and_every_effect_is_known(name: str) -> None:
    table = TABLES[name]
    reached = {FIRST[name]}
    for _ in table:
        reached |= {follows.state for state in reached for follows in table[state].values()}
    assert reached == set(table)
    used = {effect for row in table.values() for follows in row.values() for effect in follows.effects}
    assert used == set(EFFECTS[name])


def test_closing_is_possible_in_every_state_but_where_it_is_done() -> None:
    assert {state for state, row in CONNECTION.items() if "close" not in row} == {"idle"}
    assert all(row["close"].state == "idle" for state, row in CONNECTION.items() if state != "idle")


def test_lost_connection_ends_every_state_that_stands_on_one() -> None:
    assert {state for state, row in CHANNEL.items() if "lost" not in row} == {"away", "gone"}
    assert all(row["lost"].state == "away" for row in CHANNEL.values() if "lost" in row)


def test_input_that_means_nothing_in_a_state_does_nothing() -> None:
    assert step(CONNECTION, "idle", "hello") is None
    assert step(CHANNEL, "gone", "granted") is None


@pytest.mark.parametrize("name", TABLES)
def test_picture_shows_the_table(name: str) -> None:
    pictures = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", PAGE.read_text(), re.DOTALL)
    picture = pictures[list(TABLES).index(name)]
    drawn = re.findall(r"^ +(\w+) --> (\w+): (.+)$", picture, re.MULTILINE)
    assert {(a, b, i.strip()) for a, b, inputs in drawn for i in inputs.split(",")} == arrows(TABLES[name])
    assert f"[*] --> {FIRST[name]}" in picture
