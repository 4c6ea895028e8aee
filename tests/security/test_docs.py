"""docs/security.md names tests that exist, and every test of this folder has a row there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
CLASSES = (
    "lengths that overflow", "memory by declared length", "fragments and tiny reads", "inflate bombs",
    "deflate state", "deflate memory", "pings without reading", "handshake parsing", "slow handshakes",
    "smuggling on upgrade", "cross-site hijacking", "frame rules", "slow consumers", "channel flood",
    "connection flood", "JWT and JWKS", "signatures", "token leakage", "hook targets", "log injection",
    "forwarded addresses", "payload parsers", "broker replies out of step", "exposed internals",
    "memory safety",
)  # fmt: skip
"""Every class of attack that has to have its row."""
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


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def covered_rows() -> list[list[str]]:
    return [row.split("|")[1:-1] for row in section("Covered").splitlines() if row.startswith("|")][2:]


def test_no_class_of_attack_is_forgotten() -> None:
    covered = {row[0].strip() for row in covered_rows()}
    missing = [name for name in CLASSES if name not in covered]
    open_ones = section("Not covered yet") if missing else ""
    assert all(name in open_ones for name in missing), missing


def test_how_to_report_a_weakness_is_said() -> None:
    assert "in private" in (ROOT / "SECURITY.md").read_text()
    assert "(../SECURITY.md)" in PAGE


def test_every_class_has_a_defence_and_a_test() -> None:
    rows = covered_rows()
    assert len(rows) >= 20
    for row in rows:
        assert len(row) == 3, row
        assert "`test_" in row[2] or "`make " in row[2], row
