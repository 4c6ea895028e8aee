"""The targets of the project, and whether the figures of this run meet them.

A ratio is the median over the rounds, and is never shown nearer to its target than it was measured: what
must be small is rounded up, what must be large down. A row is met when all its parts are; a part that was
not measured is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from statistics import median
from typing import Any, Final

from bench import cases
from bench.rivals.ringgate_own import NOTHING_MISSED, ONE_PROCESS, STALLED, TEN_MISSED, TWO_WORKERS
from bench.rivals.ringgate_variants import CONSTANT, FEW, MANY, PUBLISH
from bench.tables import FLOOR, SAME_BYTES, ratios

CPU: Final = "server_cpu_us_per_unit"
US: Final = "Ringgate"
GORILLA: Final = "gorilla/websocket hub"
SOCKETIFY: Final = "socketify (uWebSockets)"
BARE: Final = "uvloop Protocol"
IDLE_BYTES: Final = 2500
STALLED_BYTES: Final = 4096
NOT_MEASURED: Final = "not measured yet"
MISSED: Final = "**missed**"


@dataclass(frozen=True)
class Check:
    """A part of a target: what was measured, in words, and whether that is enough; None: not measured."""

    text: str
    met: bool | None
    always: bool = True  # in every round, and not only by the median


@dataclass(frozen=True)
class Row:
    """A target with its parts, and what is told beside them; `key` names the file of its profile."""

    key: str
    what: str
    target: str
    checks: Sequence[Check]
    beside: str = ""

    @property
    def measured(self) -> str:
        """What was measured, in words."""
        parts = [check.text for check in self.checks]
        return "; ".join([*parts, self.beside] if self.beside else parts)

    @property
    def verdict(self) -> str:
        """The one word, or few."""
        marks = [check.met for check in self.checks]
        if False in marks:
            return MISSED
        if None in marks or not marks:
            return NOT_MEASURED if not any(marks) else "met where measured"
        return (
            "met" if all(check.always for check in self.checks) else "met by the median, not in every round"
        )


def at_most(values: Sequence[float], limit: float, unit: str) -> Check:
    """Check that the median of what each round gave is not above its limit."""
    if not values:
        return Check(f"{unit}: {NOT_MEASURED}", None)
    return Check(
        _told([ceil(value * 100 - 1e-9) / 100 for value in values], unit),
        median(values) <= limit,
        max(values) <= limit,
    )


def at_least(values: Sequence[float], limit: float, unit: str) -> Check:
    """Check that the median of what each round gave is not below its limit."""
    if not values:
        return Check(f"{unit}: {NOT_MEASURED}", None)
    return Check(
        _told([floor(value * 100 + 1e-9) / 100 for value in values], unit),
        median(values) >= limit,
        min(values) >= limit,
    )


def _told(values: Sequence[float], unit: str) -> str:
    digits = 0 if unit.startswith("B") else 2
    text = f"{median(values):,.{digits}f} {unit}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


class Figures:
    """What was measured: records of `bench.compare`, and groups of pytest-benchmark."""

    def __init__(self, records: Sequence[dict[str, Any]], benchmarks: Sequence[dict[str, Any]]) -> None:
        self._records = records
        self._benchmarks = benchmarks

    def of(self, case: cases.Case) -> list[dict[str, Any]]:
        """Return the records of a case."""
        return [record for record in self._records if record["case"] == case.title]

    def ratios(self, case: cases.Case, server: str, to: str, key: str = CPU) -> list[float]:
        """Return the ratio of a figure in each round, CPU time if not told otherwise."""
        return ratios(self.of(case), server, to, key)

    def each(self, case: cases.Case, server: str, *keys: str) -> list[float]:
        """Return a figure of each round."""
        values = []
        for record in self.of(case):
            value: Any = record["result"] if record["server"] == server else None
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                values.append(float(value))
        return values

    def noted(self, key: str) -> list[float]:
        """Return what benchmarks of pytest-benchmark noted beside their times."""
        return [float(b["extra_info"][key]) for b in self._benchmarks if key in b["extra_info"]]


def rows(figures: Figures) -> list[Row]:
    """Return all rows that need no Redis, in their order."""
    return [
        *_echo(figures), *_fanout(figures), *_connections(figures), *_slow(figures), *_process(figures),
        *_api(figures), *_resume(figures), *_workers(figures),
    ]  # fmt: skip


def _echo(figures: Figures) -> Iterable[Row]:
    for case, limit in ((cases.ECHO, 1.15), (cases.ECHO_16, 1.3)):
        what = f"echo, 64 B, {case.in_flight} in flight, 100 connections: server CPU per message"
        target = f"at most {limit:g} x the C floor"
        checks = [at_most(figures.ratios(case, US, FLOOR), limit, "x the C floor")]
        picows = _below(figures.ratios(case, US, "picows"), "x picows")
        socketify = _below(figures.ratios(case, US, SOCKETIFY), "x socketify")
        if case is cases.ECHO:
            yield Row(
                f"echo-{case.in_flight}", what, target + ", below picows", [*checks, picows], socketify.text
            )
        else:
            yield Row(f"echo-{case.in_flight}", what, target, checks, f"{picows.text}; {socketify.text}")


def _below(values: Sequence[float], unit: str) -> Check:
    check = at_most(values, 1.0, unit)
    return Check(check.text, median(values) < 1.0 if values else None)


def _fanout(figures: Figures) -> Iterable[Row]:
    case = cases.FANOUT
    yield Row(
        "fanout-1",
        "fan-out to 1,000 subscribers, 64 B, 1 in flight: server CPU per delivery, through the channel path",
        "at most 1.2 x a bare C send loop",
        [
            at_most(figures.ratios(case, US, FLOOR), 1.2, "x the C floor with the bare payload"),
            at_most(figures.ratios(case, US, SAME_BYTES), 1.2, "x the C floor with the same bytes"),
        ],
    )
    case = cases.FANOUT_16
    yield Row(
        "fanout-16",
        "the same, 16 in flight",
        "at most 1.2 x a bare C send loop on the same bytes; at least 8 x less than gorilla's hub, picows, "
        "websockets",
        [
            at_most(figures.ratios(case, US, SAME_BYTES), 1.2, "x the C floor with the same bytes"),
            *(
                at_least(figures.ratios(case, name, US), 8.0, f"x less than {name}")
                for name in (GORILLA, "picows", "websockets")
            ),
        ],
    )
    yield Row(
        "subscriptions",
        "1,000,000 subscriptions over 10,000 channels: publish to one channel of 100",
        "at most 1.1 x the same with 10,000 subscriptions in all",
        [at_most(figures.ratios(cases.SUBSCRIPTIONS, MANY, FEW), 1.1, "x the CPU per delivery")],
    )


def _connections(figures: Figures) -> Iterable[Row]:
    idle = figures.each(cases.IDLE, US, "server_memory_bytes", "each")
    bare = figures.each(cases.IDLE, BARE, "server_memory_bytes", "each")
    yield Row(
        "idle-memory",
        "user-space memory of an idle connection with one subscription",
        "at most 2.5 KB (2,500 B)",
        [at_most(idle, IDLE_BYTES, "B")],
        f"a bare uvloop Protocol: {median(bare):,.0f} B" if bare else "",
    )
    case = cases.CONNECT
    yield Row(
        "handshake",
        "handshake, server CPU (accept, upgrade, hello, first subscribe answered)",
        "at most 3 x a bare C upgrade, below gorilla's 34 µs",
        [
            at_most(figures.ratios(case, US, FLOOR), 3.0, "x the C floor"),
            _below(figures.ratios(case, US, GORILLA), "x gorilla in this run (which does not subscribe)"),
            at_most(figures.each(case, US, CPU), 34.0, "µs"),
        ],
    )


def _process(figures: Figures) -> Iterable[Row]:
    yield Row(
        "unmask",
        "frames: unmask 64 KB",
        "at most 1.5 x `memcpy`",
        [at_most(figures.noted("times_memcpy"), 1.5, "x `memcpy`")],
    )
    yield Row(
        "decode",
        "frames: decode 64-byte masked frames",
        "at least 50 x faster than wsproto; at most 60 ns each when batched",
        [
            at_least(figures.noted("times_faster_than_wsproto"), 50.0, "x faster"),
            at_most(figures.noted("ns_a_frame"), 60.0, "ns each"),
        ],
    )


def _api(figures: Figures) -> Iterable[Row]:
    yield Row(
        "publish-api",
        "publish API over HTTP, one connection, keep-alive",
        "at least 0.5 x the requests per second of the same server answering a constant",
        [
            at_least(
                figures.ratios(cases.HTTP, PUBLISH, CONSTANT, "units_per_second"),
                0.5,
                "x the requests per second",
            ),
            at_least(figures.ratios(cases.HTTP, CONSTANT, PUBLISH), 0.5, "x by server CPU alone"),
        ],
    )


def _slow(figures: Figures) -> Iterable[Row]:
    memory, latency = [], []
    for case in cases.STALLED:
        each = figures.each(case, STALLED, "stalled", "memory_bytes_each")
        memory.append(at_most(each, STALLED_BYTES, f"B ({case.kind})"))
        latency.append(at_most(figures.each(case, STALLED, "p99_ratio"), 1.5, f"x ({case.kind})"))
        faults = [fault for record in figures.of(case) for fault in record["result"]["faults"]]
        latency += [Check(f"{case.kind}: {faults[0]}", False)] if faults else []
    yield Row(
        "stalled-memory",
        "memory of 1,000 stalled clients on a busy channel",
        "grows by no more than their kernel buffers and 4 KB (4,096 B) each",
        memory,
    )
    yield Row(
        "stalled-latency",
        "1,000 stalled of 10,000 clients, 10 messages a second: p99 latency of the others, and the account",
        "at most 1.5 x that without stalled clients; every frame dropped is counted; all can resume",
        latency,
    )


def _resume(figures: Figures) -> Iterable[Row]:
    yield Row(
        "resume",
        "resume: 5,000 clients reconnect and each recovers 10 messages",
        "at most 1.5 x the CPU of the same without recovery",
        [
            at_most(figures.ratios(case, TEN_MISSED, NOTHING_MISSED), 1.5, f"x ({where})")
            for case, where in ((cases.RESUME, "one channel"), (cases.RESUME_MANY, "500 channels"))
        ],
    )


def _workers(figures: Figures) -> Iterable[Row]:
    yield Row(
        "workers",
        "2 workers instead of 1 on 2 cores, fan-out CPU capacity",
        "at least 1.7 x 1 process",
        [
            at_least(
                figures.ratios(case, TWO_WORKERS, ONE_PROCESS, "capacity"),
                1.7,
                f"x ({case.in_flight} in flight)",
            )
            for case in (cases.WORKERS, cases.WORKERS_16)
        ],
    )
