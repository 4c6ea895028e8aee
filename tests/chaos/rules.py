"""Rules 1 to 5 of the checker: what was published, and what each client was told.

Each rule is a function of the logs that yields what it found; none of them relies on another one having
passed.  They know the client protocol (docs/protocol.md) and the records, nothing of how a run is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .ledger import Ledger
from .records import Acknowledged, Connected, Delivered, Failed, Gap, Intent, Logs, Subscribed, Unknown
from .violations import Violation
from .walk import Position, Step, is_personal, walk


def rule_1(logs: Logs, ledger: Ledger) -> Iterator[Violation]:
    """Every publish has an intent before its outcome; a position that was answered stays."""
    for name, records in logs.publishers.items():
        meant: set[str] = set()
        for record in records:
            if isinstance(record, Intent):
                if record.message in meant:
                    yield Violation(1, f"{record.message} was meant twice by {name}", record.channel)
                meant.add(record.message)
            elif isinstance(record, (Acknowledged, Failed, Unknown)) and record.message not in meant:
                yield Violation(1, f"{name} has an outcome of {record.message}, which nobody meant")
    for text, message in ledger.messages.items():
        answers = {(a.epoch, a.offset) for a in message.acknowledged}
        if len(answers) > 1 or any(offset < 1 for _, offset in answers):
            yield Violation(1, f"{text} was answered with {sorted(answers)}", message.intent.channel)


def rule_2(logs: Logs, ledger: Ledger) -> Iterator[Violation]:
    """One offset is one message, and who was told `recovered: true` has everything."""
    yield from _one_message_for_an_offset(logs, ledger)
    for who, records in logs.clients.items():
        yield from _recovered_is_whole(who, list(walk(records)), ledger)
        yield from _told_as_promised(who, records_of(logs, who), logs)


def records_of(logs: Logs, who: str) -> list[Step]:
    """Return the steps of a client."""
    return list(walk(logs.clients[who]))


def _one_message_for_an_offset(logs: Logs, ledger: Ledger) -> Iterator[Violation]:
    known: dict[tuple[str, str, int], tuple[str, str]] = {}
    ids: dict[tuple[str, str, int], str] = {}
    epochs: dict[str, set[str]] = defaultdict(set)
    for text, message in ledger.messages.items():
        for answer in message.acknowledged:
            place = (message.intent.channel, answer.epoch, answer.offset)
            other, whose = known.setdefault(place, (text, "its publisher was told"))
            epochs[text].add(answer.epoch)
            if other != text:
                told = f"acknowledged for {text} and for {other}"
                yield Violation(2, told, place[0], answer.offset)
    for who, records in logs.clients.items():
        for r in records:
            if not isinstance(r, Delivered) or not r.epoch:
                continue
            place = (r.channel, r.epoch, r.offset)
            other, whose = known.setdefault(place, (r.message, f"client {who} saw"))
            epochs[r.message].add(r.epoch)
            if other != r.message:
                yield Violation(2, f"is {r.message} here, and {other} ({whose})", r.channel, r.offset, who)
            elif ids.setdefault(place, r.id) != r.id:
                text = f"{r.message} has the id {r.id} here, and {ids[place]} elsewhere"
                yield Violation(2, text, r.channel, r.offset, who)
    yield from _moved(ledger, epochs)


def _moved(ledger: Ledger, epochs: dict[str, set[str]]) -> Iterator[Violation]:
    """Find messages that count in more epochs than there were attempts that can have put them there."""
    for text, found in epochs.items():
        message = ledger.messages.get(text)
        attempts = message.unknown + bool(message.acknowledged) if message else 0
        if message and len(found) > max(attempts, 1):
            yield Violation(2, f"{text} counts in the epochs {sorted(found)}", message.intent.channel)


def _recovered_is_whole(who: str, steps: list[Step], ledger: Ledger) -> Iterator[Violation]:
    """Everything acknowledged since the position of a resume was delivered, up to where it got."""
    chains: dict[str, Chain] = {}
    for _, record, since in steps:
        if isinstance(record, Subscribed) and not (record.recovered and since is not None):
            chain = chains.pop(record.channel, None)
            yield from chain.missing(who, ledger) if chain else ()
        elif isinstance(record, Subscribed) and since is not None:
            chains.setdefault(record.channel, Chain(record.channel, since))
        elif isinstance(record, Gap) and record.channel in chains:
            if record.epoch:
                yield from chains.pop(record.channel).missing(who, ledger)
            else:
                chains[record.channel].told.append((record.first, record.last))
        elif isinstance(record, Delivered) and record.channel in chains:
            chains[record.channel].seen.add(record.offset)
    for chain in chains.values():
        yield from chain.missing(who, ledger)


@dataclass
class Chain:
    """What a client had of a channel since its first resume that was recovered, up to where that ended."""

    channel: str
    since: Position
    told: list[tuple[int, int]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def missing(self, who: str, ledger: Ledger) -> Iterator[Violation]:
        """Yield what was acknowledged in between, and neither seen nor told as a gap."""
        newest = max(self.seen, default=0)
        for offset, text in ledger.offsets[self.channel, self.since.epoch].items():
            if not self.since.offset < offset <= newest or offset in self.seen:
                continue
            if not any(first <= offset <= last for first, last in self.told):
                what = f"{text} never came, though everything since {self.since} was recovered"
                yield Violation(2, what, self.channel, offset, who)


def _told_as_promised(who: str, steps: list[Step], logs: Logs) -> Iterator[Violation]:
    """Within one epoch a history that reaches back recovers; epochs change only where they may."""
    history, may_change = logs.history, logs.setting.epochs_change
    for before, r, since in steps:
        if isinstance(r, Subscribed) and since is not None:
            place = (r.channel, r.offset, who)
            if r.recovered and (r.epoch != since.epoch or r.offset < since.offset):
                yield Violation(2, f"recovered from {since}, but the channel is in epoch {r.epoch}", *place)
            elif not r.recovered and r.epoch == since.epoch and _kept(history, r, since):
                yield Violation(2, f"not recovered from {since}, which the history reaches", *place)
            elif r.epoch != since.epoch and not may_change:
                yield Violation(2, f"epoch {since.epoch} became {r.epoch} and nothing was lost", *place)
        elif isinstance(r, Gap) and before is not None and not is_personal(r.channel):
            if r.epoch and not may_change:
                yield Violation(2, f"a gap says epoch {r.epoch}: nothing was lost", r.channel, r.last, who)
            elif r.reason == "lost" and not r.epoch and history.get(r.channel, 0) > r.last - r.first:
                what = f"{r.first} to {r.last} are told as lost, which the history has"
                yield Violation(2, what, r.channel, r.first, who)


def _kept(history: dict[str, int], reply: Subscribed, since: Position) -> bool:
    """Tell whether everything since a position is in a history.  Nothing at all can always be had."""
    return 0 <= reply.offset - since.offset <= history.get(reply.channel, 0)


def rule_3(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """Per client and channel offsets step by one; a gap that was told explains what is missing."""
    for who in logs.clients:
        for before, record, _since in records_of(logs, who):
            if isinstance(record, Delivered):
                problem = _bad_message(before, record)
            elif isinstance(record, Gap):
                problem = _bad_gap(before, record)
            else:
                continue
            if problem:
                offset = record.offset if isinstance(record, Delivered) else record.first
                yield Violation(3, problem, record.channel, offset, who)


def _bad_message(before: Position | None, record: Delivered) -> str:
    if before is None:
        if is_personal(record.channel):
            return ""
        return f"{record.message} came without a subscription"
    if record.epoch != before.epoch:
        return f"{record.message} came in epoch {record.epoch} after {before}, and nothing told of it"
    if record.offset != before.offset + 1:
        return f"{record.message} came after {before}"
    return ""


def _bad_gap(before: Position | None, gap: Gap) -> str:
    if before is None:
        return "" if is_personal(gap.channel) else "a gap was told without a subscription"
    if gap.epoch:
        if gap.epoch == before.epoch:
            return f"a gap begins epoch {gap.epoch} anew"
        first = 1
    else:
        first = before.offset + 1
    if gap.last and (gap.first != first or gap.last < gap.first):
        return f"a gap from {gap.first} to {gap.last} was told after {before}"
    return ""


def rule_4(logs: Logs, ledger: Ledger) -> Iterator[Violation]:
    """What is delivered was meant, for this channel, and is one publication in each epoch.

    A new connection cannot say what it had of a personal channel, so there once for each connection.
    """
    places: dict[tuple[str, str], int] = {}
    for who, records in logs.clients.items():
        mine: set[tuple[str, str, str, int]] = set()
        for r in records:
            if isinstance(r, Connected):
                mine = {place for place in mine if not is_personal(place[0])}
            if not isinstance(r, Delivered):
                continue
            message, place = ledger.messages.get(r.message), (r.channel, r.message, r.epoch, r.offset)
            problem = ""
            if message is None:
                problem = f"{r.message} was never published"
            elif message.intent.channel != r.channel:
                problem = f"{r.message} was meant for {message.intent.channel}"
            elif message.never:
                problem = f"{r.message} came, though its publisher was told that nothing happened"
            elif place in mine:
                problem = f"{r.message} came twice"
            elif places.setdefault((r.message, r.epoch), r.offset) != r.offset:
                problem = (
                    f"{r.message} is at {places[r.message, r.epoch]} too, with key {message.intent.key!r}"
                )
            elif any(a.offset != r.offset and r.epoch in {a.epoch, ""} for a in message.acknowledged):
                problem = f"{r.message} was acknowledged at {message.acknowledged[0].offset}"
            if problem:
                yield Violation(4, problem, r.channel, r.offset, who)
            mine.add(place)


def rule_5(logs: Logs, ledger: Ledger) -> Iterator[Violation]:
    """Messages to a user reach no connection of anybody else."""
    for who, records in logs.clients.items():
        user = ""
        for r in records:
            if isinstance(r, Connected):
                user = r.user
            elif isinstance(r, Delivered):
                message = ledger.messages.get(r.message)
                meant = message.intent.user if message else ""
                named = r.channel[1:] if is_personal(r.channel) and r.channel[:2] != "@#" else ""
                for owner in {meant, named} - {"", user}:
                    what = f"{r.message} is private to {owner}, and came to {user or 'nobody in particular'}"
                    yield Violation(5, what, r.channel, r.offset, who)
