"""Writes the section on clusters of docs/benchmarks.md, and its figures: docs/benchmarks/cluster.json.

    python -m bench.cluster.page

It is a run of its own, so it says itself on which machine and when; `bench.page` leaves it as it stands.
What a process used for a publication is the median over the rounds; ratios are of one round.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

from bench.compare import OUT
from bench.page import PAGE, filled, target_table
from bench.targets import NOT_MEASURED, Row, at_least, at_most
from gateway.bench.histogram import duration

from .__main__ import CLUSTERS, REFERENCE, REFERENCE_HEARD, REFERENCE_KEPT, reference_title
from .cases import LATENCIES, LATENCY_1000, RELAYS, SHAPES, SPREADS, Case
from .rivals.cluster import WS
from .rivals.ringgate import ALONE, AOF, CLUSTERED, NAME, NO_HISTORY, SENTINELS, SHAPED, SHARDS

BLOCK: Final = "cluster"
RELAY_TARGET: Final = 0.5
LATENCY_TARGET_MS: Final = 1.0
_PROCESSES: Final = ("a", "b", "redis")

_COMPARED: Final = [cluster for cluster in CLUSTERS if cluster.name not in SHAPED]

Record = dict[str, Any]


class Figures:
    """The records of a run, by case, server and round; what failed has none."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._good = [record for record in records if record["result"].get("per_second")]

    def of(self, case: str, server: str) -> list[Record]:
        """Return the results of each round."""
        return [r["result"] for r in self._good if r["case"] == case and r["server"] == server]

    def median(self, case: str, server: str, figure: Callable[[Record], float]) -> float | None:
        """Return the median of a figure over the rounds, None when there are none."""
        found = [figure(result) for result in self.of(case, server)]
        return median(found) if found else None

    def pairs(self, case: str, server: str, other_case: str, other: str) -> list[tuple[Record, Record]]:
        """Return the results of two servers for each round in which both have one."""
        rounds = {r["round"]: r["result"] for r in self._good if (r["case"], r["server"]) == (case, server)}
        others = {
            r["round"]: r["result"] for r in self._good if (r["case"], r["server"]) == (other_case, other)
        }
        return [(rounds[number], others[number]) for number in rounds if number in others]


def main() -> int:
    """Write the section; 1 when there is nothing to write it from."""
    source = OUT / "cluster.json"
    if not source.exists():
        print("nothing measured yet: run make bench-cluster", file=sys.stderr)
        return 1
    run = json.loads(source.read_text())
    PAGE.write_text(filled(PAGE.read_text(), {BLOCK: section(run)}))
    folder = PAGE.parent / "benchmarks"
    (folder / "cluster.json").write_text(json.dumps(condensed(run), indent=1, ensure_ascii=False) + "\n")
    return 0


def section(run: dict[str, Any]) -> str:
    """Return the section between its markers."""
    figures = Figures(run["records"])
    blocks = [
        about(run),
        target_table(target_rows(figures)),
        "### Relayed from node A to node B",
        relay_table(figures),
        "### Others in the same place",
        rival_table(figures),
        "### Redis in other shapes",
        shape_table(figures),
        "### At a fixed rate",
        latency_table(figures),
        "### 1,000 subscribers, half of them on each node",
        spread_table(figures),
        failures(run),
    ]
    return "\n\n".join(block for block in blocks if block)


def about(run: dict[str, Any]) -> str:
    """Return the description of the machine and of the run."""
    machine = run["machine"]
    lines = [
        f"- Processor: {machine['cpu']}, {machine['cores']} cores; {machine['system']} {machine['kernel']}.",
        f"- Python {machine['python']}, Redis {run['redis']}, without persistence.",
        f"- Measured {run['time']} with `{' '.join(['python -m bench.cluster', *run['arguments']])}`.",
    ]
    lines += [f"- Left out: {name}, for want of {what}." for name, what in run["missing"].items()]
    if run["code_changed"]:
        lines.append("- Ringgate's code changed during this run.")
    return "\n".join(lines)


