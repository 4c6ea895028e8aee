"""docs/api.md names every operation and every code that the API answers with."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.errors import ERROR_CODES
from gateway.http.api import OPERATIONS

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def test_every_operation_is_documented_and_no_other() -> None:
    told = set(re.findall(r"^\| `(GET|POST) (/api/\S+)`", PAGE, re.MULTILINE))
    assert told == {(row.method, row.path) for row in OPERATIONS}


def test_every_field_of_an_operation_is_documented() -> None:
    for row in OPERATIONS:
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{row.method} {row.path}`"))
        for field in row.takes.__struct_fields__:
            assert f"`{field}`" in line, (row.name, field)


def test_every_error_code_in_the_table_exists() -> None:
    codes = set(re.findall(r"^\| [\d, ]+ \| `(\w+)`", PAGE, re.MULTILINE))
    assert codes <= set(ERROR_CODES)
    assert {"bad_request", "unauthorized", "limit_exceeded", "unavailable", "timeout", "internal"} <= codes
