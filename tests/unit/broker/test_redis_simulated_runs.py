"""Nodes on a simulated Redis, with faults in any order that a seed chooses: what was promised holds.

`make simulate` runs thousands of seeds; here are some, and bugs that they have to find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.broker.redis.commands import Commands
from gateway.broker.redis.interest import Interest, State, Step
from gateway.broker.redis.presence import Presence
from gateway.broker.redis.proving import Proofs
from gateway.message.publication import Position
from tests.simulated.runs import FAULTS, simulate

SEEDS = 6


@pytest.mark.parametrize("faults", FAULTS, ids=[faults or "none" for faults in FAULTS])
def test_what_was_promised_holds(faults: str) -> None:
    for seed in range(SEEDS):
        assert simulate(seed, faults) == [], f"seed {seed} with faults {faults!r}"


async def nothing(*args: Any, **more: Any) -> None:
    """Do nothing."""


async def release_blindly(self: Commands, *args: Any, **more: Any) -> bool:
    """Take every session for one's own."""
    return True


async def believe(self: Proofs, *args: Any) -> bool:
    """Take every client's position for one of the present count."""
    return True


def go_live_at_once(self: Interest, top: Position) -> list[Step]:
    """Forget what was held, and what may still come late."""
    self.state = State.LIVE
    return []


@pytest.mark.parametrize(
    ("owner", "method", "bug", "faults"),
    [
        (Presence, "_bury", nothing, "k"),
        (Presence, "_enter_under", nothing, "cplw"),
        (Presence, "_settle", nothing, "cks"),
        (Commands, "release", release_blindly, "cks"),
        (Interest, "lost", lambda self, top, restarts: False, "b"),
        (Interest, "_go_live", go_live_at_once, "cp"),
        (Proofs, "knows", believe, "bk"),
    ],
)
def test_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, bug: Callable[..., Any], faults: str
) -> None:
    monkeypatch.setattr(owner, method, bug)
    for seed in range(60):
        if simulate(seed, faults):
            return
    raise AssertionError("it was not found")
