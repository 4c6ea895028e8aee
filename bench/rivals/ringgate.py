"""Ringgate itself, through the real channel path: subscribe, publish, JSON event with an offset."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from gateway.bench.runs import Subscribing

from .rival import Rival

# Bounds that the largest payload of the comparison needs, and one join event less for each of thousands.
_FLAGS = (
    "--listen=127.0.0.1:0",
    "--api-listen=127.0.0.1:0",
    "--log-format=json",
    "--echo",
    "--websocket-max-message-bytes=256KiB",
    "--session-max-publish-bytes=256KiB",
    "--namespace=default.join_leave=false",
)


def command(scenario: str) -> Sequence[str]:
    """Return the command line; the scenario makes no difference."""
    return [sys.executable, "-m", "gateway", "serve", *_FLAGS]


def listening(line: str, port: str) -> str | None:
    """Find the address of a port, "edge" or "api", in a line of its log."""
    if not line.startswith("{"):
        return None
    record = json.loads(line)
    return str(record[port]) if record.get("message") == "listening" else None


RIVAL = Rival(
    "Ringgate",
    command,
    address=lambda line: listening(line, "edge"),
    path="/ws",
    how=lambda base_url: Subscribing(),
)
