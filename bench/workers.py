"""Fan-out through one process and through several: what two cores could do, by the CPU time of all processes.

The load runs on the same cores, so rates say little.  Two cores can do twice what the CPU time of all
processes together comes to, unless one process is the whole of a core before: `capacity` has the smaller of
both, in deliveries a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from gateway.bench import report, runs
from gateway.bench.processes import cpu_s
from gateway.cli.version import ringgate_version

CORES: Final = 2


def run_workers(address: str, pid: int, plan: runs.Plan, *, subscribers: int, size: int) -> dict[str, Any]:
    """Measure fan-out with all processes of the gateway whose first one is `pid`.  Raises BenchError."""
    pids = processes(pid)
    before = [cpu_s(each) for each in pids]
    plan = runs.Plan(**{**vars(plan), "server_pids": tuple(pids)})
    url = f"ws://{address}/ws"
    result = runs.run_fanout(
        url, plan, runs.Subscribing(), subscribers=subscribers, size=size, progress=_quiet
    )
    used = [cpu_s(each) - start for each, start in zip(pids, before, strict=True)]
    told = report.as_json(result, url=url, version=ringgate_version())
    share = max(used) / sum(used)  # of the busiest
    cores = min(CORES, len(pids)) if len(pids) > 1 else 1
    each_us = told["server_cpu_us_per_unit"]
    told["busiest_share"] = share
    told["capacity"] = min(cores, 1 / share) * 1e6 / each_us if each_us else None
    return told


def processes(pid: int) -> list[int]:
    """Return a process and its children; of one that is over there are none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        children = ""
    return [pid, *map(int, children.split())]


def _quiet(what: str, part: float) -> None:
    """Show no progress."""
