"""Rules 9 and 10 of the checker: what an app service was told, and what came of asking it.

They know docs/hooks.md and the records.  What is owed follows from what clients wrote down: who was told
that it is subscribed was subscribed.  The other direction is not judged: a notice of a subscription whose
answer was lost on the way is right.  A run without an app service owes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .ledger import Ledger
from .records import (
    Answered,
    AnyRecord,
    Called,
    Connected,
    Died,
    Fault,
    Healed,
    Left,
    Logs,
    Lost,
    Noticed,
    Sample,
    Subscribed,
    Subscribing,
    Unsubscribed,
    Unsubscribing,
)
from .violations import Violation
from .walk import is_personal

HANDED_S: Final = 1.0
"""What a process that was killed was told so shortly before may not have reached whoever keeps it."""
MACHINE_S: Final = 1.0
ANSWER_S: Final = 6.0
OCCUPIED: Final = "channel_occupied"
VACATED: Final = "channel_vacated"


class Owed(NamedTuple):
    """Something that happened, and of which the service has to be told."""

    kind: str
    client: str
    channel: str


@dataclass
class Stay:
    """One subscription of one connection, as the client saw it."""

    client: str
    channel: str
    begun: float
    ended: float = field(default=float("inf"))


@dataclass
class Story:
    """What one client's log says that happened: when what was owed, and who was where."""

    owed: list[tuple[float, Owed]] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    lost: list[tuple[float, int]] = field(default_factory=list)


def story_of(records: Iterable[AnyRecord]) -> Story:
    """Read a client's log."""
    story, client, here = Story(), "", dict[str, Stay]()
    for r in records:
        if isinstance(r, Connected):
            client = r.client
        elif isinstance(r, Subscribed) and not is_personal(r.channel) and r.channel not in here:
            here[r.channel] = Stay(client, r.channel, r.at)
            story.stays.append(here[r.channel])
            story.owed.append((r.at, Owed("subscribed", client, r.channel)))
        elif isinstance(r, Unsubscribed) and r.channel in here:
            here.pop(r.channel).ended = r.at
            story.owed.append((r.at, Owed("unsubscribed", client, r.channel)))
        elif isinstance(r, (Lost, Left)) and client:
            if isinstance(r, Lost):
                story.lost.append((r.at, r.code))
            story.owed.append((r.at, Owed("disconnect", client, "")))
            for stay in here.values():
                stay.ended = r.at
            client, here = "", {}
    return story


