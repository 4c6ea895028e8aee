"""The soak in short: a cycle of a few seconds, which a leak of anything counted does not pass."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.soak.soak import Plan, Report, soak
from tests.soak.watch import Heap, Sample

MIB = 1 << 20


@pytest.mark.timeout(150)
async def test_a_short_soak_leaves_nothing_behind(tmp_path: Path) -> None:
    plan = Plan(cycles=1, churn_s=2.0, crowd=60, names=500)
    one, two = await asyncio.gather(*(soak(plan, n, tmp_path / str(n)) for n in (1, 2)))
    for report in (one, two):
        assert report.judge() == []
        assert report.did["resumes"] > 0
        assert report.did["names"] > 0
        assert report.busy[0].held["kept channels"] > 100
        assert report.quiet[0].held["tasks"] > 0  # the request that asks
        assert report.peaks[0].held["connections"] == plan.crowd + plan.residents
    assert one.peaks[0].held["processes"] == 1
    assert two.peaks[0].held["processes"] == 3


def peaks(*memory_mib: float, processes: int = 1) -> Report:
    held = {"processes": processes, "tasks": 2, "rings": 3, "kept channels": 10_000}
    report = Report(Plan(len(memory_mib), 1.0), 1)
    report.peaks = [Sample(float(i), held, (round(m * MIB),), 80) for i, m in enumerate(memory_mib)]
    report.quiet = report.peaks[:1]
    return report


def test_memory_that_grows_from_cycle_to_cycle_is_a_fault() -> None:
    assert peaks(30, 50, *[51, 59.5] * 6).judge() == []
    (fault,) = peaks(30, *[50 + 1.5 * i for i in range(15)]).judge()
    assert fault.startswith("memory with the same crowd grows: 30.0, 50.0, 51.5")
    assert peaks(50, 59).judge() == []
    assert len(peaks(50, 61).judge()) == 1


def test_memory_that_one_process_gives_and_another_takes_is_still_a_fault() -> None:
    report = peaks(*[50] * 12)
    report.peaks = [
        Sample(float(i), report.peaks[0].held, ((60 - 2 * i) * MIB, (40 + 2 * i) * MIB), 80)
        for i in range(12)
    ]
    assert len(report.judge()) == 1


def test_an_allocation_that_stays_from_cycle_to_cycle_is_a_fault() -> None:
    report = peaks(*[50] * 10)
    report.heaps = [Heap(90_000, 9 << 20), *[Heap(100_000 + i % 2, 10 << 20) for i in range(9)]]
    assert report.judge() == []
    report.heaps = [Heap(100_000 + 500 * i, 10 << 20) for i in range(10)]
    (fault,) = report.judge()
    assert fault == "in the quiet 3,000 blocks and 0 bytes more are allocated than before"
    report.heaps = [Heap(100_000, (10 << 20) + 100_000 * i) for i in range(10)]
    assert len(report.judge()) == 1


def test_what_is_held_beyond_the_baseline_is_told_with_some_slack_for_requests_under_way() -> None:
    before = Sample(0.0, {"tasks": 2, "rings": 3}, (), 80)
    assert Sample(1.0, {"tasks": 4, "rings": 3}, (), 80).more_than(before) == {}
    assert Sample(1.0, {"tasks": 5, "rings": 4}, (), 80).more_than(before) == {
        "tasks": (5, 2),
        "rings": (4, 3),
    }


def test_labels_without_end_are_a_fault() -> None:
    report = peaks(50, 50)
    report.quiet = [Sample(0.0, {}, (), 80), Sample(1.0, {}, (), 400)]
    assert report.judge() == ["/metrics has 400 time series: there are labels without end"]


@pytest.mark.parametrize(("seconds", "cycles"), [(1.0, 2), (60.0, 4), (3600.0, 65)])
def test_a_plan_takes_about_as_long_as_it_is_told(seconds: float, cycles: int) -> None:
    assert Plan.of(seconds).cycles == cycles
