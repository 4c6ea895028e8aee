"""Sessions told ahead, so that they can be resumed when their process is gone."""

from __future__ import annotations

import msgspec

from gateway.holding import SessionHolder
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
            SessionRecord("alice", ["@alice"]),
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
        assert told.held[back.id][:2] == (alice.session.session, SessionRecord("", ["news"]))
