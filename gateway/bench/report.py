"""What the user reads: figures, the account of deliveries, the verdict on the measurement; also as JSON."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Final

from .histogram import Histogram, duration
from .runs import Result

_BUSY: Final = 0.9  # from this share of the time on, somebody is the bottleneck
_LATENCY_OF: Final = {
    "echo": "from sending to the echo",
    "fanout": "from publishing to each delivery",
    "connect": "from connecting to ready",
    "idle": "from connecting to ready",
}


def faults(result: Result) -> list[str]:
    """Return what went wrong, as far as the account tells; nothing: every message is where it should be."""
    counts = result.counts
    told = {
        "lost": "deliveries never came",
        "doubled": "deliveries came that nobody should get (twice, or on another channel)",
        "reordered": "deliveries came after a later message of their channel",
        "missing": "messages did not come back",
        "wrong": "echoes were not what was sent",
        "failed": "connections failed",
        "closed": "connections were closed by the server",
    }
    found = [f"{counts[name]:,} {text}" for name, text in told.items() if counts.get(name)]
    if found or result.problem:
        found += [f"first problem: {result.problem}"] if result.problem else []
        found += [f"the server last said: {result.other}"] if result.other and not result.problem else []
    return found


def bottleneck(result: Result) -> str:
    """Tell whether the load tool, and not the server, limited the result; empty when it did not.

    A tool that was idle in between did not; nor does it matter where the server was busy all the time too.
    """
    usage = result.usage
    if result.scenario == "idle" or usage.own_share < _BUSY or usage.server_share >= _BUSY:
        return ""
    own = f"it had or wanted a processor for {100 * usage.own_share:.0f} % of the time"
    if usage.own_waited_s > usage.own_cpu_s / 2:
        own += f" (but got one for only {100 * usage.own_cpu_s / usage.wall_s:.0f} %: the machine was busy)"
    if not result.settings.get("server_pids"):
        return f"the load tool may have been the bottleneck: {own}; --server-pid tells more"
    return (
        f"the load tool was the bottleneck: {own}, the server used one for {100 * usage.server_share:.0f} %; "
        "throughput and latencies are the tool's, CPU time per message is the server's"
    )


def as_json(result: Result, *, url: str, version: str) -> dict[str, Any]:
    """Return everything that was measured; times in the unit of the name."""
    usage = result.usage
    return {
        "tool": f"ringgate bench {version}",
        "url": url,
        "scenario": result.scenario,
        "settings": result.settings,
        "machine": machine(),
        "seconds": usage.wall_s,
        "messages": result.messages,
        "units": result.units,
        "unit": result.unit,
        "units_per_second": result.units / usage.wall_s,
        "server_cpu_s": usage.server_cpu_s,
        "server_cpu_each_s": list(usage.server_cpu_each_s),
        "server_cpu_us_per_unit": cpu_us(result),
        "server_share": usage.server_share,
        "server_memory_bytes": result.memory_bytes,
        "own_cpu_s": usage.own_cpu_s,
        "own_waited_s": usage.own_waited_s,
        "own_share": usage.own_share,
        "bottleneck": bottleneck(result),
        "counts": result.counts,
        "faults": faults(result),
        "latency_ns": result.latencies.percentiles() | {"mean": round(result.latencies.mean_ns())},
        "latency_histogram_ns": result.latencies.sparse(),
    }


def as_text(result: Result, *, plot: bool = True) -> str:
    """Return the report."""
    lines = [_headline(result), ""]
    width = max(len(name) for name, _ in _figures(result))
    lines += [f"  {name:<{width}}  {value}" for name, value in _figures(result)]
    if result.latencies.total:
        lines += ["", f"latency, {_LATENCY_OF[result.scenario]}:", "", _table(result.latencies)]
        lines += ["", result.latencies.plot()] if plot else []
    verdict = bottleneck(result)
    lines += ["", f"NOTE: {verdict}"] if verdict else []
    lines += ["", f"NOTE: {notice}"] if (notice := _unsent(result)) else []
    lines += ["", *(f"FAULT: {fault}" for fault in faults(result))] if faults(result) else []
    return "\n".join(lines)


def cpu_us(result: Result) -> float | None:
    """Return the server's CPU time for each echo, delivery or connection, in µs; None when unknown."""
    if not result.settings.get("server_pids") or not result.units:
        return None
    return 1e6 * result.usage.server_cpu_s / result.units


def machine() -> dict[str, Any]:
    """Describe the machine, as far as it matters to a figure."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_tool_cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _unsent(result: Result) -> str:
    unsent = result.counts.get("unsent", 0)
    due = unsent + result.counts.get("sent", 0)
    if unsent <= due // 1000 + 1:
        return ""
    return f"{unsent:,} of {due:,} messages were due and could not be sent in time: too many were unanswered"


def _headline(result: Result) -> str:
    settings = result.settings
    shown = {
        "connections": "connections",
        "subscribers": "subscribers",
        "channels": "channels",
        "payload_bytes": "byte payload",
        "in_flight": "in flight",
        "rate": "a second, open loop",
        "at_once": "at once",
    }
    parts = [f"{settings[name]:,} {text}" for name, text in shown.items() if name in settings]
    return f"{result.scenario}: {', '.join(parts)}"


def _figures(result: Result) -> list[tuple[str, str]]:
    usage, counts = result.usage, result.counts
    rows = [("time", f"{usage.wall_s:.2f} s")]
    if result.scenario == "fanout":
        rows.append(("messages", f"{result.messages:,} ({result.messages / usage.wall_s:,.0f}/s)"))
        rows.append(("deliveries", f"{counts['delivered']:,} of {counts['expected']:,}"))
        rows.append(("rate", f"{result.units / usage.wall_s:,.0f} deliveries/s"))
    elif result.scenario == "echo":
        rows.append(("echoes", f"{counts['echoed']:,} ({result.units / usage.wall_s:,.0f}/s)"))
    elif result.scenario == "connect":
        rows.append(("connections", f"{counts['opened']:,} ({result.units / usage.wall_s:,.0f}/s)"))
    else:
        rows.append(("connections", f"{counts['opened'] - counts['closed']:,} held"))
    if result.settings.get("server_pids"):
        rows.append(("server CPU", f"{100 * usage.server_share:.0f} % of a processor"))
        each = cpu_us(result)
        if each is not None and result.scenario != "idle":
            rows.append(("server CPU each", f"{each:.3f} µs a {result.unit}"))
    if result.memory_bytes:
        memory = result.memory_bytes
        rows.append(
            ("server memory", f"{memory['held'] / 1e6:.1f} MB (before: {memory['before'] / 1e6:.1f} MB)")
        )
        rows.append(("memory each", f"{memory['each']:,} bytes a connection"))
    rows.append(("load tool CPU", f"{100 * usage.own_cpu_s / usage.wall_s:.0f} % of a processor"))
    return rows


def _table(latencies: Histogram) -> str:
    names = {"50": "median", "100": "longest"}
    rows = [(names.get(p, f"{p} %"), duration(ns)) for p, ns in latencies.percentiles().items()]
    return "\n".join(f"  {name:>8}  {value:>9}" for name, value in rows)
