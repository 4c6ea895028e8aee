"""Everybody reconnects at once: with ten messages that each has missed, and with none.

Clients connect, subscribe and are lost; then as many come back with the sessions of these, and are ready
when they have the reply and, where something was missed, the last of it.  The same sessions come back several
times.
"""

from __future__ import annotations

import json
from typing import Any, Final

from bench.crowd import Crowd, Member
from bench.internal import publish, until
from gateway.bench import report, runs
from gateway.bench._load import Load
from gateway.bench.histogram import Histogram
from gateway.bench.processes import Meter, Usage
from gateway.bench.target import BenchError, split, upgrade_target
from gateway.cli.version import ringgate_version

TIMES: Final = 3
_LAST: Final = "the last one missed"
_TEXT: Final = "x" * 64


def run_resume(
    address: str, api: str, plan: runs.Plan, *, clients: int, channels: int, missed: int
) -> dict[str, Any]:
    """Measure how `clients` on so many channels come back; server CPU for each.  Raises BenchError."""
    names = [f"resume-{number % channels}" for number in range(clients)]
    crowd = Crowd(address)
    try:
        crowd.come(names)
        commands = [_connect(member, name) for member, name in zip(crowd.members, names, strict=True)]
    finally:
        crowd.go()
    until(api, "ringgate_sessions", 0)
    texts = [_TEXT] * (missed - 1) + [_LAST] if missed else []
    publish(api, [(f"resume-{number}", text) for number in range(channels) for text in texts])
    meter, others = Meter(plan.server_pids), 0
    usage = Usage(0.0, 0.0, 0.0, 0.0)
    for _ in range(TIMES):
        load, used = _come_back(f"ws://{address}/ws", plan, meter, commands, missed)
        usage = Usage(*(a + b for a, b in zip(usage, used, strict=True)))
        others += load.others
        until(api, "ringgate_sessions", 0)
    counts = {"opened": TIMES * clients, "failed": 0, "others": others}
    result = runs.Result(
        scenario="connect",
        settings={"connections": clients, "channels": channels, "missed": missed, "server_pids": [0]},
        usage=usage,
        latencies=Histogram(load.latencies()),
        messages=0,
        units=TIMES * clients,
        unit="connection",
        counts=counts,
    )
    told = report.as_json(result, url="", version=ringgate_version())
    # Before what makes it ready each has a hello, and where something was missed the reply and the rest.
    if others != (expected := TIMES * clients * (1 + missed)):
        told["faults"].append(f"{others:,} events came before the last ones, and not {expected:,}")
    return told


def _connect(member: Member, name: str) -> bytes:
    since = {name: {"epoch": member.epoch, "offset": member.place}}
    command = {"type": "connect", "id": 1, "session": member.session, "since": since}
    return json.dumps(command, separators=(",", ":")).encode()


def _come_back(
    url: str, plan: runs.Plan, meter: Meter, commands: list[bytes], missed: int
) -> tuple[Load, Usage]:
    """Open as many connections, and abort each when it has everything."""
    load = Load(confirmation=(_LAST if missed else '"type":"reply"').encode(), close_when_ready=True)
    target = upgrade_target(split(url))
    for command in commands:
        load.add(target, subscribe=command)
    try:
        runs.open_all(load, plan, _quiet, meter)
        used = meter.read()
    finally:
        load.close()
    if load.failed:
        raise BenchError(f"{load.failed} of {len(commands)} did not come back; {load.problem or load.other}")
    return load, used


def _quiet(what: str, part: float) -> None:
    """Show no progress."""
