"""Slow consumers under load: what stalled clients cost the others, and whether all they lose is counted.

The healthy ones hear a channel at a fixed rate (open loop), first alone, then beside stalled ones that
subscribed to the same channel and do not read.  These are of another kind of client: small buffers and
Ethernet's segments, so that the kernel takes some 80 KB for each and not some MB.  In the end they read
everything; what they heard and lost must be what the metrics say.  Where the policy is to disconnect, they
come back and must miss nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.crowd import Crowd, Member
from bench.internal import ask, metrics
from gateway.bench import report, runs
from gateway.bench._fanout import FanoutLoad
from gateway.bench.histogram import Histogram
from gateway.bench.processes import Meter
from gateway.bench.target import split, upgrade_target
from gateway.cli.version import ringgate_version

SLOW_CONSUMER: Final = 4200
_SAMPLE_S: Final = 0.5


@dataclass(frozen=True)
class Counted:
    """What the gateway counted for a policy: frames dropped, gaps told, clients disconnected."""

    dropped: int
    gaps: int
    disconnected: int

    @classmethod
    def now(cls, api: str, policy: str) -> Counted:
        """Read it.  Raises BenchError."""
        found = metrics(api)
        return cls(
            dropped=int(found.get(f'ringgate_frames_dropped_total{{reason="slow_{policy}"}}', 0)),
            gaps=int(found.get("ringgate_gaps_total", 0)),
            disconnected=int(found.get("ringgate_slow_disconnects_total", 0)),
        )


def run_stalled(
    address: str,
    api: str,
    plan: runs.Plan,
    *,
    policy: str,
    clients: int,
    size: int,
    stall_s: float,
) -> dict[str, Any]:
    """Measure with one in ten of `clients` stalled; `stall_s` is how long they are.  Raises BenchError."""
    channel = f"{policy}:{runs.mark().hex()}"
    how = runs.Subscribing(channel_prefix=channel)
    healthy, stalled = clients - clients // 10, Crowd(address, small=True)
    load = _load(f"ws://{address}/ws", how, healthy, size)
    try:
        with runs.opened(load, plan, _quiet):
            first = _result(load, plan, runs.measure(load, plan, _quiet), healthy, size)
            stalled.come([how.channel(0)] * (clients // 10))
            memory = Memory(plan)
            second_plan = replace(plan, seconds=stall_s, warm_up_s=0.0)
            second = _result(load, plan, runs.measure(load, second_plan, memory.look), healthy, size)
            grown = memory.grown_bytes()
            newest = first["sent"] + second["sent"]
            account, faults = _account(stalled, api, policy, _newest(api, how.channel(0)))
            account |= {"memory_bytes_each": grown / (clients // 10), "published": newest}
            if policy == "disconnect":
                account["resumed"] = _resume(stalled, address, how.channel(0), api, faults)
    finally:
        stalled.go()
        load.close()
    faults += [*first.pop("faults"), *second.pop("faults")]
    ratio = second["latency_ns"]["99"] / first["latency_ns"]["99"]
    return {**second, "without": first, "stalled": account, "p99_ratio": ratio, "faults": faults}


class Memory:
    """The server's memory, looked at now and then while something is measured."""

    def __init__(self, plan: runs.Plan) -> None:
        self._meter = Meter(plan.server_pids)
        self._before = self._most = self._meter.memory_bytes()
        self._next_s = time.monotonic()

    def look(self, what: str, part: float) -> None:
        """Note how much it is, if it is time; a callback of `runs`."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _SAMPLE_S
            self._most = max(self._most, self._meter.memory_bytes())

    def grown_bytes(self) -> int:
        """Return by how much the most exceeds what it was at first."""
        self._next_s = 0.0
        self.look("", 1.0)
        return self._most - self._before


def _load(url: str, how: runs.Subscribing, healthy: int, size: int) -> FanoutLoad:
    tag, place = runs.mark(), split(url)
    templates = [runs.publication(tag, size, how, 0, place, ())]
    load = FanoutLoad(tag, templates, confirmation=how.confirmation.encode())
    target = upgrade_target(place)
    for _ in range(healthy):
        load.add(target, subscribe=how.subscribe_to(0))
    load.publish_over(load.add(target))
    return load


def _result(load: FanoutLoad, plan: runs.Plan, usage: Any, healthy: int, size: int) -> dict[str, Any]:
    """Return the figures of one phase, named as in `report.as_json`, with what was sent."""
    names = ("sent", "expected", "delivered", "lost", "doubled", "reordered")
    result = runs.Result(
        scenario="fanout",
        settings={"subscribers": healthy, "payload_bytes": size, "server_pids": list(plan.server_pids)},
        usage=usage,
        latencies=Histogram(load.latencies()),
        messages=load.completed,
        units=load.delivered,
        unit="delivery",
        counts={name: int(getattr(load, name)) for name in names} | {"closed": int(load.closed)},
        problem=load.problem,
    )
    return report.as_json(result, url="", version=ringgate_version()) | {"sent": int(load.sent)}


def _newest(api: str, channel: str) -> int:
    import msgspec

    page = msgspec.json.decode(ask(api, "GET", f"/api/channels/{channel}/history?limit=1"))
    return int(page["offset"])


def _account(crowd: Crowd, api: str, policy: str, newest: int) -> tuple[dict[str, Any], list[str]]:
    """Let everybody read; return what they saw beside what was counted, and what does not fit."""
    first = {id(member): member.place for member in crowd.members}
    crowd.hear(newest)
    counted, members = Counted.now(api, policy), crowd.members
    saw = {
        "clients": len(members),
        "heard": sum(m.heard for m in members),
        "lost": sum(m.lost for m in members),
        "gaps": sum(m.gaps for m in members),
        "closed_4200": sum(m.closed == SLOW_CONSUMER for m in members),
        "counted_dropped": counted.dropped,
        "counted_gaps": counted.gaps,
        "counted_disconnects": counted.disconnected,
    }
    checks: dict[str, Callable[[], bool]] = {
        "something was out of order": lambda: not any(m.wrong for m in members),
        "gaps are not those counted": lambda: saw["gaps"] == counted.gaps,
        "disconnects are not those counted": lambda: saw["closed_4200"] == counted.disconnected,
        "nothing was dropped: they were not stalled": lambda: counted.dropped > 0,
    }
    if policy == "disconnect":
        checks["some were not disconnected"] = lambda: saw["closed_4200"] == len(members)
        checks["more was counted than they did not get"] = lambda: (
            counted.dropped <= sum(newest - m.place for m in members)
        )
    else:
        checks["what was lost is not what was counted"] = lambda: saw["lost"] == counted.dropped
        checks["some were closed"] = lambda: not any(m.closed for m in members)
        checks["heard and lost are not all"] = lambda: all(
            m.heard + m.lost == newest - first[id(m)] for m in members
        )
    return saw, [text for text, holds in checks.items() if not holds()]


def _resume(lost: Crowd, address: str, channel: str, api: str, faults: list[str]) -> int:
    """Let everybody come back to where they were cut off; return how many missed nothing."""
    back = Crowd(address)
    since = [(member.epoch, member.place) for member in lost.members]
    newest = _newest(api, channel)
    try:
        back.come([channel] * len(since), since)
        back.hear(newest)
        whole = sum(
            _missed_nothing(m, before, newest) for m, (_, before) in zip(back.members, since, strict=True)
        )
    finally:
        back.go()
    if whole < len(since):
        faults.append(f"only {whole} of {len(since)} had everything after they came back")
    return whole


def _missed_nothing(member: Member, before: int, newest: int) -> bool:
    return bool(member.recovered) and not member.wrong and member.heard == newest - before


def _quiet(what: str, part: float) -> None:
    """Show no progress."""
