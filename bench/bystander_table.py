"""What `bench.bystanders` measured, as percentiles and as the table of the page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from bench.bystander_load import MEASURES
from bench.ill_service import ILLNESSES

BOUND: Final = 1.5


def percentiles(waits: Sequence[float]) -> dict[str, float]:
    """Return the number of samples, the median, the 99th percentile and the most; zeros for none."""
    ordered = sorted(waits)
    if not ordered:
        return {"count": 0, "p50": 0.0, "p99": 0.0, "most": 0.0}
    p50, p99 = (ordered[int(share * len(ordered))] for share in (0.5, 0.99))
    return {"count": len(ordered), "p50": p50, "p99": p99, "most": ordered[-1]}


def times(rounds: Sequence[dict[str, Any]], name: str, at: str = "p99") -> list[float]:
    """Return for each round how many times as long the ill service's bystanders waited."""
    return [r["ill"][name][at] / r["well"][name][at] for r in rounds if r["well"][name][at]]


def table(records: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the part of the page: medians over the rounds, and of the ratios within a round."""
    machine = about["machine"]
    rows, within, all_ = [], 0, 0
    for illness in dict.fromkeys(r["illness"] for r in records):
        rounds = [r for r in records if r["illness"] == illness]
        cells = []
        for name in MEASURES:
            ratios = times(rounds, name)
            well, ill = (median(r[state][name]["p99"] for r in rounds) for state in ("well", "ill"))
            cells.append(f"{well:,.0f}, {ill:,.0f}")
            cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
            within, all_ = within + (median(ratios) <= BOUND), all_ + 1
        shares = (median(r[state]["gateway"]["cpu_percent"] for r in rounds) for state in ("well", "ill"))
        cells.append(", ".join(f"{share:.0f}" for share in shares))
        rows.append(f"| {ILLNESSES[illness]} | " + " | ".join(cells) + " |")
    return "\n".join(
        (*_heading(records, machine, str(about["time"])), *rows, "", _verdict(within, all_, records))
    )


def _heading(records: Sequence[dict[str, Any]], machine: dict[str, Any], when: str) -> list[str]:
    counts = (min(r[s][name]["count"] for r in records for s in ("well", "ill")) for name in MEASURES)
    least = ", ".join(f"{count:,} of {name}" for name, count in zip(MEASURES, counts, strict=True))
    return [
        f"Measured {when} on {machine['cpu']}, Python {machine['python']}: `python -m bench.bystanders`.",
        "",
        f"{len({r['round'] for r in records})} rounds; samples in each of their slices: at least {least}.",
        "",
        "| the service | "
        + " | ".join(f"{name}: p99 well, ill, µs | times (rounds)" for name in MEASURES)
        + " | gateway well, ill, % of a core |",
        "|---|" + "---:|---:|" * len(MEASURES) + "---:|",
    ]


def _verdict(within: int, all_: int, records: Sequence[dict[str, Any]]) -> str:
    waited = median(r[s]["gateway"]["waited_percent"] for r in records for s in ("well", "ill"))
    return (
        f"{within} of {all_} ratios are at most {BOUND}."
        f" The gateway waited {waited:.1f} % of the time for its core, which others on the machine had."
    )
