"""Socket.IO on Node with @socket.io/redis-adapter (ioredis), WebSocket only, no compression."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .cluster import Cluster
from .socketio_redis import HOW, PATH

_HERE: Final = Path(__file__).resolve().parent
_MODULES: Final = _HERE / "node_modules"
_PACKAGES: Final = ("socket.io", "@socket.io/redis-adapter", "ioredis")


def install() -> str:
    """Install what package-lock.json says, unless it is there; what is missing, "" when nothing."""
    if not shutil.which("node"):
        return "Node"
    if all((_MODULES / name).is_dir() for name in _PACKAGES):
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm"
    command = [npm, "ci", "--prefix", str(_HERE), "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    return "" if done.returncode == 0 else f"packages from npm ({done.stderr.strip()[-200:]})"


def _command(redis_url: str) -> Sequence[str]:
    return ["node", str(_HERE / "node_socketio.mjs"), redis_url]


CLUSTERS: Final = (Cluster("Socket.IO on Node", _command, install, path=PATH, how=HOW),)