def rule_9(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """Every notice that is owed came and was taken, with one id and one text, in the order of its channel.

    Occupied and vacated take turns, and are true; at the end all is vacated.
    """
    if not logs.setting.notices:
        return
    heard = [r for r in logs.run if isinstance(r, Noticed)]
    stories = {who: story_of(records) for who, records in logs.clients.items()}
    first = _first_times(heard)
    yield from _same_each_time(heard)
    yield from _all_came(logs, heard, stories)
    dead = {r.id for r in logs.run if isinstance(r, Died)}
    yield from _replayed(logs, heard, dead)
    late = {r.key for r in first if r.id in dead}  # replayed ones come behind what waits, so out of order
    prompt = [r for r in first if r.key not in late]
    yield from _in_turn(prompt, lossy=logs.setting.epochs_change)
    yield from _balanced([r for r in first if r.key in late], logs)
    yield from _true(first, stories, logs, late)


def _first_times(heard: list[Noticed]) -> list[Noticed]:
    known: set[str] = set()
    return [r for r in heard if not (r.id in known or known.add(r.id))]  # type: ignore[func-returns-value]


def _same_each_time(heard: list[Noticed]) -> Iterator[Violation]:
    known: dict[str, Noticed] = {}
    ends: dict[str, str] = {}
    for r in heard:
        before = known.setdefault(r.id, r)
        if (before.kind, before.key, before.body) != (r.kind, r.key, r.body):
            yield Violation(9, f"notice {r.id} was {before.body}, and is {r.body}", r.channel)
        if r.kind == "disconnect" and ends.setdefault(r.client, r.id) != r.id:
            yield Violation(9, f"the end of {r.client} has two ids: {ends[r.client]}, {r.id}")


def _all_came(logs: Logs, heard: list[Noticed], stories: dict[str, Story]) -> Iterator[Violation]:
    taken: dict[str, Noticed] = {r.id: r for r in heard if r.taken}
    told = Counter(Owed(r.kind, r.client, r.channel) for r in taken.values())
    excused = _excuses(logs, heard)
    for who, story in stories.items():
        owed: dict[Owed, list[float]] = defaultdict(list)
        for at, one in story.owed:
            owed[one].append(at)
        for one, times in owed.items():
            missing = len(times) - told[one]
            if missing > sum(excused(at, one, story) for at in times):
                what = f"{one.kind} of {one.client} is owed {len(times)} times, and came {told[one]} times"
                yield Violation(9, what, one.channel, 0, who)


def _excuses(logs: Logs, heard: list[Noticed]) -> _Excuse:
    kills = [r.at for r in logs.run if isinstance(r, Fault) and r.name.startswith("SIGKILL")]
    begun = [r.happened for r in heard if r.kind == "notices_lost" and r.taken]
    return _Excuse(kills, begun if logs.setting.notices == "memory" else [])


class _Excuse(NamedTuple):
    """Why a notice may be missing: its process was killed just then, or it said that all is lost."""

    kills: list[float]
    begun: list[float]

    def __call__(self, at: float, one: Owed, story: Story) -> bool:
        near = any(-HANDED_S <= at - kill <= 2 * HANDED_S for kill in self.kills)
        entered = next((stay.begun for stay in story.stays if stay.client == one.client), at)
        if one.kind == "disconnect" and any(-HANDED_S <= entered - kill <= HANDED_S for kill in self.kills):
            near = True
        return near or any(kill < start and at < start for kill in self.kills for start in self.begun)


def _replayed(logs: Logs, heard: list[Noticed], dead: set[str]) -> Iterator[Violation]:
    """Every dead letter came again and was taken."""
    if logs.setting.dies and not dead:
        yield Violation(9, "no notice became a dead letter")
    taken = {r.id: r.at for r in heard if r.taken}
    died = {r.id: r.at for r in reversed(logs.run) if isinstance(r, Died)}
    for one, at in died.items():
        if taken.get(one, 0.0) < at:
            yield Violation(9, f"notice {one} was a dead letter, and was never taken")
    if logs.setting.notices == "redis" and not logs.setting.epochs_change:
        for r in _first_times(heard):
            if r.id not in taken and r.id not in died:
                yield Violation(9, f"notice {r.id} ({r.kind}) was tried, and never taken", r.channel)


def _balanced(first: list[Noticed], logs: Logs) -> Iterator[Violation]:
    """Where the order says nothing: as many left as came, and as often vacated as occupied."""
    counts = Counter((r.kind, r.client, r.channel) for r in first)
    for channel in sorted({r.channel for r in first if r.channel}):
        occupied, vacated = counts[OCCUPIED, "", channel], counts[VACATED, "", channel]
        if occupied != vacated and not logs.setting.epochs_change:
            yield Violation(9, f"it was occupied {occupied} times, and vacated {vacated} times", channel)
    stayed = {place: there for log in logs.clients.values() for place, there in _to_the_end(log)}
    if logs.setting.killed or logs.setting.epochs_change:
        stayed = {}  # one may be missing, for the reasons that `_excuses` has
    for client, channel in sorted({(r.client, r.channel) for r in first if r.client and r.channel}):
        came, went = counts["subscribed", client, channel], counts["unsubscribed", client, channel]
        if came - went not in stayed.get((client, channel), {0, 1}):
            yield Violation(9, f"{client} subscribed {came} times, and unsubscribed {went} times", channel)


def _to_the_end(log: Iterable[AnyRecord]) -> Iterator[tuple[tuple[str, str], set[int]]]:
    """Tell of each connection and channel whether it was in it (1) at its end, or not (0), or either."""
    client, ends = "", dict[str, set[int]]()
    for r in log:
        if isinstance(r, Connected):
            client, ends = r.client, {}
        elif isinstance(r, (Lost, Left)):
            yield from (((client, channel), end) for channel, end in ends.items())
            ends = {}
        elif isinstance(r, (Subscribing, Unsubscribing)):
            ends[r.channel] = {0, 1}
        elif isinstance(r, (Subscribed, Unsubscribed)):
            ends[r.channel] = {int(isinstance(r, Subscribed))}


def _in_turn(first: list[Noticed], *, lossy: bool) -> Iterator[Violation]:
    """Look at the order of each channel.  Where data was lost, things may be told anew."""
    states: dict[str, str] = {}
    lines: dict[tuple[str, str], str] = {}
    for r in first:
        if r.kind in {OCCUPIED, VACATED}:
            before = states.get(r.channel, VACATED)
            if before == r.kind and not lossy:
                yield Violation(9, f"{r.kind} was told twice in a row ({r.id})", r.channel)
            states[r.channel] = r.kind
        elif r.kind in {"subscribed", "unsubscribed"}:
            before = lines.get((r.client, r.channel), "unsubscribed")
            if before == r.kind:
                yield Violation(9, f"{r.kind} of {r.client} came after {before}", r.channel)
            lines[r.client, r.channel] = r.kind
            if r.kind == "subscribed" and states.get(r.channel) != OCCUPIED and not lossy:
                yield Violation(9, f"{r.client} subscribed where nobody was told to be", r.channel)


def _true(first: list[Noticed], stories: dict[str, Story], logs: Logs, late: set[str]) -> Iterator[Violation]:
    stays: dict[str, list[Stay]] = defaultdict(list)
    for story in stories.values():
        for stay in story.stays:
            stays[stay.channel].append(stay)
    state: dict[str, str] = {}
    for r in first:
        if r.kind == VACATED:
            for stay in stays[r.channel]:
                if stay.begun + MACHINE_S < r.happened < stay.ended - MACHINE_S:
                    yield Violation(9, f"vacated was told while {stay.client} was there", r.channel)
                    break
        if r.kind in {OCCUPIED, VACATED}:
            state[r.channel] = r.kind
    for channel in sorted(stays.keys() | state.keys()):
        if channel not in late and state.get(channel) != VACATED:
            yield Violation(9, f"everybody has left, and the last word is {state.get(channel)}", channel)
    prompt = {channel: there for channel, there in stays.items() if channel not in late}
    yield from _occupied_before_leaving(first, prompt, logs)


def _occupied_before_leaving(
    first: list[Noticed], stays: dict[str, list[Stay]], logs: Logs
) -> Iterator[Violation]:
    """Look at the moment before everybody left: who was there for a while was told to be."""
    leaving = min((r.at for log in logs.clients.values() for r in log if isinstance(r, Left)), default=0.0)
    state = {r.channel: r.kind for r in first if r.at < leaving and r.kind in {OCCUPIED, VACATED}}
    for channel, there in stays.items():
        longest = max((leaving - s.begun for s in there if s.ended >= leaving > s.begun), default=0.0)
        if longest > 10 * MACHINE_S and state.get(channel) != OCCUPIED:
            yield Violation(9, f"it had a subscriber for {longest:.0f} s, and was not told to", channel)


def rule_10(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """Calls are answered in time, by the service in the end; breakers open and close; nobody is cut off."""
    setting = logs.setting
    if not setting.notices:
        return
    healed = max((r.at for r in logs.run if isinstance(r, Healed)), default=float("inf"))
    for who, records in logs.clients.items():
        yield from _calls_answered(who, records, healed)
        if setting.stays and not who.startswith("guest"):
            for at, code in story_of(records).lost:
                if at < healed:
                    yield Violation(10, f"a connection ended with {code}", who=who)
    if setting.opens:
        yield from _opened_and_closed(logs)


def _calls_answered(who: str, records: list[AnyRecord], healed: float) -> Iterator[Violation]:
    asked: dict[int, float] = {}
    good = 0.0
    for r in records:
        if isinstance(r, Called):
            asked[r.number] = r.at
        elif isinstance(r, Answered):
            if r.number not in asked:
                yield Violation(10, f"call {r.number} was answered twice", who=who)
            elif r.at - asked.pop(r.number) > ANSWER_S:
                yield Violation(10, f"call {r.number} was answered late", who=who)
            if not r.code:
                good = r.at
        elif isinstance(r, Left):
            break  # what is still on its way to it is not for the log
        elif isinstance(r, Lost):
            asked.clear()
    if any(isinstance(r, Called) for r in records) and good < healed:
        yield Violation(10, "no call was answered by the service after healing", who=who)


def _opened_and_closed(logs: Logs) -> Iterator[Violation]:
    ends = [r for r in logs.run if isinstance(r, Sample) and r.phase == "end"]

    def total(name: str) -> float:
        return sum(v for r in ends for n, v in r.values.items() if n.startswith(name))

    if not total("ringgate_upstream_breaker_opened_total"):
        yield Violation(10, "no breaker opened")
    if any(not v for r in ends for n, v in r.values.items() if n.startswith("ringgate_upstream_target_up")):
        yield Violation(10, "a breaker is open at the end")
