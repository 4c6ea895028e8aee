"""Imports point downwards only: held to the table of layers in docs/architecture.md.

A row is `| number | paths in backticks, folders with a slash at the end | text | ...`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "architecture.md"
SUFFIXES = (".py", ".pyx", ".pxd")
SIBLINGS = (
    "gateway/auth/",
    *("gateway/hub/", "gateway/connection/", "gateway/broker/", "gateway/client/"),
    *("gateway/config/", "gateway/bench/"),
)
"""Packages that must not know each other where they are of one layer."""

_ROW = re.compile(r"\|\s*(\d)\s*\|([^|]*)\|")
_CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+\(?([\w, \t]+)|c?import[ \t]+([\w., \t]+))",
    re.MULTILINE,
)


@cache
def rows() -> dict[str, int]:
    """Return the layer of each path of the table."""
    found: dict[str, int] = {}
    for number, paths in _ROW.findall(DOCUMENT.read_text()):
        for path in re.findall(r"`([^`]+)`", paths):
            assert path not in found, f"{path} stands in two rows"
            found[path] = int(number)
    assert found, "the table of layers is not there"
    return found


def sources() -> list[str]:
    paths = [p for suffix in SUFFIXES for p in (ROOT / "gateway").rglob(f"*{suffix}")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def row_of(path: str) -> str:
    """Return the one row that covers a file: itself, or the innermost folder."""
    covering = [row for row in rows() if row == path or (row.endswith("/") and path.startswith(row))]
    stem = path.rsplit(".", 1)[0]
    covering += [row for row in rows() if path.endswith(".pxd") and row == f"{stem}.pyx"]
    assert covering, f"no row of the table of layers covers {path}"
    exact = [row for row in covering if not row.endswith("/")]
    folders = [row for row in covering if row.endswith("/")]
    assert len(exact) + (not exact and len(folders)) == 1, f"{path} is covered by {covering}"
    return (exact or folders)[0]


def layer_of(path: str) -> int:
    return rows()[row_of(path)]


def file_of(module: str) -> str | None:
    """Return the source of a module of the gateway; None for other modules and for names in modules."""
    base = module.replace(".", "/")
    for name in (*(base + suffix for suffix in SUFFIXES), base + "/__init__.py"):
        if (ROOT / name).is_file():
            return name
    return None


def imports(path: str) -> Iterator[str]:
    """Yield the gateway's files that a file imports when it runs."""
    names = _python_names(path) if path.endswith(".py") else _cython_names(path)
    for module, attributes in names:
        if module != "gateway" and not module.startswith("gateway."):
            continue
        found = {file_of(f"{module}.{attribute}") for attribute in attributes}
        if not attributes or None in found:
            found.add(file_of(module))
        yield from (name for name in found if name is not None)


def _python_names(path: str) -> Iterator[tuple[str, list[str]]]:
    package = path.removesuffix(".py").replace("/", ".").split(".")
    tree = ast.parse((ROOT / path).read_text())
    for test in [n for n in ast.walk(tree) if isinstance(n, ast.If)]:
        if isinstance(test.test, ast.Name) and test.test.id == "TYPE_CHECKING":
            test.body = []  # for the type checker alone
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module, [alias.name for alias in node.names]


def _cython_names(path: str) -> Iterator[tuple[str, list[str]]]:
    for module, attributes, modules in _CYTHON_IMPORT.findall((ROOT / path).read_text()):
        if module:
            assert not module.startswith("."), f"{path} imports relatively"
            yield module, [word.split()[0] for word in attributes.split(",") if word.strip()]
        else:
            yield from ((word.split()[0], []) for word in modules.split(",") if word.strip())


def faults(path: str) -> list[str]:
    """Say which imports of a file do not point downwards."""
    found = []
    mine, package = layer_of(path), _sibling(path)
    for name in imports(path):
        other = layer_of(name)
        strange = _sibling(name)
        if other > mine:
            found.append(f"{path} (layer {mine}) imports {name} (layer {other})")
        elif other == mine and package != strange and package and strange:
            found.append(f"{path} imports its sibling {name}")
    return found


def _sibling(path: str) -> str | None:
    return next((folder for folder in SIBLINGS if path.startswith(folder)), None)


# -- the table ----------------------------------------------------------------------------------


def test_every_path_of_the_table_exists() -> None:
    for path in rows():
        place = ROOT / path
        assert place.is_dir() if path.endswith("/") else place.is_file(), f"{path} does not exist"


def test_every_row_covers_something() -> None:
    headers = {path for path in rows() if path.endswith(".h")}
    assert {row_of(path) for path in sources()} | headers == set(rows())


@pytest.mark.parametrize("path", sources())
def test_imports_point_downwards(path: str) -> None:
    assert faults(path) == []


# -- the test itself ----------------------------------------------------------------------------


def test_imports_are_seen() -> None:
    assert "gateway/hub/hub.py" in imports("gateway/node.py")
    assert "gateway/broker/__init__.py" in imports("gateway/node.py")
    assert "gateway/session.py" not in imports("gateway/commands.py"), "for the type checker alone"
    assert "gateway/_sink.pyx" in imports("gateway/connection/_outgoing.pyx")
    assert "gateway/closecodes.py" in imports("gateway/connection/_connection.pyx")
    assert "gateway/hub/_framelog.pyx" in imports("gateway/hub/_ring.pxd")
    assert "gateway/message/codec.py" in imports("gateway/hub/encoding.py")


@pytest.mark.parametrize("path", [path for path in sources() if path.startswith("gateway/bench/")])
def test_load_generator_knows_frames_and_no_gateway(path: str) -> None:
    others = {name for name in imports(path) if not name.startswith("gateway/bench/")}
    assert {layer_of(name) for name in others - {"gateway/__init__.py"}} <= {0}


def test_arrow_that_points_upwards_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "imports", lambda path: iter(["gateway/node.py", "gateway/broker/log.py"]))
    assert faults("gateway/hub/hub.py") == [
        "gateway/hub/hub.py (layer 2) imports gateway/node.py (layer 3)",
        "gateway/hub/hub.py imports its sibling gateway/broker/log.py",
    ]
