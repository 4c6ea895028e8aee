"""gorilla/websocket's hub in Go (bench/rivals/gorilla/hub.go), compiled when it is needed.

Go and the library come from Debian: apt-get install golang-go golang-github-gorilla-websocket-dev
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .rival import Rival

_SOURCE = Path(__file__).resolve().parent / "gorilla" / "hub.go"
_BINARY = _SOURCE.parents[3] / "build" / "bench" / "gorilla-hub"
_DEBIAN = Path("/usr/share/gocode")


def build() -> Path:
    """Compile it unless that is done.  Raises subprocess.CalledProcessError."""
    if not _BINARY.exists() or _BINARY.stat().st_mtime < _SOURCE.stat().st_mtime:
        _BINARY.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOPATH": str(_DEBIAN), "GO111MODULE": "off"}
        command = ["go", "build", "-o", str(_BINARY), str(_SOURCE)]
        subprocess.run(command, check=True, env=environment)  # noqa: S603 - a command of our own
    return _BINARY


def _command(scenario: str) -> Sequence[str]:
    return [str(build())]


def _missing() -> str:
    if not shutil.which("go"):
        return "Go (golang-go)"
    library = _DEBIAN / "src" / "github.com" / "gorilla" / "websocket"
    return "" if library.is_dir() else "gorilla/websocket (golang-github-gorilla-websocket-dev)"


RIVAL = Rival("gorilla/websocket hub", _command, _missing)
