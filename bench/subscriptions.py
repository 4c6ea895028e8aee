"""Fan-out to one channel of a hundred while there are few or many other subscriptions.

A group is 100 connections that are all subscribed to the same 100 channels: 10,000 subscriptions.  What is
published goes to one channel of the first group; the other groups are only there.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass
from typing import Final

from gateway.bench import runs
from gateway.bench._load import Load
from gateway.bench.target import BenchError, split, upgrade_target

CHANNELS: Final = 100
CONNECTIONS: Final = 100
_OPEN_S: Final = 120.0


@dataclass(frozen=True)
class Groups(runs.Subscribing):
    """How to subscribe to all channels of a group; `groups` is how many there are."""

    groups: int = 1
    confirmation: str = f'"id":{CHANNELS}'  # the reply to the last subscribe command

    def channel(self, index: int) -> str:
        """Return the name of the first channel of a group."""
        return self._name(index, 0)

    def subscribe_to(self, index: int) -> bytes:
        """Return the message that subscribes to all channels of a group."""
        commands = [
            {"type": "subscribe", "id": number + 1, "channel": self._name(index, number)}
            for number in range(CHANNELS)
        ]
        return json.dumps(commands, separators=(",", ":")).encode()

    def _name(self, group: int, number: int) -> str:
        return f"{self.channel_prefix}-{group}-{number}"


def run_subscriptions(url: str, plan: runs.Plan, how: Groups, *, subscribers: int, size: int) -> runs.Result:
    """Make all subscriptions, then measure the fan-out of the first group.  Raises BenchError."""
    others = Load(confirmation=how.confirmation.encode())
    target = upgrade_target(split(url), plan.headers)
    for group in range(1, how.groups):
        message = how.subscribe_to(group)
        for _ in range(CONNECTIONS):
            others.add(target, subscribe=message)
    try:
        _open(others)
        result = runs.run_fanout(url, plan, how, subscribers=subscribers, size=size, progress=_quiet)
    finally:
        others.close()
    result.settings["subscriptions"] = (len(others.peers) + subscribers) * CHANNELS
    if others.closed:
        raise BenchError(f"{others.closed} connections were closed by the server")
    return result


def _open(load: Load) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    give_up_s = time.monotonic() + _OPEN_S
    load.open(at_once=64)
    while load.opening():
        if time.monotonic() > give_up_s:
            raise BenchError(f"{load.opened} of {len(load.peers)} connections were ready after {_OPEN_S:g} s")
    if load.failed:
        raise BenchError(f"{load.failed} of {len(load.peers)} connections failed; {load.problem}")


def _quiet(what: str, part: float) -> None:
    """Show no progress."""
