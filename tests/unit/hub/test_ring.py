"""The ring's edges: bounds, partial sends, broken sinks, seeking, memory.  The rest is its property test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway._encode import encode_frame
from gateway._sink import ScriptedSink
from gateway.hub._cursor import Cursor
from gateway.hub._ring import POLICIES, Flusher, HubStats, Ring

TEXT = 1


class Stage:
    """A ring, and the turns of the loop that it asks for."""

    def __init__(self, *, newest: int = 0, **options: Any) -> None:
        self.calls: list[Callable[[], None]] = []
        self.stats = HubStats()
        self.ring = Ring(
            **{"bound_bytes": 4096, "retain_bytes": 1024, "policy": "skip", **options},
            newest=newest,
            flusher=Flusher(self.calls.append),
            stats=self.stats,
            encode_gap=lambda cursor: (TEXT, b"gap %d-%d" % (cursor.gap_from, cursor.gap_to)),
        )

    def attach(self, take: Callable[[int], int] | None = None) -> tuple[ScriptedSink, Cursor]:
        sink = ScriptedSink(take)
        return sink, self.ring.attach(sink)

    def append(self, *payloads: bytes) -> bytes:
        """Append numbered payloads; return the bytes of their frames."""
        for payload in payloads:
            self.ring.append(TEXT, payload, self.ring.newest + 1)
        return b"".join(encode_frame(TEXT, payload) for payload in payloads)

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


def test_bound_is_checked_and_rounded_down_to_a_power_of_two() -> None:
    assert Stage(bound_bytes=1024).ring.bound == 1024
    assert Stage(bound_bytes=5000).ring.bound == 4096
    with pytest.raises(ValueError, match="1024"):
        Stage(bound_bytes=1023)
    with pytest.raises(KeyError):
        Stage(policy="whatever")
    assert set(POLICIES) == {"disconnect", "skip", "latest"}


def test_frame_as_large_as_the_bound_fits_and_one_byte_more_is_refused() -> None:
    s = Stage(bound_bytes=1024)
    sink, _ = s.attach()
    frame = s.append(b"x" * 1020)
    s.run()
    assert bytes(sink.received) == frame
    with pytest.raises(ValueError, match="larger"):
        s.append(b"x" * 1021)
    assert s.ring.newest == 1
    more = s.append(b"y")
    s.run()
    assert bytes(sink.received) == frame + more


@pytest.mark.parametrize("taken", range(21))
def test_frame_taken_in_part_is_finished_before_anything_else(taken: int) -> None:
    s = Stage()
    answers = [taken]
    sink, _ = s.attach(lambda n: answers.pop() if answers else n)
    frames = s.append(b"first", b"second", b"third")
    assert len(frames) == 22
    s.run()
    ends = [0, 7, 15, 22]
    assert bytes(sink.received) in {frames[:end] for end in ends}
    assert len(sink.received) >= taken
    if sink.blocked:
        # At the end of a frame the next one is queued: else nobody would say when the socket takes more.
        assert len(sink.received) == min(end for end in ends if end > taken)
        sink.blocked = False
        Flusher.catch_up(sink)
    assert bytes(sink.received) == frames


def test_broken_sink_is_closed_and_the_others_are_served() -> None:
    s = Stage()
    broken, _ = s.attach(lambda n: -1)
    fine, _ = s.attach()
    frames = s.append(b"x")
    s.run()
    assert broken.closed
    assert bytes(fine.received) == frames


def test_detached_cursor_is_sent_nothing_and_detaching_twice_is_harmless() -> None:
    s = Stage()
    sinks = [s.attach() for _ in range(40)]
    s.append(b"never seen by the odd ones")
    for _, cursor in sinks[1::2]:
        s.ring.detach(cursor)
        s.ring.detach(cursor)
        assert cursor.ring is None
        assert cursor.lag_bytes == 0
        cursor.skip_newest()
        s.ring.send_pending(cursor)
    assert s.ring.cursor_count == 20
    s.run()
    assert [bool(sink.received) for sink, _ in sinks] == [True, False] * 20
    assert [len(sink.cursors) for sink, _ in sinks] == [1, 0] * 20


@pytest.mark.parametrize("offset", range(9))
def test_seek_finds_the_next_publication_or_changes_nothing(offset: int) -> None:
    s = Stage(newest=3)
    s.attach()
    s.append(b"4", b"5")
    s.ring.append(TEXT, b"unnumbered")
    s.append(b"6")
    sink, cursor = s.attach()
    can = 3 <= offset <= 6
    assert s.ring.seek(cursor, offset) is can
    s.run()
    frames = [b"4", b"5", b"unnumbered", b"6"]
    expected = {3: frames, 4: frames[1:], 5: frames[3:]}.get(offset, [])
    # What is not numbered comes with what precedes it: who has 5 is not told again.
    assert bytes(sink.received) == b"".join(encode_frame(TEXT, f) for f in expected)


def test_rebase_ends_resuming_from_before_and_loses_nothing() -> None:
    s = Stage()
    sink, cursor = s.attach()
    frames = s.append(b"1", b"2")
    s.ring.rebase(9)
    frames += s.append(b"10")
    s.run()
    assert bytes(sink.received) == frames
    assert (s.ring.covered, s.ring.newest) == (9, 10)
    assert not s.ring.seek(cursor, 1)
    assert s.ring.seek(cursor, 9)


def test_older_publications_do_not_go_in_front_of_frames_from_before_a_rebase() -> None:
    s = Stage(retain_bytes=1024)
    s.append(b"1", b"2")
    s.ring.rebase(9)  # 3 to 9 never came
    s.append(b"10")
    assert not s.ring.prepend([(TEXT, b"8"), (TEXT, b"9")])
    sink, cursor = s.attach()
    assert s.ring.seek(cursor, 9)
    s.run()
    assert bytes(sink.received) == encode_frame(TEXT, b"10")
    s.ring.tidy(True)
    assert s.ring.prepend([(TEXT, b"9"), (TEXT, b"10")])
    sink, cursor = s.attach()
    assert s.ring.seek(cursor, 8)
    s.run()
    assert bytes(sink.received) == encode_frame(TEXT, b"9") + encode_frame(TEXT, b"10")


def test_ring_without_subscribers_that_retains_nothing_holds_nothing() -> None:
    s = Stage(retain_bytes=0)
    s.append(b"x" * 100, b"y")
    assert (s.ring.capacity_bytes, s.ring.covered, s.ring.newest) == (0, 2, 2)
    assert s.stats.frames_appended == 0


def test_retained_bytes_are_bounded_and_given_back_when_idle() -> None:
    s = Stage(retain_bytes=1024)
    sink, _ = s.attach()
    for _ in range(100):
        s.append(b"x" * 100)
        s.run()
    assert not s.ring.tidy(False)
    assert 0 < s.ring.held_bytes < 1024 + 102  # whole frames
    assert s.ring.covered > 85
    assert s.ring.tidy(True)
    assert (s.ring.held_bytes, s.ring.capacity_bytes) == (0, 0)
    frames = s.append(b"after")
    s.run()
    assert bytes(sink.received).endswith(frames)


def test_lag_names_the_slowest_and_counts_who_is_behind() -> None:
    s = Stage()
    slow, cursor = s.attach()
    s.attach()
    slow.blocked = True
    frames = s.append(b"one", b"two")
    s.run()
    assert s.ring.lag() == (len(frames), 1)
    assert cursor.lag_bytes == len(frames)
    slow.closed = True
    assert s.ring.lag() == (0, 0)


def test_statistics_count_frames_and_bytes_delivered() -> None:
    s = Stage()
    s.attach()
    s.attach()
    frames = s.append(b"one", b"two")
    s.run()
    stats = s.stats
    assert (stats.frames_appended, stats.bytes_appended) == (2, len(frames))
    assert (stats.frames_delivered, stats.bytes_sent) == (4, 2 * len(frames))
    assert (stats.blocks, stats.gaps, stats.dropped_skip) == (0, 0, 0)


@pytest.mark.parametrize("policy", ["skip", "latest"])
def test_gap_is_announced_before_what_follows_and_counted(policy: str) -> None:
    s = Stage(bound_bytes=1024, policy=policy)
    sink, _ = s.attach()
    sink.blocked = True
    frames = [s.append(b"%03d" % n + b"x" * 97) for n in range(1, 21)]
    sink.blocked = False
    Flusher.catch_up(sink)
    kept = next(n for n in range(20) if bytes(sink.received).endswith(b"".join(frames[n:])))
    assert bytes(sink.received) == encode_frame(TEXT, b"gap 1-%d" % kept) + b"".join(frames[kept:])
    assert s.stats.dropped_skip + s.stats.dropped_latest == kept
    assert s.stats.gaps == 1


def test_policy_disconnect_tells_the_sink_once_with_its_cursor() -> None:
    s = Stage(bound_bytes=1024, policy="disconnect")
    sink, cursor = s.attach()
    sink.blocked = True
    s.append(*[b"x" * 100] * 30)
    assert sink.slow == [cursor]
    assert sink.closed
    assert s.stats.slow_disconnects == 1
    assert s.stats.dropped_disconnect > 0
    assert bytes(sink.received) == b""
