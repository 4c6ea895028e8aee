"""Sessions told ahead, so that they can be resumed when their process is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from gateway import closecodes
from gateway.holding import HOLD_EVERY_S, BatchedHolder, SessionHolder
from gateway.session import SessionRecord
from tests.support.sessions import World, world
from tests.support.simulated import settle


class Told:
    """What was told: by client its session and record, and every call in order."""

    def __init__(self, w: World) -> None:
        self.calls: list[str] = []
        self.held: dict[str, tuple[str, SessionRecord, float]] = {}
        SessionHolder(w.node, self.hold, self.release)

    def hold(self, client: str, session: str, record: bytes, ttl_s: float) -> None:
        self.calls.append("hold")
        self.held[client] = (session, msgspec.json.decode(record, type=SessionRecord), ttl_s)

    def release(self, client: str) -> None:
        self.calls.append("release")
        self.held.pop(client, None)


async def test_session_is_told_with_what_it_hears_at_the_end_of_the_turn() -> None:
    async with world() as w:
        told = Told(w)
        alice = w.connect("alice")
        await settle()
        assert told.held[alice.id] == (
            alice.session.session,
            SessionRecord("alice", ["@alice"], alice.id),
            w.node.options.resume_ttl_s,
        )
        told.calls.clear()
        alice.say([{"type": "subscribe", "id": n, "channel": f"c{n}"} for n in range(1, 6)])
        await settle()
        assert told.calls == ["hold"], "once for all five"
        assert told.held[alice.id][1].channels == ["@alice", "c1", "c2", "c3", "c4", "c5"]
        alice.say({"type": "unsubscribe", "id": 7, "channel": "c3"})
        await settle()
        assert "c3" not in told.held[alice.id][1].channels


async def test_session_that_ends_is_released() -> None:
    async with world() as w:
        told = Told(w)
        alice = w.connect()
        await alice.subscribe("news")
        await settle()
        assert alice.id in told.held
        alice.lose()
        await settle()
        assert (told.held, told.calls[-1]) == ({}, "release")


async def test_session_that_is_resumed_is_told_under_its_old_name() -> None:
    async with world() as w:
        told = Told(w)
        alice = w.connect()
        await alice.subscribe("news")
        alice.lose()
        back = w.connect()
        await back.ask({"type": "connect", "id": 1, "session": alice.session.session})
        await settle()
        assert told.held[back.id][:2] == (alice.session.session, SessionRecord("", ["news"], back.id))


class Keeping:
    """A broker that keeps what it is told, by session: client and record."""

    def __init__(self) -> None:
        self.on_holds_lost: Callable[[], None] = lambda: None
        self.session_ttl_s = 0.0
        self.calls: list[int] = []
        self.held: dict[str, tuple[str, SessionRecord]] = {}

    def hold_sessions(self, sessions: Iterable[tuple[str, str, bytes]]) -> None:
        told = {s: (c, msgspec.json.decode(r, type=SessionRecord)) for s, c, r in sessions}
        self.calls.append(len(told))
        self.held.update(told)

    def drop_session(self, session: str, client: str) -> None:
        if self.held.get(session, (client,))[0] == client:
            self.held.pop(session, None)


async def test_batched_sessions_of_many_clients_are_told_in_one_call_with_what_holds_then() -> None:
    async with world() as w:
        keeper = Keeping()
        BatchedHolder(w.node, keeper)
        clients = [w.connect("") for _ in range(50)]
        for client in clients[:40]:
            client.say({"type": "subscribe", "channel": "a"})
            client.say({"type": "subscribe", "channel": "b"})
            client.say({"type": "unsubscribe", "channel": "a"})
        await settle()
        w.time.advance(HOLD_EVERY_S)
        assert keeper.calls == [40], "who has no subscription is not told of"
        assert {record.channels[0] for _, record in keeper.held.values()} == {"b"}
        w.time.advance(10.0)
        assert keeper.calls == [40], "nothing changed"
        keeper.on_holds_lost()
        w.time.advance(HOLD_EVERY_S)
        assert keeper.calls == [40, 40], "it was lost"


async def test_batched_sessions_that_ended_are_not_told_and_those_that_may_not_return_are_dropped() -> None:
    async with world() as w:
        keeper = Keeping()
        BatchedHolder(w.node, keeper)
        alice, bob = w.connect("alice"), w.connect("bob")
        await settle()
        alice.session.on_close(1006, "")
        w.time.advance(HOLD_EVERY_S)
        assert [record.user for _, record in keeper.held.values()] == ["bob"]
        bob.session.on_close(closecodes.MISUSE, "")
        assert keeper.held == {}


async def test_batched_session_that_goes_on_as_an_earlier_one_is_held_under_that_name_alone() -> None:
    async with world() as w:
        keeper = Keeping()
        BatchedHolder(w.node, keeper)
        alice = w.connect("alice")
        await settle()
        earlier = alice.session.session
        alice.session.on_close(1006, "")
        await settle()
        again = w.connect("alice")
        await settle()
        w.time.advance(HOLD_EVERY_S)
        own = again.session.session
        assert set(keeper.held) == {own}
        again.say({"type": "connect", "id": 1, "session": earlier})
        await settle()
        w.time.advance(HOLD_EVERY_S)
        assert set(keeper.held) == {earlier}
