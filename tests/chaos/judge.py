"""The judge: all rules over the logs of one run.

    python -m tests.chaos.judge FOLDER...

reads what a run left in a folder and prints what was broken; its status is 1 if anything was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from .converging import rule_11
from .ending import rule_6, rule_7, rule_8
from .hearing import rule_9, rule_10
from .ledger import Ledger, ledger_of
from .membership import rule_12
from .records import Logs
from .rules import rule_1, rule_2, rule_3, rule_4, rule_5
from .violations import Violation, report

Rule = Callable[[Logs, Ledger], Iterator[Violation]]
RULES: Final[tuple[Rule, ...]] = (
    rule_1, rule_2, rule_3, rule_4, rule_5, rule_6, rule_7, rule_8, rule_9, rule_10, rule_11, rule_12,
)  # fmt: skip


def judge(logs: Logs) -> list[Violation]:
    """Return every broken promise that the logs of a run show, in the order of the rules."""
    ledger = ledger_of(logs)
    return [violation for rule in RULES for violation in rule(logs, ledger)]


def main(folders: list[str]) -> int:
    """Judge the logs in each folder; return 1 if something was broken."""
    broken = 0
    for folder in folders:
        violations = judge(Logs.read(Path(folder)))
        print(f"{folder}: {report(violations)}")
        broken |= bool(violations)
    return broken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
