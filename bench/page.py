"""Writes docs/benchmarks.md from what was measured: the last step of `make bench`.

    python -m bench.page

It reads build/bench.json (pytest-benchmark) and build/bench/compare.json (`bench.compare`), and replaces
what is between the markers of the page (the prose around them is written by hand), the pictures in
docs/images/ and the figures in docs/benchmarks/, which hold medians and each round. Figures that are not
there leave no trace of older ones: what was not measured is not shown.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import cases, own_tables, plots, targets
from bench.tables import FLOOR, SAME_BYTES, ratio, table

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "benchmarks.md"
PROCESS: Final = ROOT / "build" / "bench.json"
COMPARE: Final = ROOT / "build" / "bench" / "compare.json"
_OWN: Final = ("stalled", "p99_ratio", "capacity", "busiest_share")  # of scenarios that are Ringgate's own
_ROUND: Final = ("units_per_second", "server_cpu_us_per_unit", "server_share", "own_share")


def main() -> int:
    """Write the page; 1 when there is nothing to write it from."""
    if not (PROCESS.exists() and COMPARE.exists()):
        print("nothing measured yet: run make bench", file=sys.stderr)
        return 1
    compared, process = json.loads(COMPARE.read_text()), json.loads(PROCESS.read_text())
    drawn = plots.draw(compared["records"], ROOT / "docs" / "images")
    blocks = sections(compared, process, drawn)
    PAGE.write_text(filled(PAGE.read_text(), blocks))
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(exist_ok=True)
    for name, content in (("compare", condensed(compared)), ("process", condensed_process(process))):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


def filled(page: str, blocks: dict[str, str]) -> str:
    """Return the page with new content between its markers.  Raises ValueError when a block has no place."""
    for name, content in blocks.items():
        begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page needs {begin} and {end}, once each")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{content.strip()}\n{end}{rest.partition(end)[2]}"
    return page


def sections(compared: dict[str, Any], process: dict[str, Any], drawn: dict[str, str]) -> dict[str, str]:
    """Return the content of each block of the page."""
    records, benchmarks = compared["records"], process["benchmarks"]
    rows = targets.rows(targets.Figures(records, benchmarks))
    return {
        "machine": machine(compared, process),
        "targets": target_table(rows),
        "misses": own_tables.misses(rows),
        "servers": servers(records, drawn),
        "subscribers": _picture("bench-subscribers", drawn) + grid(records, cases.SUBSCRIBERS),
        "sizes": _picture("bench-sizes", drawn) + sizes(records),
        "channels": _picture("bench-channels", drawn) + own_tables.channels(records),
        "stalled": own_tables.stalled(records),
        "process": process_tables(benchmarks),
    }


def machine(compared: dict[str, Any], process: dict[str, Any]) -> str:
    """Return the description of the machine and of the two runs."""
    about, pinned = compared["machine"], compared["pinned"]
    arguments = " ".join(["python -m bench.compare", *compared["arguments"]])
    lines = [
        f"- Processor: {about['cpu']}, {about['cores']} cores; {about['system']} {about['kernel']}.",
        f"- Python {about['python']}.",
        f"- Measured inside the process {process['datetime'][:19]}Z, between processes {compared['time']}.",
        f"- Pinned: the server to core {pinned['server']}, the load to core {pinned['load']}.",
        f"- Between processes with `{arguments}`.",
    ]
    lines += [f"- {note}" for note in compared.get("notes", [])]
    return "\n".join(lines)


def target_table(rows: Sequence[targets.Row]) -> str:
    """Return the table of the targets."""
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.target} | {row.measured} | {row.verdict} |" for row in rows]
    return "\n".join(lines)


def servers(records: Sequence[dict[str, Any]], drawn: dict[str, str]) -> str:
    """Return the tables of the cases in which all servers were measured."""
    pictures = {cases.ECHO: "echo", cases.FANOUT: "fanout", cases.CONNECT: "connections"}
    lines = []
    for case in (case for case in cases.QUICK if case.scenario != "stalled"):
        of_case = [record for record in records if record["case"] == case.title]
        if of_case:
            picture = _picture(f"bench-{pictures[case]}", drawn) if case in pictures else ""
            lines += [f"### {case.title}", "", picture + "\n".join(table(of_case)), ""]
    return "\n".join(lines)


def grid(records: Sequence[dict[str, Any]], subscribers: Sequence[int]) -> str:
    """Return fan-out against the number of subscribers and of messages in flight."""
    head = " | ".join(f"{k} in flight" for k in cases.IN_FLIGHT)
    lines = [f"| subscribers | {head} |", "|---:" * (1 + len(cases.IN_FLIGHT)) + "|"]
    for n in subscribers:
        cells = [_cell(records, cases.Case("fanout", n, in_flight=k), SAME_BYTES) for k in cases.IN_FLIGHT]
        lines.append(f"| {n:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sizes(records: Sequence[dict[str, Any]]) -> str:
    """Return echo and fan-out against the size of the payload."""
    lines = ["| payload, B | echo, 100 connections | fan-out, 100 subscribers |", "|---:|---:|---:|"]
    for size in cases.SIZES:
        cells = [
            _cell(records, cases.Case(scenario, 100, size=size), FLOOR) for scenario in ("echo", "fanout")
        ]
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(records: Sequence[dict[str, Any]], case: cases.Case, floor: str) -> str:
    """Return Ringgate's cost in a case, and in brackets the ratio to a floor."""
    cost = plots.costs(records, case).get(targets.US)
    times = ratio([record for record in records if record["case"] == case.title], targets.US, floor)
    if cost is None:
        return targets.NOT_MEASURED
    return f"{cost:.3g} µs" + (f" ({times:.2f} x)" if times is not None else "")


