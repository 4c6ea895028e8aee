"""Tables in Markdown from the records of `bench/compare.py`: a row for each server, a table for each case."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from gateway.bench.histogram import duration

FLOOR: Final = "C floor"
SAME_BYTES: Final = "C floor, same bytes"
_UNITS: Final = {
    "echo": "µs an echo",
    "fanout": "µs a delivery",
    "subscriptions": "µs a delivery",
    "connect": "µs a connection",
    "http": "µs a request",
    "stalled": "µs a delivery",
    "resume": "µs a connection",
    "workers": "µs a delivery",
    "channels": "µs a delivery",
}


def markdown(result: dict[str, Any]) -> str:
    """Return the document: the machine, then a table for each case in the order they were measured."""
    machine, records = result["machine"], result["records"]
    pins = f"server on core {result['pinned']['server']}, load on core {result['pinned']['load']}"
    system = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']} {machine['kernel']}"
    lines = [f"{system}, Python {machine['python']}; {result['time']}; {pins}.", ""]
    for case in dict.fromkeys(record["case"] for record in records):
        of_case = [record for record in records if record["case"] == case]
        lines += [f"### {case}", "", *table(of_case), ""]
    return "\n".join(lines)


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of a case: a row for each server."""
    idle = records[0]["scenario"] == "idle"
    floors = [name for name in (FLOOR, SAME_BYTES) if any(record["server"] == name for record in records)]
    head = ["server", "bytes a connection"]
    if not idle:
        unit = _UNITS[records[0]["scenario"]]
        head = [
            "server",
            f"CPU, {unit}",
            *(f"to the {name}" for name in floors),
            "a second",
            "busy: server, load",
            "p50",
            "p99",
        ]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for server in dict.fromkeys(record["server"] for record in records):
        mine = [record for record in records if record["server"] == server]
        good = [record["result"] for record in mine if "units" in record["result"]]
        if not good:
            cells = ["failed: " + mine[0]["result"]["faults"][0], *[""] * (len(head) - 2)]
        elif idle:
            cells = [f"{median(result['server_memory_bytes']['each'] for result in good):,.0f}"]
        else:
            cells = _figures(good, [ratio(records, server, name) for name in floors])
        lines.append(f"| {' | '.join([server + _mark(good), *cells])} |")
    return lines


def _figures(results: Sequence[dict[str, Any]], to_floors: Sequence[float | None]) -> list[str]:
    return [
        f"{median(result['server_cpu_us_per_unit'] or 0.0 for result in results):.3g}",
        *("" if to_floor is None else f"{to_floor:.2f}" for to_floor in to_floors),
        f"{median(result['units_per_second'] for result in results):,.0f}",
        _busy(results),
        *(duration(median(result["latency_ns"][p] for result in results)) for p in ("50", "99")),
    ]


def _mark(results: Sequence[dict[str, Any]]) -> str:
    """Mark a server that delivered wrongly in some round, or was not itself what limited the speed."""
    faulty = any(result["faults"] for result in results)
    limited = any(result["bottleneck"] for result in results)
    return (" (deliveries wrong)" if faulty else "") + (" (load-bound)" if limited else "")


def ratio(records: Sequence[dict[str, Any]], server: str, to: str = FLOOR) -> float | None:
    """Return the median over the rounds of CPU time divided by that of `to` in the same round."""
    found = ratios(records, server, to)
    return median(found) if found else None


def ratios(
    records: Sequence[dict[str, Any]], server: str, to: str, key: str = "server_cpu_us_per_unit"
) -> list[float]:
    """Return the ratio of a figure to that of `to` for each round in which both were measured."""
    figures = {(record["server"], record["round"]): record["result"].get(key) for record in records}
    return [
        figures[name, number] / figures[to, number]
        for name, number in figures
        if name == server and figures[name, number] and figures.get((to, number))
    ]


def _busy(results: Sequence[dict[str, Any]]) -> str:
    """Tell how much of a core the server and the load used (the load: used or wanted)."""
    shares = [
        median(result[key] for result in results)
        for key in ("server_share", "own_share")
        if key in results[0]
    ]
    return ", ".join(f"{100 * share:.0f} %" for share in shares)
