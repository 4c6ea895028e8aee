"""The floor: a bare C loop over epoll, send and recv (bench/floor/floor.c), compiled when it is needed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .rival import Rival

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "bench" / "floor" / "floor.c"
BINARY = ROOT / "build" / "bench" / "floor"


def build() -> Path:
    """Compile it unless that is done.  Raises subprocess.CalledProcessError."""
    if not BINARY.exists() or BINARY.stat().st_mtime < SOURCE.stat().st_mtime:
        BINARY.parent.mkdir(parents=True, exist_ok=True)
        command = ["cc", "-O3", "-Wall", "-Wextra", "-o", str(BINARY), str(SOURCE)]
        subprocess.run(command, check=True)  # noqa: S603 - a command of our own
    return BINARY


def _command(scenario: str) -> Sequence[str]:
    return [str(build()), "echo" if scenario == "echo" else "fanout", "--port", "0"]


def _missing() -> str:
    return "" if shutil.which("cc") else "a C compiler"


RIVAL = Rival("C floor", _command, _missing)
