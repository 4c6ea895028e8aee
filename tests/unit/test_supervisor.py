"""The supervisor's parts that need no process: back-off, and the whole view of several workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from gateway.listing import Asked
from gateway.supervisor import Backoff
from gateway.whole_view import WholeView, WorkerId
from gateway.worker_process import describe_status
from tests.support.sessions import World, world


def test_backoff_begins_with_the_second_quick_death_and_is_bounded() -> None:
    backoff = Backoff(first_s=0.1, most_s=10.0, stable_s=1.0)
    waits = [backoff.next(0.5) for _ in range(10)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert all(backoff.next(0.0) == 10.0 for _ in range(2000))


def test_backoff_forgets_when_a_worker_has_served_long_enough() -> None:
    backoff = Backoff(first_s=0.1, most_s=10.0, stable_s=1.0)
    assert [backoff.next(0.0) for _ in range(3)] == [0.0, 0.1, 0.2]
    assert [backoff.next(1.0), backoff.next(60.0), backoff.next(0.9)] == [0.0, 0.0, 0.1]


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "signal SIGKILL"), (-99, "signal 99")],
)
def test_status_is_told_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words


class FakeWorkers:
    """Workers that say what a test tells them to; None: no answer."""

    def __init__(self) -> None:
        self.wanted = 2
        self.restarts = 0
        self.told: dict[WorkerId, dict[str, Any] | None] = {}

    def listening(self) -> Sequence[WorkerId]:
        return list(self.told)

    async def gather(self, what: str, data: bytes = b"") -> Mapping[WorkerId, bytes]:
        return {
            who: msgspec.msgpack.encode(said[what.split(maxsplit=1)[0]])
            for who, said in self.told.items()
            if said is not None
        }


def whole(w: World) -> tuple[WholeView, FakeWorkers]:
    workers = FakeWorkers()
    return WholeView(w.node, workers), workers


def counted(value: float, lag: float = 0.0) -> dict[str, Any]:
    return {
        "metrics": [
            ("ringgate_pings_out", "counter", "pings sent", {}, value),
            ("ringgate_sessions", "gauge", "clients that are let in", {}, value),
            ("ringgate_ring_lag_bytes", "gauge", "the slowest subscriber's lag", {}, lag),
            ("ringgate_publish_seconds", "histogram", "time", {"le": "+Inf"}, value),
        ]
    }


async def figures(view: WholeView) -> dict[str, float]:
    samples = await view.metrics()
    keys = [(name, tuple(labels.items())) for name, _, _, labels, _ in samples]
    assert len(set(keys)) == len(keys)
    wanted = ("ringgate_pings_out", "ringgate_sessions", "ringgate_ring_lag_bytes")
    told = {name: value for name, _, _, _, value in samples if name in wanted}
    (observed,) = [v for n, _, _, at, v in samples if (n, at) == ("ringgate_publish_seconds", {"le": "+Inf"})]
    return told | {"observed": observed}


async def test_metrics_are_added_up_and_of_lags_the_largest_is_shown() -> None:
    async with world() as w:
        view, workers = whole(w)
        workers.told = {WorkerId(0, 10): counted(3, lag=70), WorkerId(1, 11): counted(4, lag=50)}
        assert await figures(view) == {
            "ringgate_pings_out": 7,
            "ringgate_sessions": 7,
            "ringgate_ring_lag_bytes": 70,
            "observed": 7,
        }


async def test_counters_of_an_ended_worker_stay_and_its_gauges_go() -> None:
    async with world() as w:
        view, workers = whole(w)
        workers.told = {WorkerId(0, 10): counted(3), WorkerId(1, 11): counted(4)}
        await view.metrics()
        workers.told = {WorkerId(0, 12): counted(1), WorkerId(1, 11): counted(5)}
        for _ in range(3):
            told = await figures(view)
            assert (told["ringgate_pings_out"], told["observed"], told["ringgate_sessions"]) == (9, 9, 6)
        workers.told = {}
        told = await figures(view)
        assert (told["ringgate_pings_out"], told["observed"], told["ringgate_sessions"]) == (9, 9, 0)


async def test_worker_that_does_not_answer_counts_with_what_it_said_last() -> None:
    async with world() as w:
        view, workers = whole(w)
        workers.told = {WorkerId(0, 10): counted(3), WorkerId(1, 11): counted(4)}
        await view.metrics()
        workers.told[WorkerId(0, 10)] = None
        assert (await figures(view))["ringgate_pings_out"] == 7


async def test_channel_of_several_workers_is_one_with_the_newest_position() -> None:
    async with world() as w:
        view, workers = whole(w)

        def channel(name: str, subscribers: int, offset: int) -> dict[str, object]:
            return {"name": name, "subscribers": subscribers, "epoch": "e", "offset": offset}

        workers.told = {
            WorkerId(0, 10): {"channels": [[channel("a", 1, 5), channel("b", 1, 1)], 2]},
            WorkerId(1, 11): {"channels": [[channel("a", 2, 6)], 1]},
        }
        assert await view.channels(Asked()) == ([channel("a", 3, 6), channel("b", 1, 1)], 2)


async def test_lists_leave_out_who_does_not_answer() -> None:
    async with world() as w:
        view, workers = whole(w)
        workers.told = {
            WorkerId(1, 11): {"node": {"id": "n"}, "connections": [[{"client": "c"}], 1]},
            WorkerId(0, 10): None,
        }
        assert await view.nodes() == [{"worker": 1, "pid": 11, "id": "n"}]
        assert await view.connections(Asked()) == ([{"client": "c"}], 1)


async def test_ready_needs_every_worker() -> None:
    async with world() as w:
        view, workers = whole(w)
        workers.told = {WorkerId(0, 10): {}}
        assert await view.ready() == (False, {"broker_round_trip_ms": 0.0, "workers": "1 of 2"})
        workers.told[WorkerId(1, 11)] = {}
        assert (await view.ready())[0] is True
        w.node.draining = True
        assert (await view.ready())[0] is False
