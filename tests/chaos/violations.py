"""What a rule found: which rule, what happened, and where to look for it in the logs."""

from __future__ import annotations

from typing import NamedTuple

RULES = {
    1: "every publish is logged: intent, then what became of it",
    2: "one offset is one message for all; recovered means everything",
    3: "offsets step by one, or a gap explains it",
    4: "delivered is a part of what was meant, each message once",
    5: "private messages reach nobody else",
    6: "after healing everybody is at the head",
    7: "the gateway counts what was counted here",
    8: "everything returns to where it started",
    9: "an app service is told all, in order, truly",
    10: "calls are answered, breakers open and close",
    11: "a state is one state",
    12: "who comes and goes is told once",
}


class Violation(NamedTuple):
    """One broken promise.  `offset` is -1 and `who` or `channel` empty where there is none."""

    rule: int
    text: str
    channel: str = ""
    offset: int = -1
    who: str = ""

    def __str__(self) -> str:
        place = f" channel {self.channel}" * bool(self.channel) + f" offset {self.offset}" * (
            self.offset >= 0
        )
        return f"rule {self.rule}:{place}{f' client {self.who}' * bool(self.who)}: {self.text}"


def report(violations: list[Violation], most: int = 20) -> str:
    """Return the first violations of each rule, one a line, and how many there are."""
    lines = []
    for rule, what in RULES.items():
        of_rule = [v for v in violations if v.rule == rule]
        if of_rule:
            lines.append(f"{len(of_rule)} of rule {rule} ({what}):")
            lines += [f"  {violation}" for violation in of_rule[:most]]
    return "\n".join(lines) or "nothing was broken"
