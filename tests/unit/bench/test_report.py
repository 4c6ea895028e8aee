"""The verdict, the faults, and the two forms of the report."""

import json

import pytest

from gateway.bench import report
from gateway.bench.histogram import Histogram
from gateway.bench.processes import Usage
from gateway.bench.runs import Result

BALANCED = Usage(wall_s=2.0, server_cpu_s=1.9, own_cpu_s=1.0, own_waited_s=0.1)
OWN_LIMIT = Usage(wall_s=2.0, server_cpu_s=0.8, own_cpu_s=1.95, own_waited_s=0.0)


def fanout(usage: Usage = BALANCED, *, pids: tuple[int, ...] = (1,), **changes: int) -> Result:
    counts = {"sent": 10, "expected": 1000, "delivered": 1000, "lost": 0, "doubled": 0, "reordered": 0}
    latencies = [0] * 2560
    latencies[500] = 1000
    return Result(
        scenario="fanout",
        settings={"subscribers": 100, "payload_bytes": 64, "in_flight": 1, "server_pids": list(pids)},
        usage=usage,
        latencies=Histogram(latencies),
        messages=10,
        units=1000,
        unit="delivery",
        counts=counts | changes,
    )


def test_a_run_in_which_all_arrived_has_no_faults() -> None:
    assert report.faults(fanout()) == []
    assert "FAULT" not in report.as_text(fanout())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        ("lost", "3 deliveries never came"),
        ("doubled", "3 deliveries came that nobody should get"),
        ("reordered", "3 deliveries came after a later message"),
        ("missing", "3 messages did not come back"),
        ("wrong", "3 echoes were not what was sent"),
        ("failed", "3 connections failed"),
        ("closed", "3 connections were closed by the server"),
    ],
)
def test_each_count_of_what_went_wrong_is_a_fault(count: str, text: str) -> None:
    result = fanout()
    result.counts[count] = 3
    assert report.faults(result)[0].startswith(text)
    assert f"FAULT: {text}" in report.as_text(result)


def test_the_first_problem_is_told_with_the_faults() -> None:
    result = fanout(lost=1)
    result.problem = "the server closed with 4200"
    assert report.faults(result)[-1] == "first problem: the server closed with 4200"


def test_a_tool_that_was_idle_in_between_was_not_the_bottleneck() -> None:
    assert report.bottleneck(fanout()) == ""


def test_a_busy_tool_beside_a_busy_server_was_not_the_bottleneck() -> None:
    assert report.bottleneck(fanout(Usage(2.0, 1.95, 1.95, 0.0))) == ""


def test_a_busy_tool_beside_a_server_with_time_to_spare_was_the_bottleneck() -> None:
    result = fanout(OWN_LIMIT)
    assert "the load tool was the bottleneck" in report.bottleneck(result)
    assert "the server used one for 40 %" in report.bottleneck(result)
    assert "NOTE: the load tool was the bottleneck" in report.as_text(result)


def test_a_busy_tool_without_the_servers_process_may_have_been_the_bottleneck() -> None:
    assert "may have been the bottleneck" in report.bottleneck(fanout(OWN_LIMIT, pids=()))


def test_a_tool_that_did_not_get_a_processor_is_told_so() -> None:
    starved = Usage(wall_s=2.0, server_cpu_s=0.8, own_cpu_s=0.6, own_waited_s=1.3)
    assert "the machine was busy" in report.bottleneck(fanout(starved))


def test_messages_that_could_not_be_sent_in_time_are_told() -> None:
    assert "500 of 510 messages were due" in report.as_text(fanout(unsent=500))
    assert "were due" not in report.as_text(fanout(unsent=1))


def test_json_has_every_figure_with_its_unit() -> None:
    record = report.as_json(fanout(), url="ws://x/", version="1")
    assert json.loads(json.dumps(record)) == record | {
        "latency_histogram_ns": [[record["latency_histogram_ns"][0][0], 1000]]
    }
    assert record["server_cpu_us_per_unit"] == pytest.approx(1900)
    assert record["units_per_second"] == 500
    assert record["machine"]["cores"] >= 1
    assert record["faults"] == []


def test_without_the_servers_process_its_cost_is_unknown() -> None:
    assert report.cpu_us(fanout(pids=())) is None
    assert "server CPU" not in report.as_text(fanout(pids=()))
