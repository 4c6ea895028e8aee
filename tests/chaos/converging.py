"""Rule 11 of the checker: a state is the same for everybody, and keeps what was acknowledged.

It knows the records of editors.  A version is named by channel, epoch and number.  Runs without editors owe
nothing.  Where a fault may cost data the epoch changes: what is said of versions holds within each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .ledger import Ledger
from .records import Had, Logs, Updated, Updating
from .violations import Violation


class Version(NamedTuple):
    """One state of one channel."""

    channel: str
    epoch: str
    number: int


def rule_11(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """One version is one value; an update that was acknowledged is its version, and stays in those after it.

    One that was refused is in none.  In the end every copy is what the gateways have.
    """
    if not any(isinstance(r, Updating) for log in logs.clients.values() for r in log):
        return
    known = {who: [r for r in log if isinstance(r, Had)] for who, log in logs.clients.items()}
    known["the gateways"] = [r for r in logs.run if isinstance(r, Had)]
    yield from _one_value(known)
    yield from _kept(logs, known)
    yield from _refused(logs, known)
    yield from _agreed(known)


def _one_value(known: dict[str, list[Had]]) -> Iterator[Violation]:
    values: dict[Version, tuple[str, str]] = {}
    for who, records in known.items():
        for r in records:
            text, other = values.setdefault(Version(r.channel, r.epoch, r.version), (r.text, who))
            if text != r.text:
                yield Violation(11, f"is {r.text} here, and {text} for {other}", r.channel, r.version, who)


def _changes(logs: Logs) -> Iterator[tuple[Updating, Updated]]:
    for log in logs.clients.values():
        begun = {r.message: r for r in log if isinstance(r, Updating)}
        for r in log:
            if isinstance(r, Updated):
                yield begun[r.message], r


def _kept(logs: Logs, known: dict[str, list[Had]]) -> Iterator[Violation]:
    made = {Version(r.channel, r.epoch, r.version): begun for begun, r in _changes(logs) if not r.code}
    for who, records in known.items():
        for r in records:
            change = made.get(Version(r.channel, r.epoch, r.version))
            if change is not None and r.last != change.message:
                what = f"was acknowledged for {change.message}, and is {r.last}'s"
                yield Violation(11, what, r.channel, r.version, who)
    for version, change in made.items():
        for who, records in known.items():
            later = (
                r for r in records if (r.channel, r.epoch) == version[:2] and r.version >= version.number
            )
            lost = next((r for r in later if r.marks.get(change.editor, 0) < change.number), None)
            if lost is not None:
                what = f"{change.message}, acknowledged as {version.number}, is not in it"
                yield Violation(11, what, lost.channel, lost.version, who)
                break


def _refused(logs: Logs, known: dict[str, list[Had]]) -> Iterator[Violation]:
    if logs.setting.epochs_change:
        return  # keys end with an epoch: what was asked twice may have happened before it was refused
    seen = {r.last: r for records in known.values() for r in records}
    for begun, r in _changes(logs):
        if r.code and begun.message in seen:
            version = seen[begun.message].version
            yield Violation(11, f"{begun.message} was refused, and happened", begun.channel, version)


def _agreed(known: dict[str, list[Had]]) -> Iterator[Violation]:
    final = known["the gateways"]
    if not final:
        yield Violation(11, "nobody looked at the states in the end")
    for r in final:
        for who, records in known.items():
            mine = [other for other in records if other.channel == r.channel]
            if mine and (mine[-1].epoch, mine[-1].version, mine[-1].text) != (r.epoch, r.version, r.text):
                what = f"has version {mine[-1].version} in the end; a gateway has {r.version}"
                yield Violation(11, what, r.channel, r.version, who)
