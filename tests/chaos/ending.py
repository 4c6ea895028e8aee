"""Rules 6 to 8 of the checker: how a run ended.

6 looks at where clients stood some time after healing, 7 and 8 at samples of the gateways' metrics from
before the first client and after the last.  A run without samples, or that never healed, is a finding:
what nobody looked at was not shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from .ledger import Ledger
from .records import (
    AnyRecord,
    Connected,
    Gap,
    Healed,
    Left,
    Logs,
    Lost,
    Sample,
    Subscribed,
    Subscribing,
    Unsubscribed,
)
from .violations import Violation
from .walk import Position, is_personal, walk

ABRUPT: Final = 1006
SLOW: Final = 4200
BASELINE: Final = (
    "ringgate_connections",
    "ringgate_sessions",
    "ringgate_channels",
    "ringgate_ring_bytes",
    "ringgate_ring_lagging",
    "ringgate_broker_members",
    "rig_descriptors",
    "rig_processes",
    "rig_redis_subscriptions",
)
"""What has to be no more at the end than it was at the start, wherever it is in both samples."""


def rule_6(logs: Logs, ledger: Ledger) -> Iterator[Violation]:
    """Some time after healing, and after the last publication, each subscriber is at the head."""
    healed = max((r.at for r in logs.run if isinstance(r, Healed)), default=None)
    if healed is None:
        yield Violation(6, "the run never healed")
        return
    left = {who: r.at for who, log in logs.clients.items() for r in log if isinstance(r, Left)}
    staying = {
        who: (log, {r.channel for r in log if isinstance(r, (Subscribing, Subscribed))})
        for who, log in logs.clients.items()
        if left.get(who, healed) >= healed
    }
    for channel in sorted({m.intent.channel for m in ledger.messages.values()}):
        head = None if is_personal(channel) else ledger.head(channel)
        if head is None:
            continue
        text = ledger.offsets[channel, head[0]][head[1]]
        settled = max(healed, *(a.at for a in ledger.messages[text].acknowledged))
        for who, (records, asked_for) in staying.items():
            if channel not in asked_for:
                continue
            problem = _not_at(head, channel, records, settled, settled + logs.setting.heal_s)
            if problem:
                yield Violation(6, problem, channel, head[1], who)


def _not_at(
    head: tuple[str, int], channel: str, records: list[AnyRecord], settled: float, deadline: float
) -> str:
    """Say what is wrong with where a client stands at the deadline, or when it left; "" for nothing."""
    left = next((r.at for r in records if isinstance(r, Left)), None)
    if left is not None and left < settled:
        return ""
    until = [r for r in records if r.at <= deadline and not isinstance(r, Left)]
    if left is not None:
        until = [r for r in until if r.at <= left]
    if not _wanted(channel, until):
        return ""
    stands: dict[str, Position] = {}
    for _ in walk(until, stands):
        pass
    if not _connected(until):
        return "has no connection, long after healing"
    stand = stands.get(channel)
    if stand is None:
        return "has no subscription, long after healing"
    if stand.epoch != head[0] or stand.offset < head[1]:
        return f"stands at {stand}; the channel is at {Position(*head)}"
    return ""


def _wanted(channel: str, records: Iterable[AnyRecord]) -> bool:
    wanted = False
    for r in records:
        if isinstance(r, (Subscribing, Subscribed)) and r.channel == channel:
            wanted = True
        elif isinstance(r, Unsubscribed) and r.channel == channel:
            wanted = False
    return wanted


def _connected(records: Iterable[AnyRecord]) -> bool:
    connected = False
    for r in records:
        if isinstance(r, (Connected, Lost)):
            connected = isinstance(r, Connected)
    return connected


def rule_7(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """Gaps, dropped frames and slow clients as the gateways count them are those that clients were told of.

    A connection that broke may have been told more than it wrote down; a process that was killed may have
    told more than it had counted.
    """
    heard = [r for records in logs.clients.values() for r in _until_it_left(records)]
    slow = [r for r in heard if isinstance(r, Gap) and r.reason == "slow"]
    codes = [r.code for r in heard if isinstance(r, Lost)]
    told = {
        "ringgate_gaps_total": len(slow),
        'ringgate_frames_dropped_total{reason="slow_skip|slow_latest"}': sum(
            gap.last - gap.first + 1 for gap in slow if gap.last
        ),
        "ringgate_slow_disconnects_total": codes.count(SLOW),
    }
    for name, count in told.items():
        counted = sum(_increase(logs, part) for part in _names(name))
        if count > counted and not logs.setting.killed:
            yield Violation(7, f"{name} grew by {counted:g}, and clients were told of {count}")
        elif counted > count and ABRUPT not in codes:
            yield Violation(7, f"{name} grew by {counted:g}, and clients were told of {count} only")


def _until_it_left(records: list[AnyRecord]) -> Iterator[AnyRecord]:
    return itertools.takewhile(lambda r: not isinstance(r, Left), records)


def _names(name: str) -> list[str]:
    head, _, reasons = name.partition('{reason="')
    return [f'{head}{{reason="{reason}"}}' for reason in reasons[:-2].split("|")] if reasons else [name]


def _increase(logs: Logs, name: str) -> float:
    sign = {"start": -1, "end": 1}
    return sum(sign.get(s.phase, 0) * s.values.get(name, 0.0) for s in logs.run if isinstance(s, Sample))


def rule_8(logs: Logs, _: Ledger) -> Iterator[Violation]:
    """Descriptors, connections, channels, ring memory and subscriptions are back where they started."""
    samples = [r for r in logs.run if isinstance(r, Sample)]
    starts = {s.gateway: s for s in samples if s.phase == "start"}
    ends = {s.gateway: s for s in samples if s.phase == "end"}
    if not starts:
        yield Violation(8, "nobody looked at the metrics before the first client")
    for gateway, start in starts.items():
        if gateway not in ends:
            yield Violation(8, f"nobody looked at the metrics of {gateway} after the last client")
            continue
        end = ends[gateway].values
        for name in BASELINE:
            if name in start.values and end.get(name, 0.0) > start.values[name]:
                what = f"{name} of {gateway} is {end[name]:g}, and was {start.values[name]:g}"
                yield Violation(8, what)
