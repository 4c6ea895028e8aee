"""What limits cost: a ping through a session without any, and with every one there is."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.limits import LimitOptions, Limits
from gateway.meters import Allowance
from tests.support.sessions import world

PING = b'{"type":"ping"}'
PLENTY = Allowance(messages=1e9, bytes=1e9)
ALL = LimitOptions(connection=PLENTY, user=PLENTY, address=PLENTY, connections_per_user=9)


@pytest.mark.benchmark(group="limits")
@pytest.mark.parametrize("options", [LimitOptions(), ALL], ids=["none", "all"])
async def test_ping(benchmark: BenchmarkFixture, options: LimitOptions) -> None:
    async with world() as w:
        if options.limited:
            w.node.limits = Limits(options, w.node.loop, w.node.exceeded)
        client = w.connect("alice")

        def ping() -> None:
            client.session.on_message(1, PING)
            client.connection.received.clear()

        benchmark(ping)
        client.lose()
