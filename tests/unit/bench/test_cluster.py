"""The section of the page on clusters, from records that were made up, and the batch that is published."""

import json
from typing import Any

from bench.cluster.__main__ import REFERENCE, REFERENCE_KEPT, _batch, reference_title
from bench.cluster.cases import BATCH_128, LATENCY_1000, RELAY_16, SPREAD_1
from bench.cluster.page import Figures, condensed, relay_table, section, spread_table, target_rows
from bench.cluster.rivals.ringgate import ALONE, NAME

Record = dict[str, Any]


def record(case: str, server: str, number: int, rate: float, p50_ms: float = 0.1, **each: float) -> Record:
    result: Record = {"per_second": rate, "cpu_us_each": each, "faults": []}
    result["latency_ns"] = {"50": p50_ms * 1e6, "99": 3 * p50_ms * 1e6}
    return {"case": case, "server": server, "round": number, "result": result}


REFERENCE_16 = reference_title(RELAY_16.pipeline)
RECORDS = [
    record(REFERENCE_16, REFERENCE, 0, 100_000, redis=4.0, load=2.0),
    record(REFERENCE_16, REFERENCE, 1, 50_000, redis=4.0, load=2.0),
    record(REFERENCE_16, REFERENCE_KEPT, 1, 16_000, redis=30.0, load=2.0),
    record(RELAY_16.title, NAME, 0, 60_000, a=8.0, b=5.0, redis=6.0, load=90.0),
    record(RELAY_16.title, NAME, 1, 20_000, a=16.0, b=5.0, redis=6.0, load=90.0),
    record(LATENCY_1000.title, ALONE, 0, 1000, 0.2, a=50.0, load=1.0),
    record(LATENCY_1000.title, NAME, 0, 1000, 1.5, a=50.0, b=50.0, redis=50.0, load=1.0),
    record(SPREAD_1.title, NAME, 0, 100, a=2000.0, b=1000.0, redis=500.0, load=9000.0),
]
RUN: Record = {
    "machine": {"cpu": "x", "cores": 2, "system": "Linux", "kernel": "6", "python": "3.11.7"},
    "version": "0", "redis": "7.0", "time": "t", "arguments": [], "missing": {"nobody": "Node"},
    "code_changed": False, "records": RECORDS,
}  # fmt: skip


def test_a_relay_is_compared_with_redis_benchmark_of_the_same_round() -> None:
    rows = {row.what: row for row in target_rows(Figures(RECORDS))}
    row = rows["publications relayed, 2 nodes: WebSocket, 1 connection, 16 in flight"]
    assert row.measured.startswith("0.50 x the publications a second (0.40 to 0.60)")
    assert "; 0.38 x by the busiest process; " in row.measured  # the median of 4/8 and 4/16
    assert row.measured.endswith("; 1.25 x a script that keeps, too")
    assert row.verdict == "met by the median, not in every round"
    unmeasured = rows["publications relayed, 2 nodes: WebSocket, 1 connection, 1 in flight"]
    assert unmeasured.verdict == "not measured yet"


def test_the_latency_that_is_added_is_the_difference_of_medians_in_a_round() -> None:
    row = target_rows(Figures(RECORDS))[-1]
    assert (row.measured, row.verdict) == ("1.30 ms", "**missed**")


def test_costs_of_a_delivery_are_those_of_all_servers_without_the_load() -> None:
    (ours,) = (line for line in spread_table(Figures(RECORDS)).splitlines() if line.startswith(f"| {NAME} |"))
    assert ours.startswith(f"| {NAME} | 3.5 | 0.5 | 100,000 |")


def test_a_table_has_medians_over_the_rounds_and_says_what_was_not_measured() -> None:
    lines = relay_table(Figures(RECORDS)).splitlines()
    rates, costs = (line for line in lines if line.startswith("| WebSocket, 1 connection, 16 in flight |"))
    assert rates.split(" | ")[1:5] == ["75,000", "not measured yet", "16,000", "40,000"]
    assert costs.split(" | ")[1:7] == ["4", "30", "12", "5", "6", "90"]


def test_what_was_left_out_and_what_failed_is_told() -> None:
    broken = {"case": RELAY_16.title, "server": "x", "round": 0, "result": {"faults": ["3 deliveries"]}}
    text = section({**RUN, "records": [*RECORDS, broken]})
    assert "Left out: nobody, for want of Node." in text
    assert f"- x, {RELAY_16.title}: 3 deliveries" in text
    assert "What did not go" not in section(RUN)


def test_the_figures_of_each_round_are_kept() -> None:
    results = condensed(RUN)["results"]
    assert len(results) == len(RECORDS)
    assert results[6]["p50_us"] == 1500
    assert results[6]["cpu_us_each"]["redis"] == 50


def test_of_a_batch_only_the_last_publication_is_counted() -> None:
    commands = json.loads(_batch(BATCH_128).replace("{channel}", "c"))["commands"]
    assert [command["data"] == "{payload}" for command in commands] == [False] * 127 + [True]
    assert {len(command["data"]) for command in commands[:-1]} == {64}
