"""The timer wheel, held to a plain list of deadlines."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from gateway.connection._wheel import TimerWheel


class Item:
    def __init__(self, name: int = 0) -> None:
        self.wheel_slot = -1
        self.name = name


def wheel(now: float = 100.0, *, slots: int = 16) -> TimerWheel[Item]:
    return TimerWheel(now=now, tick_s=0.5, slots=slots)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.49, 0.5, 1.0, 3.3, 7.0])
def test_item_is_met_after_its_time_and_at_most_a_tick_late(delay: float) -> None:
    w, item = wheel(), Item()
    w.schedule(item, 100.0 + delay)
    now = 100.0
    while not list(w.due(now)):
        assert now <= 100.0 + delay + 0.5
        now += 0.1
    assert now > 100.0 + delay
    assert item.wheel_slot == -1
    assert len(w) == 0
    assert list(w.due(now + 100)) == []


def test_deadline_in_the_past_is_met_with_the_next_tick() -> None:
    w, item = wheel(), Item()
    w.schedule(item, 3.0)
    assert list(w.due(100.4)) == []
    assert list(w.due(100.5)) == [item]


def test_deadline_beyond_the_wheel_is_met_early_and_not_late() -> None:
    w, item = wheel(), Item()
    w.schedule(item, 100.0 + 1000.0)
    assert list(w.due(107.0)) == []
    assert list(w.due(107.5)) == [item]


@pytest.mark.parametrize(("first", "second"), [(1.0, 4.0), (4.0, 1.0)])
def test_item_has_one_place(first: float, second: float) -> None:
    w, item = wheel(), Item()
    w.schedule(item, 100.0 + first)
    w.schedule(item, 100.0 + second)
    assert len(w) == 1
    assert list(w.due(100.0 + second - 0.1)) == []
    assert list(w.due(100.0 + second + 0.5)) == [item]


def test_removed_item_is_not_met() -> None:
    w, item = wheel(), Item()
    w.remove(item)
    w.schedule(item, 101.0)
    w.remove(item)
    w.remove(item)
    assert item.wheel_slot == -1
    assert list(w.due(200.0)) == []


def test_after_a_long_pause_every_item_is_met_once() -> None:
    w = wheel()
    items = [Item(n) for n in range(40)]
    for item in items:
        w.schedule(item, 100.0 + item.name / 10)
    assert sorted(item.name for item in w.due(10_000.0)) == list(range(40))
    w.schedule(items[0], 10_001.0)
    assert list(w.due(10_000.9)) == []
    assert list(w.due(10_001.5)) == [items[0]]


def test_clock_that_stands_still_or_goes_back_meets_nobody() -> None:
    w, item = wheel(), Item()
    w.schedule(item, 101.0)
    assert list(w.due(100.0)) == list(w.due(100.0)) == list(w.due(50.0)) == []
    assert list(w.due(101.5)) == [item]


def test_items_that_come_back_while_others_are_met_are_not_met_twice_in_one_round() -> None:
    w = wheel()
    items = [Item(n) for n in range(5)]
    for item in items:
        w.schedule(item, 100.5)
    met = []
    for item in w.due(101.5):
        met.append(item.name)
        assert len(met) < 50
        w.schedule(item, 102.0)
    assert sorted(met) == list(range(5))
    assert len(list(w.due(102.5))) == 5


def test_items_removed_while_others_are_met_are_not_met() -> None:
    w = wheel()
    items = [Item(n) for n in range(5)]
    for item in items:
        w.schedule(item, 100.5)
    met = []
    for item in w.due(101.5):
        met.append(item)
        for other in items:
            w.remove(other)
    assert len(met) == 1


@pytest.mark.parametrize("seed", range(5))
def test_wheel_meets_everybody_at_the_right_time_whatever_happens(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 not for secrets
    w = wheel(0.0)
    items = [Item(n) for n in range(30)]
    due: dict[Item, float] = {}
    now = 0.0
    for _ in range(2000):
        item = dice.choice(items)
        match dice.randrange(4):
            case 0 | 1:
                due[item] = now + dice.random() * 7.0
                w.schedule(item, due[item])
            case 2:
                w.remove(item)
                due.pop(item, None)
            case 3:
                now += dice.random()
                for met in w.due(now):
                    assert due.pop(met) <= now
        assert len(w) == len(due)
        assert all(at > now - 1.0 for at in due.values()), "nobody is met more than a tick late"


def test_memory_of_a_crowd_is_given_back_when_its_slot_has_passed() -> None:
    w: TimerWheel[Item] = TimerWheel(now=0.0, tick_s=1.0, slots=4)
    crowd = [Item() for _ in range(20_000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for item in crowd:
            w.schedule(item, 2.0)
        for item in crowd:
            w.remove(item)
        assert list(w.due(10.0)) == []
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()