def target_rows(figures: Figures) -> list[Row]:
    """Return the rows of the targets that need Redis."""
    rows = []
    for case in RELAYS:
        pairs = figures.pairs(case.title, NAME, reference_title(case.pipeline), REFERENCE)
        rates = [ours["per_second"] / theirs["per_second"] for ours, theirs in pairs]
        checks = [at_least(rates, RELAY_TARGET, "x the publications a second")]
        what = f"publications relayed, 2 nodes: {case.title.removeprefix('relay, ')}"
        rows.append(Row("relay", what, _SAME, checks, _beside(figures, case, pairs)))
    title = LATENCY_1000.title
    both = figures.pairs(title, NAME, title, ALONE)
    added = [(_p50_ns(ours) - _p50_ns(alone)) / 1e6 for ours, alone in both]
    checks = [at_most(added, LATENCY_TARGET_MS, "ms")]
    what = "added p50 latency against local delivery, 1,000 messages/s"
    rows.append(Row("added-latency", what, "at most 1 ms", checks))
    return rows


def _beside(figures: Figures, case: Case, pairs: list[tuple[Record, Record]]) -> str:
    """Return what the ratio would be with a core for each process, and beside a PUBLISH that is received."""
    if not pairs:
        return ""
    busy = [_busiest(theirs) / _busiest(ours) for ours, theirs in pairs]
    notes = [f"{median(busy):.2f} x by the busiest process"]
    others = (
        (NAME, REFERENCE_HEARD, "x one with a subscriber"),
        (NO_HISTORY, REFERENCE, "x without history"),
        (NAME, REFERENCE_KEPT, "x a script that keeps, too"),
    )
    for ours_name, theirs_name, what in others:
        found = figures.pairs(case.title, ours_name, reference_title(case.pipeline), theirs_name)
        rates = [ours["per_second"] / theirs["per_second"] for ours, theirs in found]
        notes += [f"{median(rates):.2f} {what}"] if rates else []
    return "; ".join(notes)


_SAME: Final = "at least 0.5 x redis-benchmark PUBLISH, as many connections and publications in flight"


def _busiest(result: Record) -> float:
    """Return the CPU time for a publication of the process that used most, our own load left out."""
    each = result["cpu_us_each"]
    servers = [us for name, us in each.items() if name != "load"]
    return float(max(servers if len(servers) > 1 else each.values()))


def relay_table(figures: Figures) -> str:
    """Return what two nodes relay, beside redis-benchmark, and what each process used for a publication."""
    head = [
        "published to A by", "redis-benchmark, a second", "the same, one subscriber",
        "a script that keeps, one subscriber", "relayed, a second", "without history", "one gateway alone",
    ]  # fmt: skip
    rows = []
    for case in RELAYS:
        reference = reference_title(case.pipeline)
        servers = [(reference, name) for name in (REFERENCE, REFERENCE_HEARD, REFERENCE_KEPT)]
        servers += [(case.title, name) for name in (NAME, NO_HISTORY, ALONE)]
        cells = [_rate(figures, title, name) for title, name in servers]
        rows.append([case.title.removeprefix("relay, "), *cells])
    used = [
        "CPU for a publication, µs", "redis-benchmark: Redis", "a script that keeps: Redis", "node A",
        "node B", "Redis", "load", "A, no history", "Redis, no history", "one gateway alone",
    ]  # fmt: skip
    costs = []
    for case in RELAYS:
        reference = reference_title(case.pipeline)
        cells = [_cost(figures, reference, name, "redis") for name in (REFERENCE, REFERENCE_KEPT)]
        cells += [_cost(figures, case.title, NAME, who) for who in (*_PROCESSES, "load")]
        cells += [_cost(figures, case.title, NO_HISTORY, who) for who in ("a", "redis")]
        cells += [_cost(figures, case.title, ALONE, "a")]
        costs.append([case.title.removeprefix("relay, "), *cells])
    return _table(head, rows) + "\n\n" + _table(used, costs)


def rival_table(figures: Figures) -> str:
    """Return what each kind of cluster relays, and what its nodes and Redis used for a publication."""
    shown = [case for case in RELAYS if case.publish == WS and case.publishers == 1]
    head = ["cluster", *(f"{case.in_flight} in flight: a second; CPU of A, B, Redis, µs" for case in shown)]
    rows = []
    for cluster in _COMPARED:
        if cluster.nodes < 2:
            continue
        cells = []
        for case in shown:
            costs = ", ".join(_cost(figures, case.title, cluster.name, who) for who in _PROCESSES)
            cells.append(f"{_rate(figures, case.title, cluster.name)}; {costs}")
        rows.append([cluster.name, *cells])
    return _table(head, rows)


