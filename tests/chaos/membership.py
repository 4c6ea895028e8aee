"""Rule 12 of the checker: who was told to come and to go, by those who watched.

It knows the records of watchers, and what the others wrote down of their own connections.  Only watchers
whose connection lasted are judged: what is told of comings and goings has no offset, and is not told again.
A run without watchers owes nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from .ledger import Ledger
from .records import AnyRecord, Came, Connected, Left, Logs, Lost, Subscribed, Went
from .violations import Violation

MACHINE_S: Final = 1.0
SOON_S: Final = 5.0
"""What happens so shortly before the end of a watch may be told or not."""


class Member(NamedTuple):
    """A connection in a channel: from when it knew that it is subscribed, until its end."""

    client: str
    channel: str
    begun: float
    ended: float


class Watch(NamedTuple):
    """What one watcher was told of one channel while it watched: (when, whether it came) of each client."""

    who: str
    channel: str
    begun: float
    ended: float
    told: dict[str, list[tuple[float, bool]]]


def rule_12(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """Each member is told to come once and, once it is gone, to go once, to everybody who watches."""
    watchers = {who for who, log in logs.clients.items() if any(isinstance(r, (Came, Went)) for r in log)}
    if not watchers:
        return
    members = [member for log in logs.clients.values() for member in _members(log)]
    by_channel: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_channel[member.channel].append(member)
    for who in sorted(watchers):
        for watch in _watches(who, logs.clients[who]):
            yield from _in_turn(watch)
            yield from _true(watch, by_channel[watch.channel], logs.setting.heal_s)


def _members(log: list[AnyRecord]) -> Iterator[Member]:
    client, here = "", dict[str, float]()
    for r in log:
        if isinstance(r, Connected):
            client = r.client
        elif isinstance(r, Subscribed):
            here.setdefault(r.channel, r.at)
        elif isinstance(r, (Lost, Left)):
            for channel, begun in here.items():
                yield Member(client, channel, begun, r.at)
            here.clear()


def _watches(who: str, log: list[AnyRecord]) -> Iterator[Watch]:
    here: dict[str, Watch] = {}
    for r in log:
        if isinstance(r, Subscribed):
            here[r.channel] = Watch(who, r.channel, r.at, float("inf"), defaultdict(list))
        elif isinstance(r, (Came, Went)) and r.channel in here:
            here[r.channel].told[r.client].append((r.at, isinstance(r, Came)))
        elif isinstance(r, (Lost, Left)):
            for watch in here.values():
                yield watch._replace(ended=r.at)
            here.clear()


def _in_turn(watch: Watch) -> Iterator[Violation]:
    """A client comes before it goes, and goes before it comes again."""
    for client, told in watch.told.items():
        for (_, before), (_, now) in itertools.pairwise(told):
            if before == now:
                text = f"{client} was told twice in a row to {'come' if now else 'go'}"
                yield Violation(12, text, watch.channel, who=watch.who)


def _true(watch: Watch, members: list[Member], heal_s: float) -> Iterator[Violation]:
    for client, channel, begun, ended in members:
        if begun < watch.begun + MACHINE_S:
            continue  # it may have been there before, or have come while the watcher did
        told = watch.told.get(client, [])
        counts = Counter(came for _, came in told)
        if begun < watch.ended - SOON_S and counts[True] != 1:
            text = f"{client} was told to come {counts[True]} times"
            yield Violation(12, text, channel, who=watch.who)
        if ended < watch.ended - SOON_S and counts[False] != 1:
            text = f"{client} was told to go {counts[False]} times"
            yield Violation(12, text, channel, who=watch.who)
        for at, came in told:
            if not came and at < ended - MACHINE_S:
                text = f"{client} was told to go {ended - at:.1f} s before it did"
                yield Violation(12, text, channel, who=watch.who)
            elif not came and at > ended + heal_s:
                text = f"{client} was told to go {at - ended:.1f} s after it did"
                yield Violation(12, text, channel, who=watch.who)
