"""Ringgate against itself: few and many subscriptions, and an API call against a constant answer.

Groups of a hundred connections are subscribed to the same hundred channels; there is 1 group, or 100 of
them. What is published goes to one channel, so to a hundred. The constant answer is GET /health/live, from
the same internal port as the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.subscriptions import Groups

from .ringgate import command, listening
from .rival import Rival

FEW: Final = "Ringgate, 10,000 subscriptions"
MANY: Final = "Ringgate, 1,000,000 subscriptions"
PUBLISH: Final = "Ringgate, publish"
CONSTANT: Final = "Ringgate, constant answer"


def _command(scenario: str) -> Sequence[str]:
    return [*command(scenario), "--max-connections=12000"]


def _subscriptions(name: str, groups: int) -> Rival:
    return Rival(
        name,
        _command,
        address=lambda line: listening(line, "edge"),
        path="/ws",
        how=lambda base_url: Groups(groups=groups),
        scenarios=("subscriptions",),
    )


def _http(name: str, path: str) -> Rival:
    return Rival(name, command, address=lambda line: listening(line, "api"), path=path, scenarios=("http",))


RIVALS: Final = (
    _subscriptions(FEW, 1),
    _subscriptions(MANY, 100),
    _http(CONSTANT, "/health/live"),
    _http(PUBLISH, "/api/publish"),
)
