"""Rule 11 finds nothing where a state is one state, and every planted bug."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.chaos.converging import rule_11
from tests.chaos.editors import had
from tests.chaos.ledger import Ledger
from tests.chaos.records import Had, Logs, Setting, Updated, Updating
from tests.chaos.violations import Violation, report
from tests.support.rfc7396 import merge_patch

DOCUMENT = "doc:a"


def correct(seed: int) -> Logs:
    """Three editors, whose changes are acknowledged or refused; each hears of a part, and of the end."""
    dice = random.Random(seed)  # noqa: S311
    logs = Logs(run=[Setting(at=0.0, row="model", seed=seed)])
    logs.clients = {f"e{n}": [] for n in range(3)}
    value: Any = None
    counts = dict.fromkeys(logs.clients, 0)
    version = 0
    for step in range(60):
        at = float(step)
        who = dice.choice(list(logs.clients))
        counts[who] += 1
        text = f"{who}.{counts[who]}"
        logs.clients[who].append(
            Updating(at=at, message=text, channel=DOCUMENT, editor=who, number=counts[who])
        )
        refused = dice.random() < 0.3
        if not refused:
            version += 1
            value = merge_patch(value, {"last": text, "marks": {who: counts[who]}})
        code = "stale_version" if refused else ""
        logs.clients[who].append(
            Updated(at=at, message=text, channel=DOCUMENT, epoch="x", version=version, code=code)
        )
        for name, log in logs.clients.items():
            if not refused and (dice.random() < 0.7 or step > 55 or name == who):
                log.append(had(at, DOCUMENT, "x", version, value))
    for log in logs.clients.values():
        log.append(had(61.0, DOCUMENT, "x", version, value))
    logs.run += [had(61.0, DOCUMENT, "x", version, value)] * 2
    return logs


def found(logs: Logs) -> list[Violation]:
    return list(rule_11(logs, Ledger()))


def copies(logs: Logs) -> list[tuple[list[Any], int]]:
    """Where copies are, that others had, too, or whose update was acknowledged."""
    return [(log, i) for log in logs.clients.values() for i, r in enumerate(log) if isinstance(r, Had)]


def changed(record: Any, **fields: object) -> Any:
    return msgspec.structs.replace(record, **fields)


def another_value(logs: Logs, dice: random.Random) -> None:
    log, at = dice.choice(copies(logs))
    log.insert(at, changed(log[at], text='{"other":1}', last="", marks={}))


def another_made_it(logs: Logs, dice: random.Random) -> None:
    version = dice.choice([r.version for log, i in copies(logs) for r in [log[i]]])
    for log, i in copies(logs):
        if log[i].version == version:
            log[i] = changed(log[i], last="somebody.1")
    logs.run[:] = [changed(r, last="x.1") if getattr(r, "version", 0) == version else r for r in logs.run]


def lost_later(logs: Logs, dice: random.Random) -> None:
    """An editor's acknowledged changes are gone from every value."""
    for log in logs.clients.values():
        log[:] = [changed(r, marks={}) if isinstance(r, Had) else r for r in log]


def refused_and_done(logs: Logs, dice: random.Random) -> None:
    seen = {log[i].last for log, i in copies(logs)}
    for log in logs.clients.values():
        for i, r in enumerate(log):
            if isinstance(r, Updated) and not r.code and r.message in seen:
                log[i] = changed(r, code="stale_version")
                return


def never_converged(logs: Logs, dice: random.Random) -> None:
    log = dice.choice(list(logs.clients.values()))
    log[:] = [r for r in log if not isinstance(r, Had) or r.version < 20]


def nobody_looked(logs: Logs, dice: random.Random) -> None:
    logs.run[:] = logs.run[:1]


BUGS: tuple[Callable[[Logs, random.Random], None], ...] = (
    another_value, another_made_it, lost_later, refused_and_done, never_converged, nobody_looked,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_in_a_correct_run(seed: int) -> None:
    violations = found(correct(seed))
    assert not violations, report(violations)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_every_planted_bug_is_found(bug: Callable[[Logs, random.Random], None]) -> None:
    for seed in range(10):
        logs = correct(seed)
        bug(logs, random.Random(seed))  # noqa: S311
        assert found(logs), f"{bug.__name__}, seed {seed}"
