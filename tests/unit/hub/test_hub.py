"""The hub: channels come and go, memory is given back, sweeping is bounded and fair."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway._sink import ScriptedSink
from gateway.hub.channel import RingOptions
from gateway.hub.encoding import Encoding
from gateway.hub.hub import Hub
from gateway.message.json import JsonCodec
from gateway.message.publication import Position, Publication

CODEC = JsonCodec()
START = Position("e", 0)
OPTIONS = RingOptions(idle_s=10.0)


class Turn:
    """The loop's call_soon, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.hub = Hub(call_soon=self.soon.append, clock=lambda: self.now)

    def run(self) -> int:
        callbacks, self.soon[:] = list(self.soon), []
        for callback in callbacks:
            callback()
        return len(callbacks)


def publication(offset: int, data: bytes = b"1", exclude: str = "") -> Publication:
    return Publication(id="x", data=data, time_ms=0, offset=offset, exclude=exclude)


def test_open_returns_the_channel_that_is_open_already() -> None:
    t = Turn()
    channel = t.hub.open("a", START, OPTIONS)
    assert t.hub.open("a", Position("other", 9), OPTIONS) is channel
    assert channel.position == START
    assert (t.hub.get("a"), t.hub.get("b"), len(t.hub)) == (channel, None, 1)
    assert list(t.hub.channels()) == [channel]


def test_channel_with_subscribers_is_not_closed() -> None:
    t = Turn()
    t.hub.open("a", START, OPTIONS).attach("c", ScriptedSink(), Encoding(CODEC))
    with pytest.raises(ValueError, match="subscribers"):
        t.hub.close("a")
    assert t.hub.get("a") is not None
    with pytest.raises(KeyError):
        t.hub.close("unknown")


def test_one_flush_serves_all_channels_of_a_turn() -> None:
    t = Turn()
    sinks = [ScriptedSink() for _ in range(3)]
    for number, sink in enumerate(sinks):
        channel = t.hub.open(f"{number}", START, OPTIONS)
        channel.attach("c", sink, Encoding(CODEC))
        for offset in range(1, 6):
            channel.deliver("e", [publication(offset)], 0.0)
    assert all(not sink.received for sink in sinks)
    assert t.run() == 1
    assert [sink.sends for sink in sinks] == [1, 1, 1]
    assert all(sink.received.count(b'"message"') == 5 for sink in sinks)
    assert t.run() == 0


def test_sweep_is_bounded_goes_round_and_leaves_nobody_out() -> None:
    t = Turn()
    for number in range(10):
        t.hub.open(f"{number}", START, OPTIONS)
    t.now = 100.0
    rounds = [t.hub.sweep(3) for _ in range(4)]
    assert [len(found) for found in rounds] == [3] * 4
    assert {name for found in rounds for name in found} == {f"{n}" for n in range(10)}


def test_sweep_visits_every_channel_every_time_where_the_bound_allows() -> None:
    t = Turn()
    t.hub.open("only", START, OPTIONS)
    t.now = 100.0
    assert [t.hub.sweep(100) for _ in range(4)] == [["only"]] * 4


def test_sweep_of_nothing_and_of_channels_closed_meanwhile() -> None:
    t = Turn()
    assert t.hub.sweep(10) == []
    for name in ("a", "b", "c", "d"):
        t.hub.open(name, START, OPTIONS)
    t.now = 100.0
    first = t.hub.sweep(2)
    for name in ("a", "b", "c", "d"):
        t.hub.close(name)
    t.hub.open("new", START, OPTIONS)
    t.now = 200.0
    found = [name for _ in range(6) for name in t.hub.sweep(2)]
    assert set(found) == {"new"}
    assert first == ["a", "b"]


def test_sweep_forgets_only_who_is_idle_and_without_subscribers() -> None:
    t = Turn()
    t.hub.open("idle", START, OPTIONS)
    t.hub.open("heard", START, OPTIONS).attach("c", ScriptedSink(), Encoding(CODEC))
    t.now = 9.9
    assert t.hub.sweep(10) == []
    busy = t.hub.open("busy", START, OPTIONS)
    t.now = 12.0
    assert t.hub.sweep(10) == ["idle"]
    busy.deliver("e", [publication(1)], t.now)
    t.now = 21.0
    assert "busy" not in t.hub.sweep(10)
    t.now = 22.0
    assert set(t.hub.sweep(10)) == {"idle", "busy"}


def held_bytes(hub: Hub) -> int:
    return sum(ring.capacity_bytes for channel in hub.channels() for ring in channel.rings.values())


def test_memory_of_idle_channels_returns_to_zero_though_they_have_subscribers() -> None:
    t = Turn()
    for number in range(20):
        channel = t.hub.open(f"{number}", START, OPTIONS)
        channel.attach("c", ScriptedSink(), Encoding(CODEC))
        for offset in range(1, 100):
            channel.deliver("e", [publication(offset, b'"%s"' % (b"x" * 500))], t.now)
    t.run()
    assert held_bytes(t.hub) > 20 * 50_000
    t.now = 11.0
    assert t.hub.sweep(100) == []
    assert held_bytes(t.hub) == 0


def test_what_a_slow_subscriber_has_not_had_is_kept_through_sweeps() -> None:
    t = Turn()
    sink = ScriptedSink()
    channel = t.hub.open("a", START, OPTIONS)
    channel.attach("c", sink, Encoding(CODEC))
    sink.blocked = True
    channel.deliver("e", [publication(1), publication(2)], 0.0)
    t.run()
    for t.now in (11.0, 100.0, 1000.0):
        t.hub.sweep(10)
    sink.blocked = False
    t.hub.catch_up(sink)
    assert sink.received.count(b'"message"') == 2
    t.hub.sweep(10)
    assert held_bytes(t.hub) == 0
