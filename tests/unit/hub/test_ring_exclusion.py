"""Frames that one subscriber must not get, while that subscriber is blocked."""

from __future__ import annotations

from collections.abc import Callable

from gateway._sink import ScriptedSink
from gateway.hub._cursor import Cursor
from gateway.hub._ring import Flusher, HubStats, Ring

TEXT = 1
Calls = list[Callable[[], None]]
SIZE = 125  # of a payload; a frame is two bytes more


def make_ring(flusher: Flusher, stats: HubStats, policy: str) -> Ring:
    def encode_gap(cursor: Cursor) -> tuple[int, bytes]:
        return TEXT, b"gap %d %d" % (cursor.gap_from, cursor.gap_to)

    return Ring(
        bound_bytes=1024,
        retain_bytes=0,
        policy=policy,
        newest=0,
        flusher=flusher,
        stats=stats,
        encode_gap=encode_gap,
    )


def payloads(received: bytearray) -> list[bytes]:
    """Split frames of less than 126 bytes; return the first eight bytes of each payload."""
    found, at = [], 0
    while at < len(received):
        found.append(bytes(received[at + 2 : at + 2 + received[at + 1]]).rstrip(b"."))
        at += 2 + received[at + 1]
    return found


def test_skip_into_the_midst_of_excluded_frames_does_not_deliver_the_rest_of_them() -> None:
    flusher, stats = Flusher(Calls().append), HubStats()
    ring = make_ring(flusher, stats, "skip")
    sink = ScriptedSink()
    cursor = ring.attach(sink)
    sink.blocked = True
    excluded = range(3, 8)
    for offset in range(1, 10):
        ring.append(TEXT, (b"%d" % offset).ljust(SIZE, b"."), offset)
        if offset in excluded:
            cursor.skip_newest()
    assert (cursor.gap_from, cursor.gap_to) == (1, 2)
    assert stats.dropped_skip == 2, "a frame that it must not get is no loss"
    sink.blocked = False
    flusher.catch_up(sink)
    assert payloads(sink.received) == [b"gap 1 2", b"8", b"9"]


def test_ring_full_of_excluded_frames_costs_a_blocked_subscriber_nothing() -> None:
    flusher, stats = Flusher(Calls().append), HubStats()
    ring = make_ring(flusher, stats, "disconnect")
    sink = ScriptedSink()
    cursor = ring.attach(sink)
    sink.blocked = True
    for offset in range(1, 30):
        ring.append(TEXT, b"x" * SIZE, offset)
        cursor.skip_newest()
    assert not sink.slow
    assert stats.dropped_disconnect == 0
    ring.append(TEXT, b"mine", 30)
    sink.blocked = False
    flusher.catch_up(sink)
    assert payloads(sink.received) == [b"mine"]


def test_deliveries_are_counted_right_after_history_was_put_in_front() -> None:
    flusher, stats = Flusher(Calls().append), HubStats()
    ring = make_ring(flusher, stats, "skip")
    first = ring.attach(ScriptedSink())
    for offset in range(1, 4):
        ring.append(TEXT, b"abcdef", offset)
    flusher.run()
    assert stats.frames_delivered == 3
    assert ring.tidy(True)
    ring.detach(first)
    # The same bytes as before, in other frames: one publication where there were three.
    assert ring.prepend([(TEXT, b"x" * 22)])
    again = ring.attach(ScriptedSink())
    assert ring.seek(again, 2)
    flusher.run()
    assert stats.frames_delivered == 4
