"""The checker finds nothing in correct runs, and every planted bug, by the right rule."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.chaos.judge import judge
from tests.chaos.model import history
from tests.chaos.mutations import BUGS, Bug
from tests.chaos.records import Logs
from tests.chaos.violations import report

SEEDS = st.integers(0, 2**32)


def rules_of(logs: Logs) -> set[int]:
    return {violation.rule for violation in judge(logs)}


def planted(bug: Bug, seed: int, *, epochs_change: bool = False) -> Logs | None:
    """A correct run with the bug in it; None where there was no place for it."""
    logs = history(seed, epochs_change=epochs_change)
    return logs if bug.plant(logs, random.Random(seed)) else None  # noqa: S311


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 250), st.booleans())
def test_nothing_is_found_in_a_correct_run(seed: int, steps: int, epochs_change: bool) -> None:
    violations = judge(history(seed, steps, epochs_change=epochs_change))
    assert not violations, report(violations)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_planted_bug_is_found_by_the_right_rule(bug: Bug) -> None:
    runs = [logs for seed in range(12) if (logs := planted(bug, seed))]
    assert len(runs) >= 3, "the runs offer too few places for it"
    for logs in runs:
        assert rules_of(logs) & bug.rules, report(judge(logs))


@settings(max_examples=60)
@given(st.sampled_from(BUGS), SEEDS, st.booleans())
def test_a_planted_bug_never_passes(bug: Bug, seed: int, epochs_change: bool) -> None:
    logs = planted(bug, seed, epochs_change=epochs_change)
    if logs is not None:
        assert rules_of(logs) & bug.rules, report(judge(logs))


def test_there_are_bugs_for_every_rule() -> None:
    assert len(BUGS) >= 15
    assert set().union(*(bug.rules for bug in BUGS)) == set(range(1, 9))


def test_each_rule_names_channel_offset_and_client() -> None:
    bug = next(b for b in BUGS if b.name == "skip_one")
    logs = planted(bug, 3)
    assert logs is not None
    (violation, *_) = judge(logs)
    assert violation.channel in str(violation)
    assert violation.who in logs.clients
    assert f"offset {violation.offset}" in str(violation)
    assert violation.offset > 0


def test_logs_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    logs = history(5, epochs_change=True)
    logs.write(tmp_path)
    assert Logs.read(tmp_path) == logs
    assert judge(Logs.read(tmp_path)) == []


def test_planting_changes_nothing_where_it_finds_no_place() -> None:
    for bug in BUGS:
        for seed in range(10):
            logs = history(seed, 3)
            before = copy.deepcopy(logs)
            if not bug.plant(logs, random.Random(seed)):  # noqa: S311
                assert logs == before
