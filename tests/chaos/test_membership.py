"""Rule 12 finds nothing where a crowd comes and goes as it should, and every planted bug."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.chaos.judge import RULES
from tests.chaos.ledger import Ledger
from tests.chaos.membership import rule_12
from tests.chaos.records import Came, Connected, Left, Logs, Lost, Setting, Subscribed, Went
from tests.chaos.violations import Violation, report

ROOM = "crowd:1"
GONE_S = 20.0
END_S = 60.0


def correct(seed: int) -> Logs:
    """Two watchers, and ten clients of which some leave early; the others are gone in the same moment."""
    dice = random.Random(seed)  # noqa: S311
    logs = Logs(run=[Setting(at=0.0, row="model", seed=seed)])
    told: list[Came | Went] = []
    for number in range(10):
        client, came = f"n{number}", dice.uniform(3.0, 8.0)
        went = dice.choice([GONE_S, GONE_S, dice.uniform(10.0, 15.0)])
        logs.clients[f"x{number}"] = [
            Connected(at=came - 0.2, client=client),
            Subscribed(at=came, channel=ROOM, epoch="e", offset=0),
            Lost(at=went, code=1006),
            Left(at=went),
        ]
        told += [Came(at=came + dice.uniform(0.0, 0.3), channel=ROOM, client=client)]
        told += [Went(at=went + dice.uniform(0.0, 2.0), channel=ROOM, client=client)]
    told.sort(key=lambda r: r.at)
    for number in range(2):
        logs.clients[f"watcher{number}"] = [
            Connected(at=1.0, client=f"w{number}"),
            Subscribed(at=1.1, channel=ROOM, epoch="e", offset=0),
            *told,
            Left(at=END_S),
        ]
    return logs


def found(logs: Logs) -> list[Violation]:
    return list(rule_12(logs, Ledger()))


def drawn(logs: Logs, dice: random.Random, kind: type[Came | Went]) -> tuple[list[Any], int]:
    log: list[Any] = logs.clients[f"watcher{dice.randrange(2)}"]
    return log, dice.choice([i for i, r in enumerate(log) if isinstance(r, kind)])


Plant = Callable[[Logs, random.Random], None]


def lost(kind: type[Came | Went]) -> Plant:
    def plant(logs: Logs, dice: random.Random) -> None:
        log, at = drawn(logs, dice, kind)
        del log[at]

    return plant


def doubled(kind: type[Came | Went]) -> Plant:
    def plant(logs: Logs, dice: random.Random) -> None:
        log, at = drawn(logs, dice, kind)
        log.insert(at + 1, log[at])

    return plant


def at_another_time(kind: type[Came | Went], by_s: float) -> Plant:
    def plant(logs: Logs, dice: random.Random) -> None:
        log, at = drawn(logs, dice, kind)
        log[at] = msgspec.structs.replace(log[at], at=log[at].at + by_s)

    return plant


def goes_and_comes_again(logs: Logs, dice: random.Random) -> None:
    """It is told to be gone while it is there, and then to be there: a flapping presence."""
    log, at = drawn(logs, dice, Came)
    here = log[at]
    log[at + 1 : at + 1] = [Went(at=here.at, channel=ROOM, client=here.client), here]


def nobody_goes(logs: Logs, dice: random.Random) -> None:
    for who in ("watcher0", "watcher1"):
        logs.clients[who][:] = [r for r in logs.clients[who] if not isinstance(r, Went)]


BUGS: dict[str, Plant] = {
    "a leave is lost": lost(Went),
    "a join is lost": lost(Came),
    "a leave comes twice": doubled(Went),
    "a join comes twice": doubled(Came),
    "a leave is too early": at_another_time(Went, -6.0),
    "a leave is too late": at_another_time(Went, 34.0),
    "it goes and comes again": goes_and_comes_again,
    "nobody is told to go": nobody_goes,
}


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_found_in_a_correct_run(seed: int) -> None:
    violations = found(correct(seed))
    assert not violations, report(violations)


@pytest.mark.parametrize("name", BUGS)
def test_every_planted_bug_is_found(name: str) -> None:
    for seed in range(10):
        logs = correct(seed)
        BUGS[name](logs, random.Random(seed))  # noqa: S311
        assert found(logs), f"{name}, seed {seed}"


def test_a_watcher_whose_connection_broke_is_not_judged_for_what_it_missed() -> None:
    logs = correct(1)
    for who in ("watcher0", "watcher1"):
        log = logs.clients[who]
        log[:] = [r for r in log if r.at < GONE_S - 1.0]
        log.append(Lost(at=GONE_S - 1.0, code=1006))
    assert not found(logs)


def test_the_judge_asks_this_rule() -> None:
    assert rule_12 in RULES
