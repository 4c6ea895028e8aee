"""Carries out a scenario: open the connections, warm up, measure, wait for what is still on its way.

Knows no command line and prints nothing.  What always holds: connections are closed when a run is over,
however it ends; warming up leaves no trace in the figures.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ._echo import EchoLoad
from ._fanout import FanoutLoad
from ._load import Load, Target
from ._payload import Template
from .histogram import Histogram
from .processes import Meter, Usage
from .target import BenchError, Place, bare_target, checked, split, upgrade_target

SUBSCRIBE: Final = '{"type":"subscribe","id":1,"channel":"{channel}"}'
SUBSCRIBED: Final = '"type":"reply"'
PUBLISH: Final = '{"type":"publish","channel":"{channel}","data":"{payload}"}'
HTTP_PUBLISH: Final = '{"channel":"{channel}","data":"{payload}"}'
_SETTLE_S: Final = 0.3
_OTHER_DESCRIPTORS: Final = 64

Progress = Callable[[str, float], None]  # what is being done, and how much of it: 0 to 1


@dataclass(frozen=True)
class Plan:
    """How long and how fast.  `rate` in messages or connections a second; 0: closed loop with `in_flight`."""

    seconds: float = 5.0
    messages: int = 0
    in_flight: int = 1
    rate: float = 0.0
    warm_up_s: float = 1.0
    drain_s: float = 5.0
    open_timeout_s: float = 60.0
    at_once: int = 64
    server_pids: Sequence[int] = ()
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Subscribing:
    """How a server is told to subscribe and to publish; the defaults are Ringgate's.

    In the messages {channel} and {payload} are replaced.  `confirmation` is part of the answer to a subscribe
    message; empty: there is none.  `publish_url` is where messages are published, ws:// or http://; empty:
    the same.
    """

    subscribe: str = SUBSCRIBE
    confirmation: str = SUBSCRIBED
    publish: str = ""
    publish_url: str = ""
    channels: int = 1
    channel_prefix: str = field(default_factory=lambda: f"bench-{secrets.token_hex(4)}")

    def channel(self, index: int) -> str:
        """Return the name of a channel."""
        return f"{self.channel_prefix}-{index}"

    def subscribe_to(self, index: int) -> bytes:
        """Return the message that subscribes to a channel; empty when none is needed."""
        return self.subscribe.replace("{channel}", self.channel(index)).encode()


@dataclass
class Result:
    """What was measured.  `messages` were echoed, or are with all subscribers; `counts` is the account."""

    scenario: str
    settings: dict[str, Any]
    usage: Usage
    latencies: Histogram
    messages: int
    units: int  # what the CPU time is divided by: echoes, deliveries or connections
    unit: str
    counts: dict[str, int]
    problem: str = ""
    other: str = ""
    memory_bytes: dict[str, int] = field(default_factory=dict)


def run_echo(
    url: str, plan: Plan, *, connections: int, size: int, binary: bool, progress: Progress
) -> Result:
    """Measure echoes.  Raises BenchError."""
    target = upgrade_target(split(url), plan.headers)
    load = EchoLoad(mark(), payload_bytes=size, binary=binary)
    for _ in range(connections):
        load.add(target)
    with opened(load, plan, progress):
        meter = measure(load, plan, progress)
        counts = {
            "sent": load.sent,
            "echoed": load.completed,
            "missing": load.sent - load.completed,
            "wrong": load.wrong,
        }
        settings = {"connections": connections, "payload_bytes": size, "binary": binary}
        return _result("echo", load, plan, meter, settings, load.completed, "message", counts)


def run_fanout(
    url: str, plan: Plan, how: Subscribing, *, subscribers: int, size: int, progress: Progress
) -> Result:
    """Measure fan-out.  Raises BenchError."""
    tag = mark()
    publishing = split(how.publish_url or url, ("ws", "http"))
    raw = publishing.scheme == "http"
    templates = [publication(tag, size, how, i, publishing, plan.headers) for i in range(how.channels)]
    load = FanoutLoad(tag, templates, raw=raw, confirmation=how.confirmation.encode())
    target = upgrade_target(split(url), plan.headers)
    for i in range(subscribers):
        load.add(target, subscribe=how.subscribe_to(i % how.channels), channel=i % how.channels)
    publisher = bare_target(publishing) if raw else upgrade_target(publishing, plan.headers)
    load.publish_over(load.add(publisher))
    with opened(load, plan, progress):
        _serve(load, _SETTLE_S)
        meter = measure(load, plan, progress)
        names = ("sent", "expected", "delivered", "lost", "doubled", "reordered")
        counts = {name: int(getattr(load, name)) for name in names}
        settings = {"subscribers": subscribers, "channels": how.channels, "payload_bytes": size}
        return _result("fanout", load, plan, meter, settings, load.delivered, "delivery", counts)


def run_connect(url: str, plan: Plan, how: Subscribing, *, connections: int, progress: Progress) -> Result:
    """Measure handshakes: connections are opened, subscribed if wanted, and aborted.  Raises BenchError."""
    load = Load(confirmation=how.confirmation.encode(), close_when_ready=True)
    _add_subscribers(load, upgrade_target(split(url), plan.headers), how, connections)
    meter = Meter(plan.server_pids)
    try:
        open_all(load, plan, progress, meter)
        usage = meter.read()
        settings = {"connections": connections, "at_once": plan.at_once, "subscribed": bool(how.subscribe)}
        counts = {"opened": load.opened, "failed": load.failed}
        return _result("connect", load, plan, usage, settings, load.opened, "connection", counts)
    finally:
        load.close()


def run_idle(url: str, plan: Plan, how: Subscribing, *, connections: int, progress: Progress) -> Result:
    """Measure what idle connections cost: memory, and CPU time while nothing is said.  Raises BenchError."""
    load = Load(confirmation=how.confirmation.encode())
    _add_subscribers(load, upgrade_target(split(url), plan.headers), how, connections)
    meter = Meter(plan.server_pids)
    before = meter.memory_bytes()
    with opened(load, plan, progress):
        latencies = Histogram(load.latencies())
        meter.restart()
        _serve(load, plan.seconds, lambda part: progress("holding", part))
        usage = meter.read()
        held = meter.memory_bytes()
        counts = {"opened": load.opened, "failed": load.failed}
        settings = {"connections": connections, "subscribed": bool(how.subscribe)}
        result = _result("idle", load, plan, usage, settings, connections, "connection", counts)
        result.latencies = latencies
        if plan.server_pids:
            result.memory_bytes = {"before": before, "held": held, "each": (held - before) // connections}
        return result


def _add_subscribers(load: Load, target: Target, how: Subscribing, count: int) -> None:
    for i in range(count):
        channel = i % how.channels
        load.add(target, subscribe=how.subscribe_to(channel), channel=channel)


def mark() -> bytes:
    """Return what the payloads of a run, and of no other, begin with."""
    return b"~" + secrets.token_hex(2)[:3].encode()


def publication(
    tag: bytes, size: int, how: Subscribing, index: int, place: Place, headers: Sequence[str]
) -> Template:
    """Return the message that publishes to a channel, around its payload."""
    raw = place.scheme == "http"
    text = (how.publish or (HTTP_PUBLISH if raw else PUBLISH)).replace("{channel}", how.channel(index))
    before, found, after = text.partition("{payload}")
    if not found:
        raise BenchError("the publish message has no {payload}")
    head = ""
    if raw:
        body_bytes = len(before.encode()) + size + len(after.encode())
        lines = [f"POST {place.path} HTTP/1.1", f"Host: {place.authority}", "Content-Type: application/json"]
        head = "\r\n".join([*lines, *checked(headers), f"Content-Length: {body_bytes}", "", ""])
    return Template(tag, size, before=(head + before).encode(), after=after.encode())


@contextlib.contextmanager
def opened(load: Load, plan: Plan, progress: Progress) -> Iterator[None]:
    """Open all connections, and close them at the end."""
    Meter(plan.server_pids)  # what cannot be measured is told before anything is opened
    try:
        open_all(load, plan, progress)
        if load.failed:
            raise BenchError(f"{load.failed} of {len(load.peers)} connections failed; {load.problem}")
        yield
    finally:
        load.close()


def open_all(load: Load, plan: Plan, progress: Progress, meter: Meter | None = None) -> None:
    """Open all connections; with a `meter` they are handshakes to measure, and not kept."""
    _allow_descriptors(plan.at_once if meter is not None and not plan.rate else len(load.peers))
    give_up_s = time.monotonic() + plan.open_timeout_s
    if meter is not None:
        meter.restart()
    load.open(at_once=plan.at_once, rate=plan.rate if meter is not None else 0.0)
    while load.opening():
        progress("connecting", (load.opened + load.failed) / len(load.peers))
        if time.monotonic() > give_up_s:
            reason = load.problem or (f"the server said: {load.other}" if load.other else "it says nothing")
            raise BenchError(
                f"{load.opened} of {len(load.peers)} connections were ready after {plan.open_timeout_s:g} s; "
                + reason
            )


def _allow_descriptors(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise BenchError(
                f"{connections} connections need more open files than the {hard} allowed (ulimit -n)"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure(load: EchoLoad | FanoutLoad, plan: Plan, progress: Progress) -> Usage:
    """Warm up, then measure; the account and the latencies are the load's then."""
    if plan.warm_up_s:
        _drive(load, plan, plan.warm_up_s, 0, lambda part: progress("warming up", part))
    meter = Meter(plan.server_pids)
    _drive(load, plan, plan.seconds, plan.messages, lambda part: progress("measuring", part))
    return meter.read()


