"""What the memory broker costs per call: publishing with and without history, keys, interest; reading."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import count
from time import monotonic
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.broker.interface import ChannelOptions, Control, PresenceChange
from gateway.broker.memory import MemoryBroker
from gateway.message.publication import Position, Publication

KEPT = ChannelOptions(history_size=100)
NOT_KEPT = ChannelOptions(history_size=0)
MESSAGE = Publication(id="0123456789abcdef", data=b"x" * 64, time_ms=1_764_000_000_000, user="alice")


class SilentRelay:
    """A relay that costs as little as one can."""

    def on_publications(self, channel: str, epoch: str, publications: list[Publication]) -> None:
        """Take publications."""

    def on_position(self, channel: str, epoch: str, offset: int) -> None:
        """Take a position."""

    def on_presence(self, channel: str, change: PresenceChange) -> None:
        """Take a change of presence."""

    def on_control(self, control: Control) -> int:
        """Reach nobody."""
        return 0


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that does not suspend, as the gateway's own callers do."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine suspended")


@pytest.fixture
def broker() -> MemoryBroker:
    """Return a running broker that knows 10,000 other channels."""
    ids = count()
    started = MemoryBroker(clock=monotonic, random_id=lambda: str(next(ids)))
    drive(started.start(SilentRelay()))
    for n in range(10_000):
        drive(started.subscribe(f"other{n}", KEPT))
    return started


def measure(benchmark: BenchmarkFixture, step: Callable[[], Any]) -> None:
    """Time `step`, 10,000 calls in each of 20 rounds."""
    pedantic: Callable[..., Any] = benchmark.pedantic
    pedantic(step, rounds=20, iterations=10_000, warmup_rounds=1)


@pytest.mark.parametrize("options", [KEPT, NOT_KEPT], ids=["history_100", "no_history"])
@pytest.mark.parametrize("interested", [True, False], ids=["interest", "no_interest"])
def test_publish(
    benchmark: BenchmarkFixture, broker: MemoryBroker, options: ChannelOptions, interested: bool
) -> None:
    if interested:
        drive(broker.subscribe("c", options))
    measure(benchmark, lambda: drive(broker.publish("c", MESSAGE, options)))
    assert drive(broker.subscribe("c", options)).offset > 0


def test_publish_with_new_key(benchmark: BenchmarkFixture, broker: MemoryBroker) -> None:
    keys = map(str, count())
    drive(broker.subscribe("c", KEPT))
    measure(benchmark, lambda: drive(broker.publish("c", MESSAGE, KEPT, key=next(keys))))
    assert broker.stats()["keys"] == drive(broker.subscribe("c", KEPT)).offset


def test_publish_with_known_key(benchmark: BenchmarkFixture, broker: MemoryBroker) -> None:
    drive(broker.publish("c", MESSAGE, KEPT, key="k"))
    measure(benchmark, lambda: drive(broker.publish("c", MESSAGE, KEPT, key="k")))
    assert broker.stats()["publications"] == 1


def test_history_of_the_last_ten(benchmark: BenchmarkFixture, broker: MemoryBroker) -> None:
    for _ in range(100):
        epoch = drive(broker.publish("c", MESSAGE, KEPT)).epoch
    since = Position(epoch, 90)
    measure(benchmark, lambda: drive(broker.history("c", KEPT, since=since, limit=100)))
    assert len(drive(broker.history("c", KEPT, since=since, limit=100)).publications) == 10


def test_sweep_with_nothing_due(benchmark: BenchmarkFixture, broker: MemoryBroker) -> None:
    measure(benchmark, broker.sweep)
    assert broker.stats()["channels"] == 10_000
