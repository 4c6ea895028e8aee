"""docs/protocol.md says what the code does: its tables, its fields, its bounds, its examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from gateway import closecodes, errors
from gateway.closecodes import CLOSE_CODES
from gateway.config.schema import all_options
from gateway.connection.answers import REFUSALS
from gateway.errors import ERROR_CODES
from gateway.message import events
from gateway.message.commands import AnyCommand
from tests.support.replay import examples, play
from tests.support.tables import PROTOCOL, TABLES, between

PAGE = PROTOCOL.read_text()
SOURCES = "\n".join(
    path.read_text()
    for path in (Path(__file__).parents[2] / "gateway").rglob("*")
    if path.suffix in {".py", ".pyx"} and path.name not in {"errors.py", "closecodes.py"}
)
COMMANDS = {record.__name__.lower(): record for record in get_args(AnyCommand)}
EVENTS = {record.__name__.lower(): record for record in events.Event.__subclasses__()}


def section(title: str) -> str:
    match = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"no section {title!r}"
    return match[1]


def documented_fields(text: str) -> set[str]:
    rows = re.findall(r"^\| (`[^|]*`) \| [^|]+ \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("name", TABLES)
def test_table_is_that_of_the_code(name: str) -> None:
    assert between(PAGE, name) == TABLES[name](), "run: python -m tests.support.tables"


@pytest.mark.parametrize("name", sorted(COMMANDS | EVENTS))
def test_fields_of_a_record_are_documented_and_no_others(name: str) -> None:
    record = (COMMANDS | EVENTS)[name]
    fields = {field.encode_name for field in msgspec.structs.fields(record)}
    assert documented_fields(section(f"`{name}`")) == fields


def test_every_documented_record_exists() -> None:
    assert set(re.findall(r"^### `(\w+)`$", PAGE, re.MULTILINE)) == set(COMMANDS | EVENTS)


def test_statuses_of_refused_handshakes_are_those_of_the_code() -> None:
    told = {int(status) for status in re.findall(r"^\| (\d{3}) \|", section("Connecting"), re.MULTILINE)}
    assert told == {row.status for row in REFUSALS.values()}


def test_error_codes_that_are_not_sent_are_named() -> None:
    unsent = re.search(r"^Not sent by this version: (.*)\.$", section("Errors"), re.MULTILINE)
    assert unsent is not None
    told = set(re.findall(r"`(\w+)`", unsent[1]))
    by_class = set(re.findall(r'super\(\).__init__\(\s*"(\w+)"', Path(errors.__file__).read_text()))
    assert told == {code for code in ERROR_CODES if f'"{code}"' not in SOURCES} - by_class


def test_own_close_codes_that_are_not_sent_are_named() -> None:
    unsent = re.search(r"^Not sent by this version: ([\d, ]+)\.", section("Close codes"), re.MULTILINE)
    assert unsent is not None
    constants = {value: name for name, value in vars(closecodes).items() if type(value) is int}
    # Not counted: where a code only marks the end of a range.
    used = set(re.findall(r"(?<!< )closecodes\.([A-Z_]+)(?! <=)", SOURCES))
    own = {code for code in CLOSE_CODES if code >= 4000}
    assert {int(code) for code in unsent[1].split(",")} == {c for c in own if constants[c] not in used}


def test_defaults_of_the_limits_are_those_of_the_configuration() -> None:
    defaults = {option.key: option.kind.to_toml(option.default).strip('"') for option in all_options()}
    told = dict(re.findall(r"`(\w+\.\w+)` = (\S+) \|", section("Limits")))
    assert len(told) == 9
    assert told == {key: defaults[key] for key in told}


@pytest.mark.parametrize("line", re.findall(r'^(?:\w+ [<>] )?((?:\{"|\[\{).*)$', PAGE, re.MULTILINE))
def test_every_example_has_only_fields_that_exist(line: str) -> None:
    value = json.loads(line)
    for record in value if isinstance(value, list) else [value]:
        if "type" in record:
            known = (COMMANDS | EVENTS)[record["type"]]
            assert set(record) - {"type"} <= {field.encode_name for field in msgspec.structs.fields(known)}


@pytest.mark.parametrize("example", examples(PAGE), ids=lambda text: text.splitlines()[-1][:40])
async def test_example_happens_as_it_is_written(example: str) -> None:
    await play(example)
