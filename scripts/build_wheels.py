"""Build the source distribution and from it a wheel for each Python at hand, and try each out.

Pythons: those named by the variable PYTHONS (commands or paths, separated by spaces); else python3.11,
3.12 and 3.13 where they are found on PATH or below ~/.pyenv/versions.  Everything ends in dist/.

Each wheel is installed into an environment of its own whose PATH holds nothing but that environment, so no
compiler, and there scripts/check_wheel.py serves a message with it.  A wheel made here is for this
machine's libc: those for publication are made by cibuildwheel (.github/workflows/wheels.yml).
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
WORK = ROOT / "build" / "wheels"
VERSIONS = ("3.11", "3.12", "3.13")
CLIENT = "websockets==17.4"

WHEEL_HAS = (
    r"gateway/py\.typed",
    r"gateway/_frames\.pyi",
    r"gateway/_frames\..+\.so",
    r"gateway/hub/_ring\..+\.so",
    r"gateway/connection/_connection\..+\.so",
    r"gateway/http/demo/.+\.html",
    r"gateway/http/demo/app\.js",
    r"gateway/message/ringgate\.proto",
    r"gateway/message/ringgate_pb2\.pyi",
    r".+\.dist-info/entry_points\.txt",
    r".+\.dist-info/licenses/LICENSE",
)
WHEEL_LACKS = (r".+\.(pyx|pxd|c|h|o)", r"(tests|bench|fuzz|scripts|build)/.*")
SDIST_HAS = (
    r"[^/]+/gateway/_frames\.(pyx|pxd|pyi)",
    r"[^/]+/gateway/_mask\.h",
    r"[^/]+/gateway/py\.typed",
    r"[^/]+/tests/conftest\.py",
    r"[^/]+/bench/floor/floor\.c",
    r"[^/]+/tests/conformance/autobahn",
    r"[^/]+/(LICENSE|README\.md|CHANGELOG\.md|Makefile|setup\.py)",
)
SDIST_LACKS = (
    r"[^/]+/gateway/.+\.c",
    r".+\.(so|o|pyc)",
    r"[^/]+/(build|dist|\.venv)/.*",
    r".*/node_modules/.*",
)


def pythons() -> dict[str, str]:
    """Find the interpreters: version ("3.12") to path."""
    named = os.environ.get("PYTHONS", "").split()
    candidates = named or [f"python{version}" for version in VERSIONS]
    if not named:
        pyenv = Path.home() / ".pyenv" / "versions"
        candidates += [
            str(path) for version in VERSIONS for path in sorted(pyenv.glob(f"{version}.*/bin/python"))
        ]
    found: dict[str, str] = {}
    for candidate in candidates:
        version = version_of(candidate)
        if version is None and named:
            raise SystemExit(f"wheels: {candidate} is no Python that runs")
        if version is not None:
            found.setdefault(version, candidate)
    return dict(sorted(found.items()))


def version_of(python: str) -> str | None:
    """Ask an interpreter for its version; None when there is none, or it cannot build extensions."""
    path = shutil.which(python)
    if path is None:
        return None
    code = (
        "import ensurepip, os, sys, sysconfig, venv\n"
        "assert os.path.exists(sysconfig.get_path('include') + '/Python.h')\n"
        "print('%d.%d' % sys.version_info[:2])"
    )
    answer = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def call(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
    """Run a command; end with what it said when it failed."""
    run = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"{run.stdout}{run.stderr}\nwheels: failed: {' '.join(map(str, command))}")


def check_names(archive: Path, names: list[str], has: tuple[str, ...], lacks: tuple[str, ...]) -> None:
    """End when an archive misses a file of `has` or holds one of `lacks` (regular expressions)."""
    missing = [pattern for pattern in has if not any(re.fullmatch(pattern, name) for name in names)]
    surplus = [name for name in names if any(re.fullmatch(pattern, name) for pattern in lacks)]
    if missing or surplus:
        raise SystemExit(f"wheels: {archive.name} lacks {missing} and should not hold {surplus}")


def build_sdist() -> Path:
    """Build the source distribution and check what is in it."""
    call(sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT)
    (sdist,) = DIST.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        check_names(sdist, archive.getnames(), SDIST_HAS, SDIST_LACKS)
    return sdist


def build_wheel(python: str, version: str, sdist: Path) -> Path:
    """Build a wheel from the source distribution, in an environment that pip makes for it."""
    env = WORK / f"build-{version}"
    call(python, "-m", "venv", "--clear", env)
    pip = (env / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-deps", "--wheel-dir", DIST, sdist)
    (wheel,) = DIST.glob(f"*-cp{version.replace('.', '')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        check_names(wheel, archive.namelist(), WHEEL_HAS, WHEEL_LACKS)
    return wheel


def try_wheel(python: str, version: str, wheel: Path) -> None:
    """Install a wheel where there is no compiler, and have it serve a message there."""
    env = WORK / f"clean-{version}"
    call(python, "-m", "venv", "--clear", env)
    bare = {name: value for name, value in os.environ.items() if name not in ("CC", "PYTHONPATH")}
    bare["PATH"] = str(env / "bin")
    pip = (env / "bin" / "python", "-m", "pip", "-q", "--disable-pip-version-check")
    call(*pip, "install", "--only-binary", ":all:", wheel, CLIENT, env=bare, cwd=WORK)
    call(env / "bin" / "python", ROOT / "scripts" / "check_wheel.py", env=bare, cwd=WORK)


def main() -> None:
    """Build and try everything."""
    found = pythons()
    if not found:
        raise SystemExit(
            "wheels: no Python 3.11, 3.12 or 3.13 with its headers was found; name some: PYTHONS=..."
        )
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    sdist = build_sdist()
    print(f"{sdist.name}: built", flush=True)
    for version, python in found.items():
        wheel = build_wheel(python, version, sdist)
        try_wheel(python, version, wheel)
        print(f"{wheel.name}: built, installed without a compiler, served a message", flush=True)
    left_out = [version for version in VERSIONS if version not in found]
    if left_out:
        print(f"not on this machine, so not built: {', '.join(left_out)}")


if __name__ == "__main__":
    main()
