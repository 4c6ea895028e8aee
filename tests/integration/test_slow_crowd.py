"""A hundred stalled clients among a thousand, under load: nobody else loses anything, and all is counted.

The same as `bench/stalled.py` at its full size, without its figures.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.cases import POLICIES
from bench.rivals.ringgate_own import SLOW_FLAGS
from bench.stalled import run_stalled
from gateway.bench.runs import Plan
from tests.support.process import GatewayProcess, StartGateway


def stalled(gateway: GatewayProcess, policy: str, *, stall_s: float = 2.5) -> dict[str, Any]:
    plan = Plan(seconds=0.5, rate=50.0, warm_up_s=0.2, drain_s=20.0, server_pids=(gateway.pid,))
    return run_stalled(
        gateway.edge, gateway.api, plan, policy=policy, clients=1000, size=2048, stall_s=stall_s
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_what_stalled_clients_lose_is_counted_and_nobody_else_loses_anything(
    gateway_process: StartGateway, policy: str
) -> None:
    result = stalled(gateway_process("--namespace=default.join_leave=false", *SLOW_FLAGS), policy)
    assert result["faults"] == []
    account = result["stalled"]
    assert account["clients"] == 100
    assert account["counted_dropped"] > 100
    if policy == "disconnect":
        assert account["closed_4200"] == account["resumed"] == 100
    else:
        assert account["lost"] == account["counted_dropped"]
        assert account["gaps"] == account["counted_gaps"] >= 100
    assert result["counts"]["delivered"] == result["counts"]["expected"] > 10_000


def test_clients_that_were_not_stalled_for_long_enough_are_told_to_be_no_measurement(
    gateway_process: StartGateway,
) -> None:
    result = stalled(
        gateway_process("--namespace=default.join_leave=false", *SLOW_FLAGS), "skip", stall_s=0.2
    )
    assert result["faults"] == ["nothing was dropped: they were not stalled"]