def _drive(
    load: EchoLoad | FanoutLoad, plan: Plan, seconds: float, messages: int, tell: Callable[[float], None]
) -> None:
    """Send for a time or a number of messages, then wait for what is on its way."""
    began_s = time.monotonic()
    load.begin(seconds=seconds, messages=messages, in_flight=plan.in_flight, rate=plan.rate)
    while load.step():
        part = (time.monotonic() - began_s) / seconds
        tell(max(part, load.sent / messages) if messages else part)
    give_up_s = time.monotonic() + plan.drain_s
    while load.outstanding and time.monotonic() < give_up_s:
        load.wait(20)


def _serve(load: Load, seconds: float, tell: Callable[[float], None] = lambda part: None) -> None:
    """Answer pings, and whatever else comes, for a time."""
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < seconds:
        tell(passed_s / seconds)
        load.wait(50)


def _due(plan: Plan) -> int:
    """Return how many messages an open loop should have sent."""
    due = int(plan.seconds * plan.rate)
    return min(due, plan.messages) if plan.messages else due


def _result(
    scenario: str,
    load: Load,
    plan: Plan,
    usage: Usage,
    settings: dict[str, Any],
    units: int,
    unit: str,
    counts: dict[str, int],
) -> Result:
    loop = {"rate": plan.rate} if plan.rate else {"in_flight": plan.in_flight}
    settings = {**settings, "server_pids": list(plan.server_pids)}
    if scenario in {"echo", "fanout"}:
        settings = {**settings, **loop}
        counts["unsent"] = _due(plan) - load.sent if plan.rate else 0
    for name in ("closed", "bytes_in", "reads", "writes", "waits", "others"):
        counts[name] = int(getattr(load, name))
    return Result(
        scenario=scenario,
        settings=settings,
        usage=usage,
        latencies=Histogram(load.latencies()),
        messages=load.completed,
        units=units,
        unit=unit,
        counts=counts,
        problem=load.problem,
        other=load.other if scenario != "idle" else "",
    )
