"""The soak: churn, then quiet, then the same crowd as each time; again and again, against one gateway.

In the quiet nothing may be left but what the residents hold: gauges, descriptors and tasks are back where
they were, and so is what the first process has allocated.  What is resident in memory then says little (what
an allocator could not give back, which differs from time to time), so that is compared while the crowd is
there: the same live state, at its peak.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import websockets

from tests.soak.load import NAMESPACES, Crowd, Load, Residents
from tests.soak.watch import Heap, Sample, Watch
from tests.support.process import GatewayProcess, special_python, start_gateway

MIB: Final = 1 << 20
QUIET_S: Final = 30.0
MOST_SERIES: Final = 200
MOST_GROWN: Final = 10 * MIB
MOST_BLOCKS: Final = 2000
MOST_MALLOC: Final = 512 * 1024
FLAGS: Final = (
    *("--websocket-compression", "--websocket-ping-interval", "5s", "--websocket-close-timeout", "1s"),
    *("--session-resume-ttl", "5s", "--namespace", "default.ring_idle=1s", "--shutdown-timeout", "2s"),
    *("--namespace", "default.history_ttl=5s", *NAMESPACES),
)
BAD_LOG: Final = ("Traceback", "internal error", "a command failed", "exception", "background work failed")


@dataclass(frozen=True)
class Plan:
    """How long: cycles of so many seconds of churn; a crowd of `crowd` clients and `names` names."""

    cycles: int
    churn_s: float
    crowd: int = 200
    names: int = 10_000
    residents: int = 10

    @classmethod
    def of(cls, seconds: float) -> Plan:
        """Return the plan of a soak of about so many seconds."""
        churn_s = min(45.0, max(3.0, seconds / 12))
        return cls(cycles=max(2, round(seconds / (churn_s + 10))), churn_s=churn_s)


@dataclass
class Report:
    """What was seen: the start without clients, the quiet with residents, each cycle, the end."""

    plan: Plan
    workers: int
    quiet: list[Sample] = field(default_factory=list)
    busy: list[Sample] = field(default_factory=list)
    peaks: list[Sample] = field(default_factory=list)
    heaps: list[Heap] = field(default_factory=list)
    did: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def grown_bytes(self) -> list[int]:
        """By how much the late peaks of each process exceed its early ones.

        The first is not counted if there are enough; nor is a peak at which some of the crowd's names were
        forgotten already: the machine was too busy.
        """
        peaks = [sample.each for sample in self.peaks if sample.held["kept channels"] >= self.plan.names]
        peaks = peaks[1:] if len(peaks) > 3 else peaks
        third = max(1, len(peaks) // 3)
        return [round(median(each[-third:]) - median(each[:third])) for each in zip(*peaks, strict=True)]

    def judge(self) -> list[str]:
        """Return everything that is wrong."""
        wrong = list(self.problems)
        if len(self.peaks) < self.plan.cycles:
            wrong.append(f"only {len(self.peaks)} of {self.plan.cycles} cycles came to their end")
        if any(grown > MOST_GROWN for grown in self.grown_bytes()):
            peaks = ", ".join(f"{sample.memory / MIB:.1f}" for sample in self.peaks)
            wrong.append(f"memory with the same crowd grows: {peaks} MiB")
        wrong += self._judge_heaps()
        if (series := max(sample.series for sample in self.quiet)) > MOST_SERIES:
            wrong.append(f"/metrics has {series} time series: there are labels without end")
        return wrong

    def _judge_heaps(self) -> list[str]:
        """Compare what is allocated in the late quiets with the early ones, the first left out."""
        heaps = self.heaps[1:]
        if len(heaps) < 3:
            return []
        third = len(heaps) // 3
        early, late = heaps[:third], heaps[-third:]
        blocks = median(heap.blocks for heap in late) - median(heap.blocks for heap in early)
        malloc = median(heap.malloc for heap in late) - median(heap.malloc for heap in early)
        if blocks <= MOST_BLOCKS and malloc <= MOST_MALLOC:
            return []
        return [f"in the quiet {blocks:,.0f} blocks and {malloc:,.0f} bytes more are allocated than before"]


async def soak(plan: Plan, workers: int, folder: Path, tell: Callable[[str], None] = print) -> Report:
    """Run the soak against a gateway of its own; `tell` is given a line of the table for each cycle."""
    process = await asyncio.to_thread(_start, workers, folder)
    report = Report(plan, workers)
    try:
        await _soak(plan, process, report, tell)
    finally:
        status = await asyncio.to_thread(process.stop)
    if status:
        report.problems.append(f"the gateway ended with status {status}")
    lines = [line for line in process.log.splitlines() if any(mark in line for mark in BAD_LOG)]
    report.problems += [f"its log says: {line[:500]}" for line in lines[:5]]
    return report


def _start(workers: int, folder: Path) -> GatewayProcess:
    folder.mkdir(parents=True, exist_ok=True)
    python = special_python(folder, impatient=True)
    log_path = folder / "gateway.log"
    env = {"HEAP_FILE": str(folder / "heap")}
    return start_gateway(*FLAGS, "--workers", str(workers), log_path=log_path, python=python, env=env)


async def _soak(plan: Plan, process: GatewayProcess, report: Report, tell: Callable[[str], None]) -> None:
    load = Load(process.ws_url, process.api_url, lambda problem: tell(f"workers {report.workers}: {problem}"))
    load.problems = report.problems
    async with load.http:
        watch = Watch(process.pid, load.http, process.log_path.with_name("heap"))
        for number in range(50):  # keys are kept for minutes: they are there from the start
            await load.post("publish", channel="keyed", data=1, key=f"k{number}")
        report.quiet.append(await watch.sample())
        residents = Residents(load)
        await residents.come(plan.residents)
        report.quiet.append(await _settled(watch))
        tell(head())
        try:
            for number in range(plan.cycles):
                await _cycle(number, load, watch, report, tell)
        finally:
            await residents.go()
        await _until_quiet(watch, report.quiet[0], report, "the end")
        report.did = dict(load.did)


async def _cycle(number: int, load: Load, watch: Watch, report: Report, tell: Callable[[str], None]) -> None:
    """Churn, quiet, crowd, quiet."""
    plan = report.plan
    churn = asyncio.create_task(load.churn(plan.churn_s))
    await asyncio.sleep(plan.churn_s * 0.8)
    report.busy.append(await watch.sample())
    await churn
    await _until_quiet(watch, report.quiet[1], report, f"cycle {number + 1}")
    report.heaps.append(await watch.heap())
    crowd = Crowd(load, plan.crowd, plan.names)
    try:
        await crowd.come()
        report.peaks.append(await watch.sample())
        tell(row(report, load))
    except (OSError, TimeoutError, httpx.HTTPError, websockets.WebSocketException) as error:
        report.problems.append(f"cycle {number + 1}: the crowd met {error!r}")
    finally:
        await crowd.go()


async def _until_quiet(watch: Watch, baseline: Sample, report: Report, what: str) -> None:
    """Wait until no more is held than in the `baseline`; what still is after QUIET_S is a problem."""
    give_up_s = time.monotonic() + QUIET_S
    while over := (sample := await watch.sample()).more_than(baseline):
        if time.monotonic() > give_up_s:
            held = ", ".join(f"{now} {name} instead of {then}" for name, (now, then) in over.items())
            report.problems.append(f"{what}: after {QUIET_S:g} s of quiet there are still {held}")
            break
        await asyncio.sleep(0.5)
    report.quiet.append(sample)


async def _settled(watch: Watch) -> Sample:
    """Return what is held once it did not change for three seconds: before there was any churn."""
    alike = 0
    sample = await watch.sample()
    while alike < 6:
        await asyncio.sleep(0.5)
        previous, sample = sample, await watch.sample()
        steady = not sample.more_than(previous) and not previous.more_than(sample)
        alike = alike + 1 if steady else 0
    return sample


COLUMNS: Final = ("connections", "channels", "rings", "kept channels", "kept sessions", "members", "tasks",
                  "descriptors")  # fmt: skip


def head() -> str:
    """Return the head of the table; each cell is: while clients churn, in the quiet after it."""
    cells = [f"{name:>14}" for name in COLUMNS]
    rest = "blocks  malloc, K   quiet, MiB  crowd, MiB      done  crowd, each process"
    return f"workers  time, s {''.join(cells)}    {rest}"


def row(report: Report, load: Load) -> str:
    """Return the line of the newest cycle."""
    busy, quiet, peak = report.busy[-1], report.quiet[-1], report.peaks[-1]
    cells = [f"{busy.held[name]} / {quiet.held[name]}" for name in COLUMNS]
    done = load.did["connections"] + load.did["commands"] + load.did["API calls"] + load.did["names"]
    each = " + ".join(f"{memory / MIB:.1f}" for memory in peak.each)
    return (
        f"{report.workers:>7} {peak.at_s:>8.0f} {''.join(f'{cell:>14}' for cell in cells)} "
        f"{report.heaps[-1].blocks:>9,} {report.heaps[-1].malloc // 1024:>9,} "
        f"{quiet.memory / MIB:>12.1f} {peak.memory / MIB:>11.1f} {done:>9,}  {each}"
    )
