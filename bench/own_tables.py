"""Tables of docs/benchmarks.md for what only Ringgate is measured in, and for the targets it misses.

A miss is told with its profile: the text of bench/profiles/KEY.md, written by hand, which stays there when
the page is written anew, and is shown for as long as the target is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import cases, targets
from bench.rivals.ringgate_own import CHANNELS, STALLED
from gateway.bench.histogram import duration

PROFILES: Final = Path(__file__).resolve().parent / "profiles"

Records = Sequence[dict[str, Any]]


def of(records: Records, case: cases.Case, server: str) -> list[dict[str, Any]]:
    """Return the results of a server in a case that have figures."""
    return [
        record["result"]
        for record in records
        if record["case"] == case.title and record["server"] == server and "units" in record["result"]
    ]


def channels(records: Records) -> str:
    """Return the cost of a delivery against the number of channels."""
    head = " | ".join(f"{k} in flight" for k in cases.CHANNELS_IN_FLIGHT)
    lines = [f"| channels | {head} |", "|---:" * (1 + len(cases.CHANNELS_IN_FLIGHT)) + "|"]
    for n in cases.CHANNELS:
        cells = [_cost(records, cases.Case("channels", n, in_flight=k)) for k in cases.CHANNELS_IN_FLIGHT]
        lines.append(f"| {n:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cost(records: Records, case: cases.Case) -> str:
    found = [result["server_cpu_us_per_unit"] for result in of(records, case, CHANNELS)]
    return f"{median(found):.3g} µs" if found else targets.NOT_MEASURED


def stalled(records: Records) -> str:
    """Return what stalled clients cost and what became of them: medians of the rounds."""
    columns = (
        "policy",
        "p99 of the others: without, with",
        "ratio",
        "memory, B a stalled client",
        "frames dropped: counted, seen",
        "gaps: counted, seen",
        "4200: counted, seen",
        "came back and missed nothing",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for case in cases.STALLED:
        results = of(records, case, STALLED)
        lines.append(f"| {case.kind} | {' | '.join(_stalled(results))} |")
    return "\n".join(lines)


def _stalled(results: Sequence[dict[str, Any]]) -> list[str]:
    if not results:
        return [targets.NOT_MEASURED, *[""] * 6]
    last = results[-1]["stalled"]
    seen = f"{last['lost']:,}" if last["lost"] else "-"
    without, beside = (
        duration(median(part["latency_ns"]["99"] for part in parts))
        for parts in ([result["without"] for result in results], results)
    )
    return [
        f"{without}, {beside}",
        f"{median(result['p99_ratio'] for result in results):.2f}",
        f"{median(result['stalled']['memory_bytes_each'] for result in results):,.0f}",
        f"{last['counted_dropped']:,}, {seen}",
        f"{last['counted_gaps']:,}, {last['gaps']:,}",
        f"{last['counted_disconnects']:,}, {last['closed_4200']:,}",
        f"{last['resumed']:,}" if "resumed" in last else "-",
    ]


def misses(rows: Sequence[targets.Row], folder: Path = PROFILES) -> str:
    """Return each missed target with its profile."""
    parts = []
    for row in rows:
        if row.verdict == targets.MISSED:
            profile = folder / f"{row.key}.md"
            told = profile.read_text().strip() if profile.exists() else "There is no profile of it yet."
            parts.append(f"### {row.what}\n\n{row.measured}; the target: {row.target}.\n\n{told}")
    return "\n\n".join(parts) or "None in this run."
