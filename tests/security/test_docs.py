"""docs/security.md names tests that exist, and every test of this folder has a row there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = set(re.findall(r"`(test_\w+)`", PAGE))


def names_in(folder: Path) -> set[str]:
    return {
        name for path in folder.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }


def test_every_test_that_the_page_names_exists() -> None:
    assert NAMED
    assert names_in(ROOT / "tests") >= NAMED


def test_every_module_of_attacks_is_on_the_page() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        if path.name != "test_docs.py":
            assert NAMED & set(re.findall(r"def (test_\w+)", path.read_text())), path.name


def test_every_class_has_a_defence_and_a_test() -> None:
    covered = PAGE.partition("## Covered\n")[2].partition("\n## ")[0]
    rows = [row.split("|")[1:-1] for row in covered.splitlines() if row.startswith("|")][2:]
    assert len(rows) >= 20
    for row in rows:
        assert len(row) == 3, row
        assert "`test_" in row[2] or "`make " in row[2], row
