"""Fan-out over many small channels: ten subscribers each, messages to one after the other.

Up to a hundred channels every subscriber has one of them; beyond, a hundred groups of ten share the channels,
and each connection is subscribed to all channels of its group.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gateway.bench import report, runs
from gateway.bench._fanout import FanoutLoad
from gateway.bench.histogram import Histogram
from gateway.bench.target import split, upgrade_target
from gateway.cli.version import ringgate_version

EACH: Final = 10
_MOST_GROUPS: Final = 100


def run_channels(url: str, plan: runs.Plan, *, channels: int, size: int) -> dict[str, Any]:
    """Measure the fan-out over so many channels.  Raises BenchError."""
    groups, place, tag = min(channels, _MOST_GROUPS), split(url), runs.mark()
    how = runs.Subscribing(channels=channels, confirmation=f'"id":{channels // groups}')
    templates = [runs.publication(tag, size, how, index, place, ()) for index in range(channels)]
    load = FanoutLoad(tag, templates, confirmation=how.confirmation.encode(), groups=groups)
    target = upgrade_target(place)
    for group in range(groups):
        message = _subscribe(how, range(group, channels, groups))
        for _ in range(EACH):
            load.add(target, subscribe=message, channel=group)
    load.publish_over(load.add(target))
    with runs.opened(load, plan, _quiet):
        usage = runs.measure(load, plan, _quiet)
        names = ("sent", "expected", "delivered", "lost", "doubled", "reordered", "closed")
        result = runs.Result(
            scenario="fanout",
            settings={"channels": channels, "connections": groups * EACH, "in_flight": plan.in_flight,
                      "payload_bytes": size, "server_pids": list(plan.server_pids)},
            usage=usage,
            latencies=Histogram(load.latencies()),
            messages=load.completed,
            units=load.delivered,
            unit="delivery",
            counts={name: int(getattr(load, name)) for name in names},
            problem=load.problem,
        )  # fmt: skip
    return report.as_json(result, url=url, version=ringgate_version())


def _subscribe(how: runs.Subscribing, channels: range) -> bytes:
    commands = [
        {"type": "subscribe", "id": number, "channel": how.channel(index)}
        for number, index in enumerate(channels, 1)
    ]
    return json.dumps(commands, separators=(",", ":")).encode()


def _quiet(what: str, part: float) -> None:
    """Show no progress."""
