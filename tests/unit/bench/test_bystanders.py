"""What was measured of bystanders, as percentiles and as a table."""

from typing import Any

from bench.bystander_table import percentiles, table, times

ABOUT = {"machine": {"cpu": "a processor", "python": "3.11.7"}, "time": "2026-01-01T00:00:00Z"}


def state(p99: float, cpu: float, waited: float = 0.0) -> dict[str, Any]:
    wait = {"count": 1000, "p50": p99 / 2, "p99": p99, "most": p99}
    core = {"cpu_percent": cpu, "waited_percent": waited}
    return {"echo": wait, "publish": wait, "delivery": wait, "gateway": core}


def record(number: int, well: float, ill: float) -> dict[str, Any]:
    return {"round": number, "illness": "hang", "well": state(well, 25), "ill": state(ill, 12)}


RECORDS = [record(0, 100, 100), record(1, 1000, 500), record(2, 100, 400)]


def test_percentiles_are_of_the_ordered_samples_and_none_are_zeros() -> None:
    waits = [float(number) for number in range(1000, 0, -1)]
    assert percentiles(waits) == {"count": 1000, "p50": 501.0, "p99": 991.0, "most": 1000.0}
    assert percentiles([]) == {"count": 0, "p50": 0.0, "p99": 0.0, "most": 0.0}


def test_ratios_are_those_within_each_round() -> None:
    assert times(RECORDS, "echo") == [1.0, 0.5, 4.0]


def test_the_table_has_the_median_of_the_ratios_with_their_spread_and_the_core() -> None:
    told = table(RECORDS, ABOUT)
    row = next(line for line in told.splitlines() if line.startswith("| answers nothing"))
    assert row.count("1.00 (0.50 to 4.00)") == 3
    assert row.endswith("| 25, 12 |")
    heading = next(line for line in told.splitlines() if line.startswith("| the service"))
    assert heading.count("|") == row.count("|")
    assert "3 of 3 ratios are at most 1.5." in told


def test_what_is_above_the_bound_is_not_counted_as_within() -> None:
    assert "0 of 3 ratios are at most 1.5." in table([record(0, 100, 151)], ABOUT)
