"""Node with the package ws (the one the tests install), without compression; a `send` for each client."""

from __future__ import annotations

import shutil
from pathlib import Path

from .rival import Rival

_HERE = Path(__file__).resolve().parent
_MODULES = _HERE.parents[1] / "tests" / "clients" / "node_modules" / "ws"


def _missing() -> str:
    if not shutil.which("node"):
        return "Node"
    return "" if _MODULES.is_dir() else "Node's package ws (`make test` installs it)"


RIVAL = Rival("Node ws", lambda scenario: ["node", str(_HERE / "node_ws.mjs"), str(_MODULES)], _missing)
