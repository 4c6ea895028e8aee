"""The tables of the comparison: ratios within a round, medians over rounds, marks and failures."""

from typing import Any

from bench.tables import FLOOR, SAME_BYTES, markdown, ratio, ratios


def record(server: str, number: int, cost: float, **changes: Any) -> dict[str, Any]:
    result = {
        "units": 10,
        "server_cpu_us_per_unit": cost,
        "units_per_second": 1000.0,
        "server_share": 0.97,
        "own_share": 0.6,
        "latency_ns": {"50": 1000, "99": 2000},
        "faults": [],
        "bottleneck": "",
    }
    return {
        "server": server,
        "case": "fanout, 10 subscribers",
        "scenario": "fanout",
        "round": number,
        "result": result | changes,
    }


def document(records: list[dict[str, Any]]) -> str:
    machine = {"cpu": "X", "cores": 2, "system": "Linux", "kernel": "6", "python": "3.11"}
    pinned = {"server": 0, "load": 1}
    return markdown({"machine": machine, "pinned": pinned, "time": "now", "records": records})


def test_a_ratio_is_the_median_of_those_of_each_round() -> None:
    records = [
        record(server, number, cost)
        for server, costs in (("Ringgate", (2.0, 30.0, 3.0)), (FLOOR, (1.0, 10.0, 2.0)))
        for number, cost in enumerate(costs)
    ]
    assert ratio(records, "Ringgate") == 2.0  # of 2, 3 and 1.5
    assert ratio(records, FLOOR) == 1.0
    assert ratio(records, "Ringgate", SAME_BYTES) is None


def test_a_round_without_the_floor_does_not_count() -> None:
    records = [record("Ringgate", 0, 9.0), record("Ringgate", 1, 3.0), record(FLOOR, 1, 2.0)]
    assert ratio(records, "Ringgate") == 1.5


def test_the_ratio_of_each_round_is_told() -> None:
    records = [
        record(server, number, 1.0, units_per_second=rate)
        for server, rates in (("Ringgate", (10.0, 30.0)), (FLOOR, (20.0, 20.0)))
        for number, rate in enumerate(rates)
    ]
    assert ratios(records, "Ringgate", FLOOR, "units_per_second") == [0.5, 1.5]


def test_a_row_has_cost_ratios_rate_and_latencies() -> None:
    text = document([record("Ringgate", 0, 3.0), record(FLOOR, 0, 2.0), record(SAME_BYTES, 0, 2.5)])
    assert "to the C floor | to the C floor, same bytes |" in text
    assert "| Ringgate | 3 | 1.50 | 1.20 | 1,000 | 97 %, 60 % | 1 µs | 2 µs |" in text


def test_what_failed_or_was_not_the_server_is_marked() -> None:
    failed = record("gone", 0, 0.0)
    failed["result"] = {"faults": ["gone does not listen"]}
    wrong = record("wrong", 0, 1.0, faults=["1 deliveries never came"])
    slow = record("fast", 0, 1.0, bottleneck="the load tool was the bottleneck")
    text = document([failed, wrong, slow])
    assert "| gone | failed: gone does not listen |" in text
    assert "| wrong (deliveries wrong) |" in text
    assert "| fast (load-bound) |" in text


def test_idle_connections_are_told_in_bytes() -> None:
    idle = record("Ringgate", 0, 0.0, server_memory_bytes={"each": 2500}) | {"scenario": "idle"}
    assert "| Ringgate | 2,500 |" in document([idle])
