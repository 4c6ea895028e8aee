"""What a publication costs between processes: packed, carried out by the service, over a socket and back.

Both ends are in one process here, so the figures are the processor time of the two together.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Any

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench.test_broker import KEPT, MESSAGE, SilentRelay, drive
from gateway.broker import wire
from gateway.broker.memory import MemoryBroker
from gateway.broker.remote import RemoteBroker
from gateway.broker.service import BrokerService


class Rig:
    """A service and two workers, in a loop of their own; `subscribed` of the workers hear "c"."""

    def __init__(self, subscribed: int) -> None:
        self.loop = uvloop.new_event_loop()
        ids = count()
        memory = MemoryBroker(clock=monotonic, random_id=lambda: str(next(ids)))
        self.service = BrokerService(memory, loop=self.loop)
        self.workers = [RemoteBroker(loop=self.loop, connect=self._connect) for _ in range(2)]
        self.loop.run_until_complete(self._start(subscribed))

    async def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        await self.service.attach(ours)
        return theirs

    async def _start(self, subscribed: int) -> None:
        await self.service.start(SilentRelay())
        for number, worker in enumerate(self.workers):
            await worker.start(SilentRelay())
            if number < subscribed:
                await worker.subscribe("c", KEPT)

    async def publish(self, at_once: int, calls: int) -> None:
        """Publish `calls` times, `at_once` of them in one turn of the loop."""
        worker = self.workers[0]
        for _ in range(calls // at_once):
            await asyncio.gather(*(worker.publish("c", MESSAGE, KEPT) for _ in range(at_once)))

    def close(self) -> None:
        """End both ends."""

        async def stop() -> None:
            for worker in self.workers:
                await worker.stop()
            await self.service.stop()

        self.loop.run_until_complete(stop())
        self.loop.close()


@pytest.mark.parametrize("subscribed", [0, 1, 2])
@pytest.mark.parametrize("at_once", [1, 100])
def test_publish_from_a_worker(benchmark: BenchmarkFixture, at_once: int, subscribed: int) -> None:
    rig, calls = Rig(subscribed), 2000
    pedantic: Callable[..., Any] = benchmark.pedantic
    pedantic(lambda: rig.loop.run_until_complete(rig.publish(at_once, calls)), rounds=10, warmup_rounds=1)
    benchmark.extra_info["calls"] = calls
    rig.close()


def test_publish_of_a_service_with_two_workers_interested(benchmark: BenchmarkFixture) -> None:
    rig, calls = Rig(2), 2000

    def step() -> None:
        for _ in range(calls):
            drive(rig.service.publish("c", MESSAGE, KEPT))
        rig.loop.run_until_complete(rig.workers[1].probe())

    pedantic: Callable[..., Any] = benchmark.pedantic
    pedantic(step, rounds=10, warmup_rounds=1)
    rig.close()


def test_pack_a_publish(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: wire.pack(wire.Publish(7, "c", MESSAGE, KEPT, "")))
