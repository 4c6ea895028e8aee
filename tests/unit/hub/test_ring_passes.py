"""A flush that takes several turns of the loop: nobody is forgotten, nobody is served twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway._sink import ScriptedSink
from gateway.hub._cursor import Cursor
from gateway.hub._ring import Flusher, HubStats, Ring

TEXT = 1


class Turns:
    """A ring, its subscribers, and a loop whose turns the test takes one by one."""

    def __init__(self, subscribers: int, *, sends_per_turn: int) -> None:
        self.calls: list[Callable[[], None]] = []
        self.flusher = Flusher(self.calls.append, sends_per_turn=sends_per_turn)
        self.ring = self.make_ring()
        self.cursors = [self.ring.attach(ScriptedSink()) for _ in range(subscribers)]

    def make_ring(self) -> Ring:
        return Ring(
            bound_bytes=4096,
            retain_bytes=0,
            policy="disconnect",
            newest=0,
            flusher=self.flusher,
            stats=HubStats(),
            encode_gap=lambda cursor: (TEXT, b""),
        )

    def turn(self) -> None:
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()

    def turns_to_the_end(self) -> int:
        count = 0
        while self.calls:
            self.turn()
            count += 1
        return count

    def received(self) -> list[bytes]:
        return [
            bytes(cursor.sink.received) for cursor in self.cursors if isinstance(cursor.sink, ScriptedSink)
        ]


def behind(cursors: list[Cursor]) -> list[int]:
    return [i for i, cursor in enumerate(cursors) if cursor.lag_bytes]


def test_one_turn_sends_no_more_than_its_share() -> None:
    world = Turns(5, sends_per_turn=2)
    world.ring.append(TEXT, b"a")
    world.turn()
    assert behind(world.cursors) == [2, 3, 4]
    assert world.turns_to_the_end() == 2
    assert world.received() == [b"\x81\x01a"] * 5


def test_what_is_published_during_a_pass_reaches_those_already_served() -> None:
    world = Turns(3, sends_per_turn=1)
    world.ring.append(TEXT, b"a")
    world.turn()
    world.ring.append(TEXT, b"b")
    world.turns_to_the_end()
    assert behind(world.cursors) == []
    assert world.received() == [b"\x81\x01a\x81\x01b"] * 3


@pytest.mark.parametrize("leaver", [0, 1])
def test_subscriber_that_takes_the_place_of_one_already_served_is_not_forgotten(leaver: int) -> None:
    world = Turns(4, sends_per_turn=2)
    world.ring.append(TEXT, b"a")
    world.turn()
    world.ring.detach(world.cursors[leaver])
    world.turns_to_the_end()
    assert behind(world.cursors) == []
    assert world.received() == [b"\x81\x01a"] * 4


def test_rings_take_turns_when_one_has_many_subscribers() -> None:
    world = Turns(6, sends_per_turn=2)
    other = world.make_ring()
    listener = other.attach(ScriptedSink())
    world.ring.append(TEXT, b"a")
    other.append(TEXT, b"b")
    world.turn()
    assert listener.lag_bytes
    world.turn()
    assert not listener.lag_bytes, "a small ring waited for all of a big one"


def test_rings_of_one_sink_leave_in_one_send() -> None:
    world = Turns(0, sends_per_turn=100)
    rings = [world.make_ring() for _ in range(5)]
    sink = ScriptedSink()
    for ring in rings:
        ring.attach(sink)
    for ring, payload in zip(rings, b"abcde", strict=True):
        ring.append(TEXT, bytes([payload]))
    world.turn()
    assert sink.sends == 1
    assert bytes(sink.received) == b"".join(b"\x81\x01" + bytes([c]) for c in b"abcde")


def test_short_send_for_several_rings_is_finished_in_the_same_turn() -> None:
    world = Turns(0, sends_per_turn=100)
    rings = [world.make_ring() for _ in range(3)]
    sink = ScriptedSink(lambda n: 4)
    sink.absorbs = True
    cursors = [ring.attach(sink) for ring in rings]
    for _ in range(3):
        for ring in rings:
            ring.append(TEXT, b"abc")
    world.turns_to_the_end()
    assert behind(cursors) == []
    assert bytes(sink.received) == b"\x81\x03abc" * 9
