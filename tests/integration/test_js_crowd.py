"""A crowd of JavaScript clients through the restart of their node: all come back, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_client_crowd import CHANNELS, NODE, WITHIN_S, publishing
from tests.support.guests import Report, node_process
from tests.support.process import StartGateway
from tests.support.redis_servers import RedisServer


@pytest.mark.parametrize(
    ("size", "end"),
    [
        pytest.param(150, signal.SIGKILL, id="150 killed"),
        pytest.param(1000, signal.SIGKILL, id="1000 killed", marks=pytest.mark.full),
        pytest.param(1000, signal.SIGTERM, id="1000 drained", marks=pytest.mark.full),
    ],
)
async def test_crowd_resumes_after_a_restart_of_its_node(
    size: int, end: signal.Signals, gateway_process: StartGateway, node: str, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        broker = ("--broker", redis.url, *NODE)
        first, other = (gateway_process(*broker, unclean=True) for _ in range(2))
        settings = json.dumps({"url": first.ws_url, "size": size, "groups": CHANNELS})
        async with node_process(node, "crowd.mjs", settings) as ask:

            async def until(holds: Callable[[Report], bool], within_s: float = 30.0) -> Report:
                async with asyncio.timeout(within_s):
                    while not holds(report := await ask({"op": "report"})):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                return report

            await until(lambda report: report["active"] == size)
            done = asyncio.Event()
            published = asyncio.create_task(publishing(other, done))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(first.stop, end)
            again = await asyncio.to_thread(gateway_process, *broker, "--listen", first.edge, unclean=True)
            up_at = time.time()
            assert again.edge == first.edge
            report = await until(lambda report: len(report["backs"]) == size, 3 * WITHIN_S)
            backs = sorted(back - up_at for back in report["backs"])
            done.set()
            count = await published
            report = await until(lambda report: report["newest"] == count)
    assert report["heard"] == [" ".join(map(str, range(1, count + 1)))]
    assert report["lost"] == []
    middle = backs[size * 9 // 10] - backs[size // 10]
    print(f"{size} clients, {count} publications on {1 + CHANNELS} channels; after the node was up again")
    print(f"first back {backs[0]:+.2f} s, last {backs[-1]:+.2f} s, the middle 80 % within {middle:.2f} s")
    assert backs[-1] < WITHIN_S
    assert middle > 0.1, "they come spread out, not at once"
