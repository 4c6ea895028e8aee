"""`make soak`: churn for a long time, and everything must be as before.

    python -m tests.soak [SECONDS] [--workers N]...

Without `--workers` two gateways are soaked at the same time: one process, and `--workers 2`.  A table tells
what each of them held; the status is 1 if anything is left behind, or was answered wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import uvloop

from tests.soak.soak import MIB, Plan, Report, soak

OUT: Final = Path(__file__).resolve().parents[2] / "build" / "soak"


def main() -> int:
    """Run it; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Soak gateways.")
    parser.add_argument("seconds", nargs="?", type=float, default=3600.0, help="(default an hour)")
    parser.add_argument("--workers", type=int, action="append", help="(default 1 and 2, at the same time)")
    options = parser.parse_args()
    reports = uvloop.run(_all(Plan.of(options.seconds), options.workers or [1, 2]))
    (OUT / "soak.json").write_text(json.dumps([asdict(report) for report in reports], indent=1) + "\n")
    return max(_tell(report) for report in reports)


async def _all(plan: Plan, workers: list[int]) -> list[Report]:
    print(f"{plan.cycles} cycles of {plan.churn_s:g} s of churn; busy / quiet:", flush=True)
    tell = lambda line: print(line, flush=True)  # noqa: E731
    return await asyncio.gather(*(soak(plan, count, OUT / f"workers-{count}", tell) for count in workers))


def _tell(report: Report) -> int:
    """Print the verdict on one gateway; 1 when something is wrong."""
    wrong = report.judge()
    did = ", ".join(f"{count:,} {what}" for what, count in sorted(report.did.items()))
    print(f"\nworkers {report.workers}: {did}")
    grown = ", ".join(f"{each / MIB:+.1f}" for each in report.grown_bytes())
    print(f"memory with the same crowd, late peaks against early ones: {grown} MiB for each process")
    if report.heaps:
        first, last = report.heaps[min(1, len(report.heaps) - 1)], report.heaps[-1]
        print(f"allocated in the quiet: {first.blocks:,} blocks and {first.malloc:,} B of malloc at first, "
              f"{last.blocks:,} and {last.malloc:,} in the end")  # fmt: skip
    for problem in wrong:
        print(f"FAULT: {problem}")
    print("everything is as before" if not wrong else f"{len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
