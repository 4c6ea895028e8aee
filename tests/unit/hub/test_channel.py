"""A channel: subscribers, several encodings, exclusion, resume, gaps, presence."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway._frames import Decoder
from gateway._sink import ScriptedSink
from gateway.hub._ring import Flusher, HubStats
from gateway.hub.channel import Channel, RingOptions
from gateway.hub.encoding import Encoding
from gateway.message.json import JsonCodec
from gateway.message.publication import Member, Position, Publication

CODEC = Encoding(JsonCodec())


class BinaryCodec(JsonCodec):
    """Another encoding: the same, in binary messages."""

    opcode = 2  # type: ignore[misc]


OTHER = Encoding(BinaryCodec())


START = Position("e", 0)


class Stage:
    def __init__(self, position: Position = START, **options: Any) -> None:
        self.soon: list[Any] = []
        self.stats = HubStats()
        self.channel = Channel(
            "news",
            position,
            RingOptions(**options),
            now=0.0,
            flusher=Flusher(self.soon.append),
            stats=self.stats,
        )
        self.sinks: dict[str, ScriptedSink] = {}
        self.decoders: dict[str, Decoder] = {}

    def attach(self, client: str, encoding: Encoding = CODEC) -> ScriptedSink:
        sink = self.sinks[client] = ScriptedSink()
        self.decoders[client] = Decoder(client=True, max_message_bytes=1 << 24, max_fragments=1)
        self.channel.attach(client, sink, encoding)
        return sink

    def deliver(self, *offsets: int, epoch: str = "e", exclude: str = "", size: int = 1) -> None:
        self.channel.deliver(epoch, [publication(o, exclude=exclude, size=size) for o in offsets], 0.0)

    def heard(self, client: str) -> list[tuple[str, int | None]]:
        """Return type and offset of what came since the last call."""
        return [(e["type"], e.get("offset")) for e in self.events(client)]

    def events(self, client: str) -> list[dict[str, Any]]:
        while self.soon:
            self.soon.pop(0)()
        frames = self.decoders[client].receive(bytes(self.sinks[client].received))
        self.sinks[client].received.clear()
        return [orjson.loads(frame.payload) for frame in frames]


def publication(offset: int, *, exclude: str = "", size: int = 1) -> Publication:
    return Publication(id=f"p{offset}", data=b"1" * size, time_ms=0, offset=offset, exclude=exclude)


def messages(*offsets: int) -> list[tuple[str, int | None]]:
    return [("message", offset) for offset in offsets]


def test_subscriber_hears_what_is_published_after_it_came() -> None:
    s = Stage()
    s.attach("a")
    s.deliver(1)
    s.attach("b")
    s.deliver(2, 3)
    assert s.heard("a") == messages(1, 2, 3)
    assert s.heard("b") == messages(2, 3)
    assert s.channel.position == Position("e", 3)


def test_client_cannot_be_attached_twice() -> None:
    s = Stage()
    s.attach("a")
    with pytest.raises(ValueError, match="one cursor"):
        s.channel.attach("a", ScriptedSink(), CODEC)
    s.deliver(1)
    assert s.heard("a") == messages(1)


def test_each_encoding_has_a_ring_and_encodes_once() -> None:
    s = Stage()
    for client, codec in (("a", CODEC), ("b", CODEC), ("c", OTHER)):
        s.attach(client, codec)
    s.deliver(1)
    assert s.stats.frames_appended == 2
    assert s.heard("a") == s.heard("b") == messages(1)
    while s.soon:
        s.soon.pop(0)()
    assert s.sinks["c"].received[0] == 0x82
    assert s.heard("c") == messages(1)


def test_detach_sends_what_was_published_before_and_nothing_after() -> None:
    s = Stage()
    s.attach("a")
    s.deliver(1)
    s.channel.detach("a")
    s.channel.detach("a")
    s.deliver(2)
    assert s.heard("a") == messages(1)
    assert s.channel.cursors == {}


def test_excluded_subscriber_is_left_out_in_every_encoding_and_whatever_comes_between() -> None:
    s = Stage()
    s.attach("a")
    s.attach("b", OTHER)
    for offset, exclude in ((1, "a"), (2, "b"), (3, ""), (4, "a"), (5, "a"), (6, "nobody")):
        s.deliver(offset, exclude=exclude)
    assert s.heard("a") == messages(2, 3, 6)
    assert s.heard("b") == messages(1, 3, 4, 5, 6)


def test_duplicates_are_passed_over_and_jumps_announced() -> None:
    s = Stage(Position("e", 7))
    s.attach("a")
    s.deliver(6, 7, 8, 8, 11)
    events = s.events("a")
    assert [(e["type"], e.get("offset")) for e in events] == [("message", 8), ("gap", None), ("message", 11)]
    assert events[1] == {"type": "gap", "channel": "news", "from": 9, "to": 10, "reason": "lost"}


@pytest.mark.parametrize("since", range(7))
def test_resume_from_the_ring(since: int) -> None:
    s = Stage(Position("e", 2))
    s.attach("first")
    s.deliver(3, 4, 5)
    s.attach("late")
    can = 2 <= since <= 5
    assert s.channel.resume("late", Position("e", since)) is can
    assert not s.channel.resume("late", Position("f", since))
    s.deliver(6)
    assert s.heard("late") == (messages(*range(since + 1, 7)) if can else messages(6))


def test_backfill_from_history_serves_resume_and_later_ones_too() -> None:
    s = Stage(Position("e", 5))
    s.attach("a")
    s.deliver(6)
    assert s.channel.backfill(CODEC, [publication(o) for o in (3, 4, 5, 6)])
    assert s.channel.resume("a", Position("e", 2))
    assert s.heard("a") == messages(3, 4, 5, 6)
    s.attach("b")
    assert s.channel.resume("b", Position("e", 3)), "the ring reaches back that far now"
    assert s.heard("b") == messages(4, 5, 6)


@pytest.mark.parametrize("offsets", [(2, 3), (3, 4), (1,)])
def test_backfill_with_a_hole_behind_it_changes_nothing(offsets: tuple[int, ...]) -> None:
    s = Stage(Position("e", 5))
    s.attach("a")
    assert not s.channel.backfill(CODEC, [publication(o) for o in offsets])
    assert not s.channel.resume("a", Position("e", offsets[0] - 1))
    s.deliver(6)
    assert s.heard("a") == messages(6)


def test_backfill_of_what_the_ring_has_already_is_no_change() -> None:
    s = Stage()
    s.attach("a")
    s.deliver(1, 2)
    assert s.channel.backfill(CODEC, [publication(1), publication(2)])
    assert s.heard("a") == messages(1, 2)


def test_backfill_that_does_not_fit_says_so() -> None:
    s = Stage(Position("e", 50), bound_bytes=1024)
    s.attach("a")
    assert not s.channel.backfill(CODEC, [publication(o, size=300) for o in range(40, 51)])
    s.deliver(51)
    assert s.heard("a") == messages(51)


def test_ring_without_subscribers_keeps_what_is_published_for_who_resumes() -> None:
    s = Stage()
    s.channel.ring(CODEC)
    s.deliver(1, 2)
    s.attach("a")
    assert s.channel.resume("a", Position("e", 0))
    assert s.heard("a") == messages(1, 2)


def test_ring_of_a_channel_that_cannot_be_resumed_keeps_nothing_without_subscribers() -> None:
    s = Stage(resumable=False)
    ring = s.channel.ring(CODEC)
    s.deliver(1, 2)
    assert ring.capacity_bytes == 0
    s.attach("a")
    assert not s.channel.resume("a", Position("e", 0))
    assert s.channel.resume("a", Position("e", 2))


def test_presence_is_told_where_somebody_listens() -> None:
    s = Stage()
    s.attach("a")
    s.attach("b", OTHER)
    s.channel.detach("b")
    s.channel.deliver_presence(Member(client="m", user="u", info=b'{"x":1}'), joined=True, now=3.0)
    s.channel.deliver_presence(Member(client="m"), joined=False, now=3.0)
    assert s.events("a") == [
        {"type": "join", "channel": "news", "client": "m", "user": "u", "info": {"x": 1}},
        {"type": "leave", "channel": "news", "client": "m"},
    ]
    assert s.stats.frames_appended == 2
    assert s.channel.active_at == 3.0


@pytest.mark.parametrize(("policy", "kept"), [("skip", True), ("latest", True), ("disconnect", False)])
def test_slow_subscriber_meets_the_policy_and_the_gap_names_what_it_lost(policy: str, kept: bool) -> None:
    s = Stage(bound_bytes=1024, policy=policy)
    sink = s.attach("slow")
    s.attach("fast")
    sink.blocked = True
    got = []
    for offset in range(1, 101):
        s.deliver(offset)
        got += s.heard("fast")
    assert got == messages(*range(1, 101))
    assert sink.closed is not kept
    if not kept:
        return
    sink.blocked = False
    Flusher.catch_up(sink)
    gap, *rest = s.events("slow")
    assert (gap["type"], gap["from"], gap["reason"]) == ("gap", 1, "slow")
    assert [e["offset"] for e in rest] == list(range(gap["to"] + 1, 101))
    dropped = s.stats.dropped_skip + s.stats.dropped_latest
    assert dropped == gap["to"]
    assert s.stats.gaps == 1


def test_tidy_forgets_rings_without_subscribers_once_idle() -> None:
    s = Stage(idle_s=10.0)
    s.attach("a")
    s.attach("b", OTHER)
    s.deliver(1)
    s.heard("a")
    s.channel.detach("b")
    assert not s.channel.tidy(5.0)
    assert set(s.channel.rings) == {CODEC, OTHER}
    assert not s.channel.tidy(10.0)
    assert set(s.channel.rings) == {CODEC}
    s.channel.detach("a")
    assert s.channel.tidy(10.0)
    assert s.channel.rings == {}
    s.attach("c")
    s.deliver(2)
    assert s.heard("c") == messages(2)
