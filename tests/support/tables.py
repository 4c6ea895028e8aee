"""The tables of the reference that are made from the code; docs/protocol.md holds them, and a test compares.

After a change of a table in the code: `python -m tests.support.tables` writes them into the document.
"""

from __future__ import annotations

import re
from pathlib import Path

from gateway.closecodes import CLOSE_CODES
from gateway.errors import ERROR_CODES

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def error_codes() -> str:
    """Return the table of error codes."""
    rows = (
        f"| `{row.code}` | {row.http_status} | {'yes' if row.retry else 'no'} | {row.meaning} |"
        for row in ERROR_CODES.values()
    )
    return "\n".join(("| code | HTTP status | retry | meaning |", "|---|---|---|---|", *rows))


def close_codes() -> str:
    """Return the table of close codes."""
    rows = (f"| {row.code} | `{row.name}` | {row.meaning} |" for row in CLOSE_CODES.values())
    return "\n".join(("| code | name | when |", "|---|---|---|", *rows))


TABLES = {"error codes": error_codes, "close codes": close_codes}


def between(document: str, name: str) -> str:
    """Return what a document has between the marks of a table.  Raises ValueError when there are none."""
    match = re.search(f"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", document, re.DOTALL)
    if match is None:
        raise ValueError(f"no marks of {name!r}")
    return match[1]


def updated(document: str) -> str:
    """Return the document with every table as the code has it."""
    for name, table in TABLES.items():
        before, _, rest = document.partition(f"<!-- {name}: begin -->\n")
        _, mark, after = rest.partition(f"<!-- {name}: end -->")
        document = f"{before}<!-- {name}: begin -->\n{table()}\n{mark}{after}"
    return document


if __name__ == "__main__":
    PROTOCOL.write_text(updated(PROTOCOL.read_text()))
