"""What is built, and what a failed build says; that the words about both are complete.

That wheels work where there is no compiler is proved by `make wheels`, which takes minutes.
"""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from scripts.build_wheels import SDIST_HAS, SDIST_LACKS, check_names

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

HIDE_HEADERS = """
import runpy, sys, sysconfig
real = sysconfig.get_path
sysconfig.get_path = lambda name, *more: "/nowhere" if name == "include" else real(name, *more)
sys.argv[0] = "setup.py"
runpy.run_path("setup.py", run_name="__main__")
"""


def build_that_fails(folder: Path, *python: str, cc: str = "") -> str:
    """Build the extensions into a folder, expect that to fail, and return what was said."""
    command = [sys.executable, *python, "-q", "build_ext", "--build-lib", str(folder / "lib"), "--force"]
    environment = os.environ | ({"CC": cc} if cc else {})
    run = subprocess.run(
        [*command, "--build-temp", str(folder / "temp")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    return run.stdout + run.stderr


def test_build_without_a_compiler_names_it_in_one_line(tmp_path: Path) -> None:
    said = build_that_fails(tmp_path, "setup.py", cc="/nowhere/cc")
    assert said == (
        "ringgate cannot be built: no C compiler (/nowhere/cc was not found);"
        " on Debian and Ubuntu install the package gcc\n"
    )


def test_build_without_headers_names_them_in_one_line(tmp_path: Path) -> None:
    said = build_that_fails(tmp_path, "-c", HIDE_HEADERS)
    assert said == (
        "ringgate cannot be built: no Python.h in /nowhere;"
        " on Debian and Ubuntu install the package python3-dev\n"
    )


def test_build_with_a_compiler_that_fails_quotes_it_in_one_line(tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'cc1: fatal error: stdlib.h is not there' >&2\nexit 1\n")
    compiler.chmod(0o755)
    said = build_that_fails(tmp_path, "setup.py", cc=str(compiler))
    assert said == (
        "ringgate cannot be built: the C compiler does not work: cc1: fatal error: stdlib.h is not there"
        " (libc's headers: package libc6-dev)\n"
    )


def test_sdist_holds_what_a_build_and_the_tests_need_and_nothing_built(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--sdist",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("ringgate-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    check_names(sdist, names, SDIST_HAS, SDIST_LACKS)
    packed = {name.partition("/")[2] for name in names}
    kinds = (".py", ".pyx", ".pxd", ".pyi", ".h")
    sources = [path for path in (ROOT / "gateway").rglob("*") if path.suffix in kinds]
    assert {str(path.relative_to(ROOT)) for path in sources} <= packed


def test_every_folder_with_modules_is_a_package_that_wheels_include() -> None:
    folders = {path.parent for path in (ROOT / "gateway").rglob("*.py*") if path.suffix in (".py", ".pyx")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_every_make_target_is_documented() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    described = set(
        re.findall(r"^\| `make ([\w-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    )
    assert described == set(phony[1].split())


def tools() -> list[str]:
    """Return every requirement of every dependency group."""
    groups = PROJECT["dependency-groups"].values()
    return [entry for group in groups for entry in group if isinstance(entry, str)]


def test_every_dependency_has_its_reason_written_down() -> None:
    page = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text()
    requirements = [*PROJECT["project"]["dependencies"], *tools()]
    names = {re.split(r"[<>=~!\[ ]", requirement)[0] for requirement in requirements}
    missing = {name for name in names if not re.search(rf"\b{re.escape(name)}\b", page, re.IGNORECASE)}
    assert missing == set()


def test_dev_tools_are_pinned_exactly() -> None:
    assert [tool for tool in tools() if not re.fullmatch(r"[\w-]+==[\w.]+", tool)] == []
