"""The JavaScript client as a package: its tests, types and size, and that `dist` is what the sources give."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from scripts.generate_js_codes import PATH as CODES
from scripts.generate_js_codes import render

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
DEMO = ROOT / "gateway" / "http" / "demo" / "app.js"
CORE_BYTES = 8192


@pytest.fixture(scope="module")
def tools(node: str) -> str:
    """Path of Node, with what the package needs from npm."""
    assert (PACKAGE / "node_modules" / ".bin").is_dir(), "not installed: `make test` installs it"
    return node


def run(*command: str, within_s: float = 50) -> None:
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=within_s, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_its_own_tests_pass(tools: str) -> None:
    run(tools, "node_modules/vitest/vitest.mjs", "run", "--reporter=dot", "--no-color")


def test_its_types_are_right(tools: str) -> None:
    run(tools, "node_modules/typescript/bin/tsc", "--noEmit")


def test_what_is_published_is_what_the_sources_give(tools: str, tmp_path: Path) -> None:
    run(tools, "scripts/build.mjs", str(tmp_path / "dist"), str(tmp_path / "app.js"))
    built, committed = contents(tmp_path / "dist"), contents(PACKAGE / "dist")
    assert sorted(built) == sorted(committed)
    assert [name for name in built if built[name] != committed[name]] == [], "run: make js"
    assert (tmp_path / "app.js").read_bytes() == DEMO.read_bytes(), "run: make js"


def test_the_core_is_small() -> None:
    assert len(gzip.compress((PACKAGE / "dist" / "ringgate.js").read_bytes(), 9)) <= CORE_BYTES


def test_the_core_is_free_of_the_optional_modules() -> None:
    for name in ("index.js", "ringgate.js"):
        text = (PACKAGE / "dist" / name).read_text()
        assert "ringgate.v1.json" in text
        assert "msgpack" not in text
        assert "customElements" not in text


def test_modules_load_nothing_but_the_package() -> None:
    for path in (PACKAGE / "dist").glob("*.js"):
        imported = re.findall(r"^(?:import|export)\b.*?\bfrom\s+\"([^\"]+)\"", path.read_text(), re.MULTILINE)
        assert [name for name in imported if not name.startswith("./")] == []


def test_the_tables_of_codes_are_those_of_the_gateway() -> None:
    assert CODES.read_text() == render(), "run: make js"


@pytest.mark.parametrize("project", ["clients/js", "tests/clients"])
def test_lock_file_has_every_package_that_another_one_names(project: str) -> None:
    """A registry without one of them leaves a lock file that `npm ci` refuses, here or elsewhere."""
    packages = json.loads((ROOT / project / "package-lock.json").read_text())["packages"]
    missing = [
        f"{name} of {path or 'the package'}"
        for path, package in packages.items()
        for kind in ("dependencies", "optionalDependencies")
        for name in package.get(kind, {})
        if f"node_modules/{name}" not in packages and f"{path}/node_modules/{name}" not in packages
    ]
    assert missing == []