def process_tables(benchmarks: Sequence[dict[str, Any]]) -> str:
    """Return a table for each group of benchmarks inside the process; the groups of targets are left out."""
    lines = []
    for group in dict.fromkeys(benchmark["group"] or _module(benchmark) for benchmark in benchmarks):
        if group == "targets":
            continue
        of_group = [b for b in benchmarks if (b["group"] or _module(b)) == group]
        frames = re.match(r"decode (\d+) frames", group)
        count = int(frames[1]) if frames else 10 if "ten times" in group else 1
        unit = "a frame" if frames else "each"
        first = of_group[0]["stats"]["median"]
        head = f"| | median, {unit} | x the first | fastest, {unit} | rounds |"
        lines += [f"### {group}", "", head, "|---|---:|---:|---:|---:|"]
        for benchmark in of_group:
            stats = benchmark["stats"]
            lines.append(
                f"| {_label(benchmark)} | {_time(stats['median'] / count)} | {stats['median'] / first:.2f} "
                f"| {_time(stats['min'] / count)} | {stats['rounds']:,} |"
            )
        lines.append("")
    return "\n".join(lines)


def _module(benchmark: dict[str, Any]) -> str:
    return str(benchmark["fullname"]).partition("::")[0].rpartition("test_")[2].removesuffix(".py")


def _label(benchmark: dict[str, Any]) -> str:
    parameters = benchmark["params"] or {}
    for key in ("decoder", "encoder", "masker"):
        if key in parameters:
            return str(parameters[key])
    return str(benchmark["name"]).removeprefix("test_").replace("_", " ")


def _time(seconds: float) -> str:
    """Return a time with three digits in the unit that fits."""
    for unit, factor in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _picture(name: str, drawn: dict[str, str]) -> str:
    if name not in drawn:
        return ""
    return f"![{drawn[name]}](images/{name}.png)\n\n([SVG](images/{name}.svg))\n\n"


def condensed(compared: dict[str, Any]) -> dict[str, Any]:
    """Return the results as the page shows them: for each case and server the medians and each round."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in compared["records"]:
        found.setdefault((record["case"], record["server"]), []).append(record)
    results = []
    for (case, server), records in found.items():
        rounds = [_round(record) for record in records]
        keys = dict.fromkeys(key for one in rounds for key, value in one.items() if isinstance(value, float))
        medians = {key: _digits(median(one[key] for one in rounds if key in one)) for key in keys}
        results.append({"case": case, "server": server, "median": medians, "rounds": rounds})
    about = {key: compared[key] for key in ("machine", "pinned", "time", "arguments")}
    about["notes"] = compared.get("notes", [])
    return about | {"results": results}


def _round(record: dict[str, Any]) -> dict[str, Any]:
    result = record["result"]
    one: dict[str, Any] = {key: _digits(result[key]) for key in _ROUND if result.get(key) is not None}
    one |= {
        f"p{p}_us": _digits(result["latency_ns"][p] / 1000) for p in ("50", "99") if "latency_ns" in result
    }
    if result.get("server_memory_bytes"):
        one["memory_bytes_each"] = float(result["server_memory_bytes"]["each"])
    one |= {key: result[key] for key in _OWN if key in result}
    one |= {key: result[key] for key in ("faults", "bottleneck") if result.get(key)}
    return {"round": record["round"], **one}


def condensed_process(process: dict[str, Any]) -> dict[str, Any]:
    """Return the benchmarks inside the process: median, spread and number of rounds, in nanoseconds."""
    results = [
        {
            "group": benchmark["group"] or _module(benchmark),
            "name": benchmark["name"],
            **{f"{key}_ns": _digits(benchmark["stats"][key] * 1e9) for key in ("median", "min", "iqr")},
            "rounds": benchmark["stats"]["rounds"],
            **benchmark["extra_info"],
        }
        for benchmark in process["benchmarks"]
    ]
    return {"time": process["datetime"], "results": results}


def _digits(value: float) -> float:
    """Return a figure with five digits: more than any of these measurements has."""
    return float(f"{value:.5g}")


if __name__ == "__main__":
    raise SystemExit(main())
