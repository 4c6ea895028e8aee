"""What `make bench` measures of Ringgate alone, in small: many channels, resume, workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import resume
from bench.cases import Case
from bench.channels import EACH, run_channels
from bench.compare import measure
from bench.internal import publish
from bench.resume import TIMES, run_resume
from bench.rivals import ringgate_own
from bench.workers import processes, run_workers
from gateway.bench.runs import Plan
from tests.support.process import StartGateway


def plan(pid: int, in_flight: int = 4) -> Plan:
    return Plan(seconds=0.3, in_flight=in_flight, warm_up_s=0.1, drain_s=20.0, server_pids=(pid,))


@pytest.mark.parametrize("channels", [1, 7, 200])
def test_every_channel_reaches_its_ten_subscribers_and_nobody_else(
    gateway_process: StartGateway, channels: int
) -> None:
    gateway = gateway_process()
    result = run_channels(gateway.ws_url, plan(gateway.pid), channels=channels, size=64)
    counts = result["counts"]
    assert result["faults"] == []
    assert counts["delivered"] == counts["expected"] == EACH * counts["sent"] > 0
    assert result["settings"]["connections"] == EACH * min(channels, 100)


@pytest.mark.parametrize("channels", [1, 20])
@pytest.mark.parametrize("missed", [0, 10])
def test_all_who_come_back_get_exactly_what_they_missed(
    gateway_process: StartGateway, channels: int, missed: int
) -> None:
    gateway = gateway_process("--namespace=default.join_leave=false")
    result = run_resume(
        gateway.edge, gateway.api, plan(gateway.pid), clients=60, channels=channels, missed=missed
    )
    assert result["faults"] == []
    assert result["units"] == TIMES * 60
    # What came before what made each of them ready: the hello; the reply and all but the last.
    assert result["counts"]["others"] == TIMES * 60 * (1 + missed)


def test_more_than_was_missed_is_a_fault_of_the_resume(
    gateway_process: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = gateway_process("--namespace=default.join_leave=false")

    def publish_one_more(api: str, messages: list[tuple[str, str]]) -> None:
        publish(api, [("resume-0", "one more"), *messages])

    monkeypatch.setattr(resume, "publish", publish_one_more)
    result = run_resume(gateway.edge, gateway.api, plan(gateway.pid), clients=60, channels=1, missed=10)
    assert result["faults"] == ["2,160 events came before the last ones, and not 1,980"]


def test_the_capacity_of_two_workers_is_that_of_two_cores_but_for_the_busiest(
    gateway_process: StartGateway,
) -> None:
    gateway = gateway_process("--workers", "2")
    assert len(processes(gateway.pid)) == 3
    result = run_workers(gateway.edge, gateway.pid, plan(gateway.pid), subscribers=40, size=64)
    assert result["faults"] == []
    assert 1 / 3 < result["busiest_share"] < 1
    if each_us := result["server_cpu_us_per_unit"]:
        cores = result["capacity"] * each_us / 1e6
        assert cores == pytest.approx(min(2, 1 / result["busiest_share"]))


def test_a_case_that_cannot_be_measured_leaves_its_reason() -> None:
    (rival,) = (r for r in ringgate_own.RIVALS if r.name == ringgate_own.CHANNELS)

    def refuse(*arguments: object) -> dict[str, object]:
        raise ConnectionResetError(104, "reset by peer")

    record = measure(Case("channels", 1), replace(rival, run=refuse), 0.1, 0)
    assert record["result"] == {"faults": ["[Errno 104] reset by peer"]}
