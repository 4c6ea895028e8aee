"""One simulated run from a seed, and its verdict."""

from __future__ import annotations

from random import Random

from tests.simulated.claims import Claims
from tests.simulated.loop import SimulatedLoop
from tests.simulated.people import People
from tests.simulated.stage import CHANNELS, Stage
from tests.simulated.verdict import verdict

STEPS = 400
FAULTS = (
    "", "p", "c", "cp", "k", "s", "ck", "cks", "cpl", "cpks", "cplw", "cplwf", "cplwfb", "b", "bk", "cplksw",
    "cplkswfb",
)  # fmt: skip
"""Sets of faults (letters of `stage`) that are worth running: few alone, for stronger promises, and many."""
_SOMEBODY_ACTS = 0.06
_SOMEBODY_GOES = 0.1
_HEALING_ROUNDS = 7
"""Of 1.1 s: a node that was killed has lost its lease then, and another has taken its members out."""


def simulate(seed: int, faults: str, *, steps: int = STEPS) -> list[str]:
    """Run three nodes for so many steps with faults (letters of `stage`), heal; return what was broken."""
    with SimulatedLoop() as loop:
        stage = Stage(seed, loop)
        claims = Claims(stage, Random(f"claims {seed}"))  # noqa: S311
        people = People(stage, Random(f"people {seed}"))  # noqa: S311
        for _ in range(steps):
            if people.dice.random() < _SOMEBODY_ACTS:
                people.act()
            if claims.dice.random() < _SOMEBODY_GOES:
                claims.act()
            stage.step(faults)
        stage.logs.healed()
        stage.heal(_HEALING_ROUNDS)
        repeated = stage.repeat_unknown()
        stage.rest()
        for channel in CHANNELS:  # the head, where everybody has to be
            stage.publish(channel)
        stage.heal(2)
        found = [f"repeated: {task.exception()!r}" for task in repeated if task.exception() is not None]
        found += verdict(stage, people, claims, faults)
        stage.stop()
        return found
