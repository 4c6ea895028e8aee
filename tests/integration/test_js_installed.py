"""The JavaScript client as its users get it: packed, and installed into an empty project."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "js"
TSC = PACKAGE / "node_modules" / "typescript" / "bin" / "tsc"
ENTRIES = {
    "ringgate": {"Client", "RinggateError", "DEFAULTS", "ERROR_CODES", "CLOSE_CODES", "json"},
    "ringgate/msgpack": {"msgpack"},
    "ringgate/state": {"state", "SharedState"},
    "ringgate/status": {"RinggateStatus", "LABELS"},
}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, node: str) -> Path:
    """An empty project, into which the package was installed without any registry."""
    folder = tmp_path_factory.mktemp("project")
    packed = run("npm", "pack", "--json", f"--pack-destination={folder}", PACKAGE, cwd=folder)
    (archive,) = json.loads(packed)
    (folder / "package.json").write_text('{"name":"project","type":"module","private":true}')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", folder / archive["filename"], cwd=folder)
    return folder


def test_package_holds_what_is_built_its_page_and_its_licence(project: Path) -> None:
    installed = project / "node_modules" / "ringgate"
    holds = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    built = {f"dist/{path.name}" for path in (PACKAGE / "dist").iterdir()}
    assert holds == built | {"package.json", "README.md", "LICENSE"}
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert [path.name for path in (project / "node_modules").iterdir() if path.name[0] != "."] == ["ringgate"]


def test_every_entry_can_be_imported_and_required(project: Path, node: str, node22: str) -> None:
    names = json.dumps(list(ENTRIES))
    tell = "console.log(JSON.stringify(Object.fromEntries(told.map((m, i) => [names[i], Object.keys(m)]))))"
    (project / "all.mjs").write_text(
        f"const names = {names}; const told = await Promise.all(names.map((n) => import(n))); {tell}"
    )
    (project / "all.cjs").write_text(f"const names = {names}; const told = names.map(require); {tell}")
    for command in ((node, "all.mjs"), (node22, "all.mjs"), (node22, "--no-warnings", "all.cjs")):
        told = {name: set(found) for name, found in json.loads(run(*command, cwd=project)).items()}
        assert told == ENTRIES


@pytest.mark.parametrize(("module", "resolution"), [("NodeNext", "NodeNext"), ("ESNext", "Bundler")])
def test_types_allow_what_is_right_and_nothing_else(
    module: str, resolution: str, project: Path, node: str
) -> None:
    shutil.copy(ROOT / "tests" / "clients" / "package-types.ts", project / "types.ts")
    options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"]
    exact = ["--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--types", ""]
    modules = ["--module", module, "--moduleResolution", resolution]
    run(node, TSC, *options, *exact, *modules, "types.ts", cwd=project)


def test_manifest_is_as_tools_want_it(project: Path, node: str) -> None:
    publint = PACKAGE / "node_modules" / ".bin" / "publint"
    said = run(node, publint, "--strict", project / "node_modules" / "ringgate", cwd=project)
    assert "All good!" in said
