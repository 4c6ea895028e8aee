"""What `bench/compare.py` has to know of a server."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cases import Case
from gateway.bench.runs import Plan, Subscribing

ROOM = "{payload}"  # the publish message where there are no channels: everything published goes to everybody
SCENARIOS = ("echo", "fanout", "connect", "idle")


def room(base_url: str) -> Subscribing:
    """Tell how to publish to a server whose connections to /publish speak to all others."""
    return Subscribing(subscribe="", confirmation="", publish=ROOM, publish_url=f"{base_url}/publish")


def port_line(line: str) -> str | None:
    """Find the address in the first line that a server prints: its port."""
    return f"127.0.0.1:{int(line)}" if line.strip().isdigit() else None


@dataclass(frozen=True)
class Rival:
    """A server to measure.

    `command` starts it for a scenario ("echo", "fanout", "connect", "idle"); `address` finds HOST:PORT in a
    line of its output, None where it is not; `missing` tells what this machine lacks for it, "" when nothing;
    `echo_path` and `path` are where echo and everything else is; `how` tells how to subscribe and publish;
    `scenarios` are those that it can do.  `run` measures a case in its own way (address, process id, case,
    plan) and returns a result named as in `report.as_json`.  One that is not `pinned` may use every core.
    """

    name: str
    command: Callable[[str], Sequence[str]]
    missing: Callable[[], str] = lambda: ""
    address: Callable[[str], str | None] = port_line
    echo_path: str = "/echo"
    path: str = "/subscribe"
    how: Callable[[str], Subscribing] = room
    scenarios: Sequence[str] = SCENARIOS
    run: Callable[[str, int, Case, Plan], dict[str, Any]] | None = None
    pinned: bool = True


def python_rival(
    name: str,
    file: str,
    *needs: str,
    scenarios: Sequence[str] = SCENARIOS,
    path: str = "/subscribe",
    how: Callable[[str], Subscribing] = room,
) -> Rival:
    """Describe a server in Python: the module in `file`, which needs packages."""

    def missing() -> str:
        return " and ".join(f"the package {need}" for need in needs if importlib.util.find_spec(need) is None)

    command = [sys.executable, "-m", f"bench.rivals.{Path(file).stem}"]
    return Rival(name, lambda scenario: command, missing, path=path, how=how, scenarios=scenarios)
