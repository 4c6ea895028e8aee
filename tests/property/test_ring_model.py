"""The broadcast ring held to plain lists.

Random publishes, subscribes, partial writes, blocks and wake-ups on two rings that share their
subscribers.  For each subscriber a list says what it must receive next; whatever arrives is
compared with it byte for byte, as it arrives.  The lists also foretell exactly who meets the
slow-consumer policy, what that costs, and what the `gap` frame must say.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway._sink import ScriptedSink
from gateway.hub._cursor import Cursor
from gateway.hub._ring import Flusher, HubStats, Ring

T = TypeVar("T")

TEXT = 1
BOUND = 1024
UNBOUNDED = 1 << 30


def encode(payload: bytes) -> bytes:
    """Encode a text frame by the letter of RFC 6455 section 5.2, independently of the codec."""
    if len(payload) < 126:
        return struct.pack("!BB", 0x81, len(payload)) + payload
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


@dataclass(repr=False)
class Frame:
    """One frame in a list.  `offset` is its publication's or the newest one's before it."""

    data: bytes
    offset: int
    numbered: bool
    gap: tuple[int, int] | None = None


@dataclass(repr=False)
class Subscriber:
    """A cursor, and what its sink must receive from it next.  None stands for a frame it is excluded from."""

    cursor: Cursor
    due: list[tuple[Frame, bool]] = field(default_factory=list)
    gap: tuple[int, int] | None = None

    def lag(self) -> int:
        """Return the bytes from the first frame that it must still get to the head of the ring."""
        while self.due and self.due[0][1]:
            del self.due[0]
        return sum(len(frame.data) for frame, _ in self.due)


@dataclass(repr=False)
class Listed:
    """A ring beside the list of the frames that it keeps."""

    name: bytes
    policy: str
    ring: Ring
    kept: list[Frame] = field(default_factory=list)
    history: list[Frame] = field(default_factory=list)
    offset: int = 0
    serial: int = 0
    subscribers: list[Subscriber] = field(default_factory=list)
    dropped: int = 0


class Client:
    """A sink whose socket takes at most `most` bytes a send, and `room` in all."""

    def __init__(self) -> None:
        self.room = self.most = UNBOUNDED
        self.sink = ScriptedSink(self.take)
        self.read = 0
        self.replies: list[bytes] = []

    def take(self, n: int) -> int:
        taken = min(n, self.room, self.most)
        self.room -= taken
        return taken


class RingMachine(RuleBasedStateMachine):
    """Real rings on one side, lists on the other."""

    @initialize(
        policies=st.tuples(*[st.sampled_from(["disconnect", "skip", "latest"])] * 2),
        retain=st.sampled_from([0, 300, 512]),
        sends_per_turn=st.sampled_from([1, 2, 3, 1024]),
    )
    def begin(self, policies: tuple[str, str], retain: int, sends_per_turn: int) -> None:
        self.calls: list[object] = []
        self.stats = HubStats()
        self.flusher = Flusher(self.calls.append, sends_per_turn=sends_per_turn)
        self.clients: list[Client] = []
        self.rings = [
            self.make_ring(name, policy, retain) for name, policy in zip((b"a", b"b"), policies, strict=True)
        ]
        self.delivered = self.gaps = 0
        self.dropped = dict.fromkeys(("disconnect", "skip", "latest"), 0)
        for _ in range(3):
            client = Client()
            self.clients.append(client)
            for listed in self.rings:
                listed.subscribers.append(Subscriber(listed.ring.attach(client.sink)))

    def make_ring(self, name: bytes, policy: str, retain: int) -> Listed:
        def encode_gap(cursor: Cursor) -> tuple[int, bytes]:
            return TEXT, b"%s gap %d %d" % (name, cursor.gap_from, cursor.gap_to)

        ring = Ring(
            bound_bytes=BOUND,
            retain_bytes=retain,
            policy=policy,
            newest=0,
            flusher=self.flusher,
            stats=self.stats,
            encode_gap=encode_gap,
        )
        return Listed(name, policy, ring)

    @staticmethod
    def pick(data: st.DataObject, among: list[T]) -> T:
        return among[data.draw(st.integers(0, len(among) - 1))]

    def listening(self) -> list[tuple[Listed, Subscriber]]:
        return [(listed, one) for listed in self.rings for one in listed.subscribers]

    # -- subscribers ----------------------------------------------------------------------

    @precondition(lambda self: len(self.clients) < 6)
    @rule()
    def connect(self) -> None:
        self.clients.append(Client())

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), which=st.integers(0, 1), resume=st.booleans())
    def subscribe(self, data: st.DataObject, which: int, resume: bool) -> None:
        client = self.pick(data, self.clients)
        listed = self.rings[which]
        if client.sink.closed or any(one.cursor.sink is client.sink for one in listed.subscribers):
            return
        one = Subscriber(listed.ring.attach(client.sink))
        listed.subscribers.append(one)
        if resume:
            offset = data.draw(st.integers(0, listed.offset + 1))
            covered = listed.ring.covered <= offset <= listed.offset
            assert listed.ring.seek(one.cursor, offset) is covered
            if covered:
                first = next(
                    (i for i, frame in enumerate(listed.kept) if frame.offset > offset), len(listed.kept)
                )
                one.due = [(frame, False) for frame in listed.kept[first:]]

    @precondition(lambda self: self.listening())
    @rule(data=st.data(), pending=st.booleans())
    def unsubscribe(self, data: st.DataObject, pending: bool) -> None:
        listed, one = self.pick(data, self.listening())
        if pending:
            listed.ring.send_pending(one.cursor)
            self.compare()
        listed.ring.detach(one.cursor)
        listed.subscribers.remove(one)

    # -- publications ---------------------------------------------------------------------

    @rule(
        which=st.integers(0, 1),
        sizes=st.lists(st.one_of(st.integers(0, 60), st.integers(0, 700)), min_size=1, max_size=8),
        numbered=st.booleans(),
    )
    def publish(self, which: int, sizes: list[int], numbered: bool) -> None:
        for size in sizes:
            self.append(self.rings[which], size, numbered=numbered)

    @precondition(lambda self: self.listening())
    @rule(data=st.data(), size=st.integers(0, 300))
    def publish_excluding(self, data: st.DataObject, size: int) -> None:
        listed, one = self.pick(data, self.listening())
        self.append(listed, size, numbered=True)
        one.cursor.skip_newest()
        if not one.cursor.sink.closed:
            one.due[-1] = (one.due[-1][0], True)

    def append(self, listed: Listed, size: int, *, numbered: bool) -> None:
        listed.serial += 1
        listed.offset += numbered
        payload = b"%s %d %s" % (listed.name, listed.serial, b"x" * size)
        frame = Frame(encode(payload), listed.offset, numbered)
        closed = [one for one in listed.subscribers if one.cursor.sink.closed]
        listed.ring.append(TEXT, payload, listed.offset if numbered else 0)
        self.compare()  # the ring may have had to flush
        n = len(frame.data)
        for one in listed.subscribers:
            if one not in closed and one.lag() + n > BOUND:
                self.meet_policy(listed, one, n)
        if numbered:
            listed.history.append(frame)
        if listed.subscribers or listed.ring.retain:
            listed.kept.append(frame)
        else:
            listed.kept.clear()
        for one in listed.subscribers:
            one.due.append((frame, False))
        self.forget_dropped(listed)

    def meet_policy(self, listed: Listed, one: Subscriber, n: int) -> None:
        """Foretell what the policy does to a subscriber that is in the way of `n` more bytes."""
        keep = BOUND // 2 - n if listed.policy == "skip" else 0
        lost: list[Frame] = []
        while one.due and (listed.policy != "skip" or sum(len(f.data) for f, _ in one.due) > keep):
            frame, excluded = one.due.pop(0)
            if not excluded:
                lost.append(frame)
        self.dropped[listed.policy] += len(lost)
        if listed.policy == "disconnect":
            assert isinstance(one.cursor.sink, ScriptedSink)
            assert one.cursor.sink.slow, "a subscriber that was too slow was not told"
            return
        offsets = [frame.offset for frame in lost if frame.numbered]
        low, high = one.gap or (0, 0)
        one.gap = (low or (offsets[0] if offsets else 0), offsets[-1] if offsets else high)

    def forget_dropped(self, listed: Listed) -> None:
        """Bring the list of kept frames to what the ring says it keeps: whole frames, from the oldest on."""
        held = listed.ring.held_bytes
        while sum(len(frame.data) for frame in listed.kept) > held:
            del listed.kept[0]
        assert sum(len(frame.data) for frame in listed.kept) == held

    @rule(which=st.integers(0, 1), count=st.integers(1, 6))
    def backfill(self, which: int, count: int) -> None:
        """Put publications that the ring has forgotten in front again."""
        listed = self.rings[which]
        covered = listed.ring.covered
        older = [frame for frame in listed.history if frame.offset <= covered][-count:]
        payloads = [frame.data[2 if len(frame.data) < 128 else 4 :] for frame in older]
        fits = listed.ring.held_bytes + sum(len(frame.data) for frame in older) <= BOUND
        assert listed.ring.prepend([(TEXT, p) for p in payloads]) is fits
        if fits:
            listed.kept[:0] = older
            assert listed.ring.covered == covered - len(older)

    # -- time and sockets -----------------------------------------------------------------

    @rule()
    def turn(self) -> None:
        """One turn of the loop: the flush that was asked for."""
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()  # type: ignore[operator]
        self.compare()
        if not self.calls:
            for _, one in self.listening():
                assert one.cursor.sink.blocked or one.cursor.sink.closed or not one.lag(), (
                    "a subscriber was forgotten"
                )

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), room=st.sampled_from([0, 0, 1, 50, 300, 700]))
    def block(self, data: st.DataObject, room: int) -> None:
        """The socket takes so many more bytes, then none; the transport waits."""
        client = self.pick(data, self.clients)
        client.room = room
        client.sink.absorbs = False

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), most=st.integers(0, 300))
    def write_short(self, data: st.DataObject, most: int) -> None:
        """One send takes at most so many bytes, and the transport gets rid of the rest at once."""
        client = self.pick(data, self.clients)
        client.most = most
        client.sink.absorbs = True

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        self.unblock(self.pick(data, self.clients))
        self.compare()

    def unblock(self, client: Client) -> None:
        client.room = client.most = UNBOUNDED
        client.sink.blocked = False
        client.sink.absorbs = client.sink.fd < 0  # a transport without a socket gets rid of it all
        self.flusher.catch_up(client.sink)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def use_transport_only(self, data: st.DataObject) -> None:
        """As under TLS: there is no socket to send to directly."""
        self.pick(data, self.clients).sink.fd = -1

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), reply=st.integers(0, 1 << 30))
    def hold_back(self, data: st.DataObject, reply: int) -> None:
        """The owner has gathered an answer that must leave before anything that a ring sends."""
        client = self.pick(data, self.clients)
        if not client.sink.closed and not client.sink.blocked:
            data_ = encode(b"reply %d" % reply)
            client.sink.corked = True
            client.sink.held_back += data_
            client.replies.append(data_)

    @rule(idle=st.booleans())
    def tidy(self, idle: bool) -> None:
        for listed in self.rings:
            empty = listed.ring.tidy(idle)
            assert empty == (listed.ring.capacity_bytes == 0)
            self.forget_dropped(listed)

    # -- what must hold -------------------------------------------------------------------

    def compare(self) -> None:
        """Check what every client received since the last time against what it was due."""
        for client in self.clients:
            data = bytes(client.sink.received)
            while client.read < len(data):
                client.read += self.match(client, data[client.read :])

    def match(self, client: Client, data: bytes) -> int:
        """Return the length of the next frame in `data`, which must be the next of a ring, or a reply."""
        if client.replies and data.startswith(client.replies[0]):
            return len(client.replies.pop(0))
        assert not client.replies, f"{data[:40]!r} overtook an answer"
        for listed, one in self.listening():
            if one.cursor.sink is not client.sink:
                continue
            if one.gap is not None:
                gap = encode(b"%s gap %d %d" % (listed.name, *one.gap))
                if data.startswith(gap):
                    one.gap = None
                    self.gaps += 1
                    return len(gap)
                continue
            one.lag()
            if one.due and data.startswith(one.due[0][0].data):
                self.delivered += 1
                return len(one.due.pop(0)[0].data)
        raise AssertionError(f"{data[:40]!r} was not due")

    @invariant()
    def memory_is_bounded(self) -> None:
        for listed in getattr(self, "rings", []):
            assert listed.ring.capacity_bytes <= BOUND

    def teardown(self) -> None:
        """Let everybody read: each must get all that it is due, and all memory comes back."""
        if not hasattr(self, "rings"):
            return
        self.turn()
        for client in self.clients:
            if not client.sink.closed:
                self.unblock(client)
        self.compare()
        while self.calls:
            self.turn()
        for _, one in self.listening():
            if not one.cursor.sink.closed:
                assert one.lag() == 0
                assert one.gap is None
                assert one.cursor.lag_bytes == 0
        for listed in self.rings:
            assert listed.ring.tidy(True)
            assert listed.ring.capacity_bytes == 0
        counted = {name: getattr(self.stats, f"dropped_{name}") for name in self.dropped}
        assert counted == self.dropped
        assert (self.stats.frames_delivered, self.stats.gaps) == (self.delivered, self.gaps)


TestRing = RingMachine.TestCase
TestRing.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
