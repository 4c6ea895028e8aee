"""The personal channel: there from the beginning, and gone on with where an earlier connection was."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker import ChannelOptions
from gateway.hub.channel import RingOptions
from gateway.options import Namespace
from tests.support.codecs import CASES
from tests.support.sessions import Client, Event, World, world
from tests.support.simulated import settle

SUBSCRIBE = {"type": "subscribe", "id": 1, "channel": "@alice"}


def offsets(events: list[Event]) -> list[int]:
    return [e["offset"] for e in events if e["type"] == "message"]


def at(reply: Event, offset: int | None = None, **more: Any) -> Event:
    return {"epoch": reply["epoch"], "offset": reply["offset"] if offset is None else offset, **more}


@pytest.mark.parametrize("encoding", list(CASES))
async def test_subscribe_without_a_position_tells_where_it_stands_and_changes_nothing(encoding: str) -> None:
    async with world() as w:
        await w.publish("@alice", 1, 2)
        alice = w.connect("alice", encoding)
        reply = (await alice.ask(SUBSCRIBE))[0]
        assert (reply["type"], reply["channel"], reply["offset"]) == ("reply", "@alice", 2)
        assert "recovered" not in reply
        await w.publish("@alice", 3)
        assert offsets(await alice.ask()) == [3]
        again = (await alice.ask(SUBSCRIBE))[0]
        assert (again["type"], again["offset"]) == ("reply", 3)


async def test_what_a_client_that_reads_nothing_has_not_had_is_behind_the_position_it_is_told() -> None:
    async with world() as w:
        alice = w.connect("alice")
        await w.publish("@alice", 1)
        await settle()
        alice.heard()
        alice.connection.blocked = True
        await w.publish("@alice", 2, 3)
        heard = await alice.ask(SUBSCRIBE)
        assert [(e["type"], e["offset"]) for e in heard] == [("reply", 1)]
        alice.connection.blocked = False
        alice.session.on_writable()
        assert offsets(alice.heard()) == [2, 3]


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("others", [True, False], ids=["ring has it", "history has it"])
async def test_what_was_sent_while_she_was_away_follows_the_answer_once(others: bool, slow: bool) -> None:
    async with world() as w:
        alice = w.connect("alice")
        stands = (await alice.ask(SUBSCRIBE))[0]
        tab = w.connect("alice") if others else None
        await w.publish("@alice", 1)
        await settle()
        alice.lose()
        await w.publish("@alice", 2, 3)
        if not others:
            await w.sweep()
        back = w.connect("alice")
        await w.publish("@alice", 4)  # heard before it is asked for
        assert offsets(await back.ask()) == [4]
        w.broker.slow = slow
        heard = await back.ask({**SUBSCRIBE, "since": at(stands, 1)})
        await w.broker.flow()
        heard += back.heard()
        assert (heard[0]["type"], heard[0]["recovered"], heard[0]["offset"]) == ("reply", True, 4)
        assert offsets(heard) == [2, 3, 4]
        w.broker.slow = False
        await w.publish("@alice", 5)
        await w.broker.flow()
        assert offsets(await back.ask()) == [5]
        if tab is not None:
            assert offsets(await tab.ask()) == [1, 2, 3, 4, 5], "the other tab notices nothing"


async def test_what_is_not_kept_is_said_and_live_messages_go_on() -> None:
    async with world() as w:
        alice = w.connect("alice")
        stands = (await alice.ask(SUBSCRIBE))[0]
        alice.lose()
        for number in range(150):
            await w.publish("@alice", number)
        await w.sweep()
        back = w.connect("alice")
        heard = await back.ask({**SUBSCRIBE, "since": at(stands)})
        assert [(e["type"], e.get("recovered"), e["offset"]) for e in heard] == [("reply", False, 150)]
        assert (await back.ask({**SUBSCRIBE, "since": {"epoch": "other", "offset": 1}}))[0][
            "recovered"
        ] is False
        await w.publish("@alice", "new")
        assert offsets(await back.ask()) == [151]


async def test_it_is_one_subscription_however_often_it_is_asked_for() -> None:
    async with world(max_channels=2) as w:
        alice = w.connect("alice")
        await alice.subscribe("news")
        for _ in range(3):
            assert (await alice.ask(SUBSCRIBE))[0]["type"] == "reply"
        assert alice.session.channel_count == 2
        here = w.node.hub.get("@alice")
        assert here is not None
        assert list(here.cursors) == [alice.id]
        (error,) = await alice.ask({"type": "subscribe", "id": 1, "channel": "@bob"})
        assert error["code"] == "permission_denied"
        (error,) = await w.connect().ask(SUBSCRIBE)
        assert error["code"] == "permission_denied"


async def test_session_resumes_it_too_if_its_position_is_named() -> None:
    async with world() as w:
        alice = w.connect("alice")
        news, mine = await alice.subscribe("news"), (await alice.ask(SUBSCRIBE))[0]
        session = alice.session.session
        alice.lose()
        await w.publish("@alice", 1)
        back = w.connect("alice")
        heard = await back.ask(
            {"type": "connect", "id": 2, "session": session, "since": {"@alice": at(mine), "news": at(news)}}
        )
        subscriptions = {s["channel"]: s["recovered"] for s in heard[0]["subscriptions"]}
        assert subscriptions == {"@alice": True, "news": True}
        assert offsets(heard) == [1]


# -- who is excluded, by another name -----------------------------------------------------------


async def excluding(w: World, client: Client, *, keep_ring: bool) -> Event:
    """Publish 1 to 4 to `news`; 2 and 3 exclude a client that is lost before.  Return its position."""
    stands = await client.subscribe("news")
    client.lose()
    other = w.connect() if keep_ring else None
    if other is not None:
        await other.subscribe("news")
    for number, excluded in enumerate(["", client.id, client.id, ""], 1):
        await w.publish("news", number, exclude=excluded)
    await settle()
    if other is None:
        await w.sweep()
    else:
        assert offsets(other.heard()) == [1, 2, 3, 4]
    return stands


@pytest.mark.parametrize("encoding", list(CASES))
@pytest.mark.parametrize("keep_ring", [True, False], ids=["ring has it", "history has it"])
async def test_what_excludes_a_client_is_not_sent_when_it_comes_back_by_another_id(
    keep_ring: bool, encoding: str
) -> None:
    async with world() as w:
        first = w.connect()
        stands = await excluding(w, first, keep_ring=keep_ring)
        for _ in range(2):  # the second time the ring has what was read from history
            back = w.connect(encoding=encoding)
            heard = await back.ask(
                {"type": "subscribe", "id": 1, "channel": "news", "since": at(stands, clients=[first.id])}
            )
            assert heard[0]["recovered"] is True
            assert offsets(heard) == [1, 4]
        stranger = w.connect(encoding=encoding)
        heard = await stranger.ask({"type": "subscribe", "id": 1, "channel": "news", "since": at(stands)})
        assert offsets(heard) == [1, 2, 3, 4]


async def test_what_does_not_fit_into_the_ring_is_not_sent_either() -> None:
    async with world() as w:
        first = w.connect()
        stands = await first.subscribe("tiny:x")
        first.lose()
        for number in range(1, 91):
            await w.publish("tiny:x", "x" * 40, exclude=first.id if number % 3 == 0 else "")
        back = w.connect()
        heard = await back.ask(
            {"type": "subscribe", "id": 1, "channel": "tiny:x", "since": at(stands, clients=[first.id])}
        )
        assert heard[0]["recovered"] is True
        assert offsets(heard) == [number for number in range(1, 91) if number % 3]


async def test_all_that_it_was_count_since_what_excludes_it_moves_no_position() -> None:
    async with world() as w:
        ids: list[str] = []
        stands: Event = {}
        for number in range(4):
            client = w.connect()
            position = {"since": at(stands, 0, clients=ids)} if number else {}
            heard = await client.ask({"type": "subscribe", "id": 1, "channel": "news", **position})
            assert offsets(heard) == []
            stands = heard[0]
            ids.append(client.id)
            await w.publish("news", "x", exclude=client.id)
            client.lose()
        (error,) = await w.connect().ask(
            {"type": "subscribe", "id": 1, "channel": "news", "since": at(stands, 0, clients=["x"] * 17)}
        )
        assert error["code"] == "bad_request"


async def test_session_knows_the_client_that_it_was() -> None:
    async with world() as w:
        first = w.connect()
        session = first.session.session
        stands = await excluding(w, first, keep_ring=True)
        back = w.connect()
        heard = await back.ask(
            {"type": "connect", "id": 2, "session": session, "since": {"news": at(stands)}}
        )
        assert offsets(heard) == [1, 4]


async def test_client_that_leaves_and_returns_on_one_connection_is_excluded_still() -> None:
    async with world() as w:
        alice = w.connect()
        stands = await alice.subscribe("news")
        await w.publish("news", 1, 2, exclude=alice.id)
        await w.publish("news", 3)
        assert offsets(await alice.ask({"type": "unsubscribe", "channel": "news"})) == [3]
        heard = await alice.ask({"type": "subscribe", "id": 2, "channel": "news", "since": at(stands)})
        assert offsets(heard) == [3]


# -- what is too old ------------------------------------------------------------------------------

SHORT = Namespace(broker=ChannelOptions(history_size=100, history_ttl_s=20.0), ring=RingOptions(keep_s=20.0))


async def test_ring_serves_nothing_that_history_has_forgotten_and_spares_history_what_is_fresh() -> None:
    async with world(default=SHORT) as w:
        alice = w.connect()
        stands = await alice.subscribe("news")
        for _ in range(60):  # a message a second, so the ring is never idle
            await w.publish("news", "x")
            w.time.advance(1.0)
            await settle()
        assert len(alice.heard()) == 60
        here = w.node.hub.get("news")
        assert here is not None
        assert here.ring(alice.session.encoding).covered == 0, "the ring holds all of it"
        told: list[tuple[bool, bool]] = []
        for offset in range(61):
            w.broker.calls.clear()
            back = w.connect()
            heard = await back.ask(
                {"type": "subscribe", "id": 1, "channel": "news", "since": at(stands, offset)}
            )
            told.append((heard[0]["recovered"], "history" in w.broker.calls))
            assert offsets(heard) == (list(range(offset + 1, 61)) if heard[0]["recovered"] else [])
            back.lose()
        # The publication n + 1 was made at n seconds, and is gone at n + 20; it is second 60 now.
        assert [recovered for recovered, _ in told] == [offset > 40 for offset in range(61)]
        assert all(asked for _, asked in told[:41])
        assert sum(asked for _, asked in told[41:]) <= 4, "history is asked only where the age is not known"


async def test_marks_take_little_and_go_when_nothing_is_published() -> None:
    async with world(default=SHORT) as w:
        alice = w.connect()
        await alice.subscribe("news")
        here = w.node.hub.get("news")
        assert here is not None
        for _ in range(100):
            await w.publish("news", "x", exclude=alice.id)
            w.time.advance(1.0)
            await settle()
            assert len(here._marks) <= 2 * 9
        await w.sweep(15)
        assert (here._marks, here._excluded) == ((), {})