def shape_table(figures: Figures) -> str:
    """Return what is relayed with an append-only file, and over two Redis servers."""
    head = ["Redis", *(f"{case.title.removeprefix('relay, ')}: a second; CPU, µs" for case in SHAPES)]
    rows = []
    for label, name in _SHAPE_NAMES.items():
        cells = []
        for case in SHAPES:
            found = figures.of(case.title, name)
            processes = [who for who in found[0]["cpu_us_each"] if who != "load"] if found else []
            costs = ", ".join(_cost(figures, case.title, name, who) for who in processes)
            cells.append(f"{_rate(figures, case.title, name)}; {costs}" if found else NOT_MEASURED)
        rows.append([label, *cells])
    return _table(head, rows)


_SHAPE_NAMES: Final = {
    "one server, nothing on disk": NAME,
    "append-only file, synchronised every second": AOF,
    "two independent servers (one channel is on one of them)": SHARDS,
    "Sentinel: a master, a replica (the second figure of Redis)": SENTINELS,
    "Redis Cluster of three masters (one channel is on one of them)": CLUSTERED,
}


def latency_table(figures: Figures) -> str:
    """Return latencies at the fixed rates, from when a message should have been sent."""
    head = ["cluster"]
    for case in LATENCIES:
        head += [f"{case.rate:,.0f} a second: p50", "p99"]
    rows = []
    for cluster in _COMPARED:
        cells = []
        for case in LATENCIES:
            for figure in (_p50_ns, _p99_ns):
                ns = figures.median(case.title, cluster.name, figure)
                cells.append(NOT_MEASURED if ns is None else duration(ns))
        rows.append([cluster.name, *cells])
    return _table(head, rows)


def spread_table(figures: Figures) -> str:
    """Return the CPU time of all servers for a delivery."""
    head = ["cluster"]
    for case in SPREADS:
        head += [f"{case.in_flight} in flight: CPU, µs a delivery", "of it Redis", "deliveries a second"]
    rows = []
    for cluster in _COMPARED:
        cells = []
        for case in SPREADS:
            each, redis, rate = (
                figures.median(case.title, cluster.name, figure)
                for figure in (_servers_us, _redis_us, _rate_of)
            )
            cells += [_digits(None if us is None else us / case.subscribers) for us in (each, redis)]
            cells.append(NOT_MEASURED if rate is None else f"{rate * case.subscribers:,.0f}")
        rows.append([cluster.name, *cells])
    return _table(head, rows)


def _p50_ns(result: Record) -> float:
    return float(result["latency_ns"]["50"])


def _p99_ns(result: Record) -> float:
    return float(result["latency_ns"]["99"])


def _rate_of(result: Record) -> float:
    return float(result["per_second"])


def _servers_us(result: Record) -> float:
    return float(sum(us for name, us in result["cpu_us_each"].items() if name != "load"))


def _redis_us(result: Record) -> float:
    return float(result["cpu_us_each"].get("redis", 0.0))


def failures(run: dict[str, Any]) -> str:
    """Return what did not go as it should, each once."""
    told = dict.fromkeys(
        f"- {record['server']}, {record['case']}: {record['result']['faults'][0]}"
        for record in run["records"]
        if record["result"]["faults"]
    )
    return "\n".join(["What did not go as it should:", "", *told]) if told else ""


def _rate(figures: Figures, case: str, server: str) -> str:
    value = figures.median(case, server, _rate_of)
    return NOT_MEASURED if value is None else f"{value:,.0f}"


def _cost(figures: Figures, case: str, server: str, process: str) -> str:
    return _digits(figures.median(case, server, lambda result: result["cpu_us_each"][process]))


def _digits(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def condensed(run: dict[str, Any]) -> dict[str, Any]:
    """Return every single measurement without its histogram."""
    about_run = {key: run[key] for key in ("machine", "version", "redis", "time", "arguments", "missing")}
    results = []
    for record in run["records"]:
        result = record["result"]
        one = {key: record[key] for key in ("case", "server", "round")}
        if "per_second" in result:
            one["per_second"] = _short(result["per_second"])
            one["cpu_us_each"] = {name: _short(us) for name, us in result.get("cpu_us_each", {}).items()}
        if "latency_ns" in result:
            one |= {f"p{p}_us": _short(result["latency_ns"][p] / 1000) for p in ("50", "99")}
        results.append(one | ({"faults": result["faults"]} if result["faults"] else {}))
    return about_run | {"results": results}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    raise SystemExit(main())
