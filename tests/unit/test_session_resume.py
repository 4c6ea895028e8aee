"""Subscribing from a position on, and resuming a lost session."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.broker.outbox import Did, Notice, Told
from gateway.errors import BrokerUnavailableError
from gateway.hooks.notices import Notices
from gateway.message.publication import Publication
from tests.support.sessions import Client, Event, World, world
from tests.support.simulated import settle


def offsets(events: list[Event]) -> list[int]:
    return [e["offset"] for e in events if e["type"] == "message"]


def since(reply: Event, offset: int | None = None) -> Event:
    return {"epoch": reply["epoch"], "offset": reply["offset"] if offset is None else offset}


async def five_published(w: World, *, keep_ring: bool) -> Event:
    """Publish five messages to `news`; return a position before them."""
    first = w.connect()
    reply = await first.subscribe("news")
    await w.publish("news", 1, 2, 3, 4, 5)
    await settle()
    if keep_ring:
        w.connect().say({"type": "subscribe", "channel": "news"})
        await settle()
    first.lose()
    if not keep_ring:
        await w.sweep()
        await w.broker.flow()
        assert len(w.node.hub) == 0
    return since(reply)


@pytest.mark.parametrize("keep_ring", [True, False], ids=["ring has it", "history has it"])
@pytest.mark.parametrize("had", range(6))
async def test_subscribe_since_gets_exactly_what_it_missed_after_the_reply(keep_ring: bool, had: int) -> None:
    async with world() as w:
        start = await five_published(w, keep_ring=keep_ring)
        w.broker.calls.clear()
        client = w.connect()
        heard = await client.ask(
            {"type": "subscribe", "id": 1, "channel": "news", "since": {**start, "offset": had}}
        )
        expected = {"type": "reply", "id": 1, "channel": "news", "offset": 5, "recovered": True}
        assert heard[0] == {**expected, "epoch": start["epoch"]}
        assert offsets(heard) == list(range(had + 1, 6))
        assert len(heard) == 1 + 5 - had
        assert ("history" in w.broker.calls) == (not keep_ring and had < 5), "the ring spares the history"
        await w.publish("news", 6)
        await settle()
        assert offsets(client.heard()) == [6]


@pytest.mark.parametrize("keep_ring", [True, False])
@pytest.mark.parametrize(
    "position", [{"epoch": "other", "offset": 3}, {"epoch": "", "offset": 0}, {"offset": 6}]
)
async def test_subscribe_since_a_place_that_never_was_is_not_recovered(
    keep_ring: bool, position: Event
) -> None:
    async with world() as w:
        start = await five_published(w, keep_ring=keep_ring)
        client = w.connect()
        heard = await client.ask(
            {"type": "subscribe", "id": 1, "channel": "news", "since": {**start, **position}}
        )
        assert [e["type"] for e in heard] == ["reply"]
        assert heard[0]["recovered"] is False
        assert (heard[0]["epoch"], heard[0]["offset"]) == (start["epoch"], 5)
        await w.publish("news", 6)
        await settle()
        assert offsets(client.heard()) == [6]


@pytest.mark.parametrize("keep_ring", [True, False])
async def test_subscribe_since_what_history_has_lost_is_never_recovered_in_part(keep_ring: bool) -> None:
    async with world() as w:
        first = w.connect()
        start = since(await first.subscribe("tiny:x"))
        for number in range(150):  # more than history's 100 and the ring's kilobyte
            await w.publish("tiny:x", number)
        await settle()
        if not keep_ring:
            first.lose()
            await w.sweep()
        client = w.connect()
        heard = await client.ask({"type": "subscribe", "id": 1, "channel": "tiny:x", "since": start})
        assert [(e["type"], e["recovered"]) for e in heard] == [("reply", False)]
        (reply,) = heard
        heard = await w.connect().ask(
            {"type": "subscribe", "id": 1, "channel": "tiny:x", "since": since(reply, 50)}
        )
        assert heard[0]["recovered"] is True
        assert offsets(heard) == list(range(51, 151)), "all that history has, though no ring can hold it"


async def test_subscribe_since_in_a_channel_without_history_tells_the_truth() -> None:
    async with world() as w:
        first = w.connect()
        start = since(await first.subscribe("plain:x"))
        await w.publish("plain:x", 1)
        await settle()
        await w.sweep(2)
        heard = await w.connect().ask({"type": "subscribe", "id": 1, "channel": "plain:x", "since": start})
        assert [(e["type"], e["recovered"]) for e in heard] == [("reply", False)]
        heard = await w.connect().ask(
            {"type": "subscribe", "id": 1, "channel": "plain:x", "since": since(heard[0])}
        )
        assert [(e["type"], e["recovered"]) for e in heard] == [("reply", True)]


async def test_messages_published_while_history_is_read_follow_what_was_missed() -> None:
    async with world() as w:
        start = await five_published(w, keep_ring=False)
        client = w.connect()
        w.broker.slow = True
        client.say({"type": "subscribe", "id": 1, "channel": "news", "since": start})
        await settle()
        await w.broker.execute()
        w.broker.reply()
        await settle()
        assert w.broker.methods_sent == ["history_before"]
        await w.broker.execute()  # history was read up to 5, and now there is more
        w.broker.slow = False
        await w.publish("news", 6, 7)
        await w.broker.flow()
        heard = client.heard()
        assert heard[0]["recovered"] is True
        assert heard[0]["offset"] == 7
        assert offsets(heard) == [1, 2, 3, 4, 5, 6, 7]


async def test_so_much_while_history_is_read_that_no_ring_keeps_it_is_read_again() -> None:
    async with world() as w:
        start = await five_published(w, keep_ring=False)
        client = w.connect()
        w.broker.slow = True
        client.say({"type": "subscribe", "id": 1, "channel": "news", "since": start})
        await settle()
        await w.broker.execute()
        w.broker.reply()
        await settle()
        await w.broker.execute()  # history was read up to 5, and then more is published than a ring keeps
        w.broker.slow = False
        await w.publish("news", *["x" * 30_000] * 8)
        await w.broker.flow()
        heard = client.heard()
        assert (heard[0]["recovered"], heard[0]["offset"]) == (True, 13)
        assert offsets(heard) == list(range(1, 14))


async def test_publications_between_brokers_answer_and_opening_are_neither_lost_nor_twice() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.slow = True
        client.say({"type": "subscribe", "id": 1, "channel": "news"})
        await settle()
        await w.broker.execute()  # the broker relays from now on, and its answer is on its way
        w.broker.slow = False
        late = w.publish("news", 1, 2)
        await late
        await w.broker.flow()
        heard = client.heard()
        assert heard[0]["offset"] == 2, "the reply tells where it stands"
        await w.publish("news", 3)
        await settle()
        assert offsets(client.heard()) == [3]


async def test_what_was_read_of_an_old_epoch_is_not_given_out_as_the_new_one() -> None:
    async with world() as w:
        start = await five_published(w, keep_ring=False)
        client = w.connect()
        w.broker.held = {"history"}
        client.say({"type": "subscribe", "id": 1, "channel": "news", "since": start})
        await settle()
        w.node.on_publications("news", "another", [Publication(id="x", data=b"6", time_ms=0, offset=6)])
        await w.broker.flow()
        w.broker.held.clear()
        (reply,) = client.heard()
        assert (reply["epoch"], reply["offset"], reply["recovered"]) == ("another", 6, False)
        since_new = {"epoch": "another", "offset": 3}
        heard = await w.connect().ask({"type": "subscribe", "id": 1, "channel": "news", "since": since_new})
        assert (len(heard), heard[0]["recovered"]) == (1, False)


# -- connect with a session ---------------------------------------------------------------------


async def lost_session(w: World, user: str, *channels: str) -> tuple[str, dict[str, Event]]:
    """Return the session of a lost connection and its positions."""
    client = w.connect(user)
    positions = {name: since(await client.subscribe(name)) for name in channels}
    client.lose()
    await settle()
    return client.session.session, positions


async def resume(client: Client, session: str, positions: dict[str, Event]) -> list[Event]:
    return await client.ask({"type": "connect", "id": 3, "session": session, "since": positions})


@pytest.mark.parametrize("slow", [False, True])
async def test_connect_resumes_every_channel_and_its_reply_comes_first(slow: bool) -> None:
    async with world() as w:
        session, positions = await lost_session(w, "alice", "news", "chat:1", "plain:1")
        await w.publish("news", "n1", "n2")
        await w.publish("chat:1", "c1")
        client = w.connect("alice")
        w.broker.slow = slow
        heard = await resume(client, session, positions)
        await w.broker.flow()
        heard += client.heard()
        reply = heard[0]
        assert (reply["type"], reply["id"], reply["session"]) == ("reply", 3, session)
        assert {s["channel"]: (s["offset"], s["recovered"]) for s in reply["subscriptions"]} == {
            "news": (2, True),
            "chat:1": (1, True),
            "plain:1": (0, True),
        }
        messages = [(e["channel"], e["data"]) for e in heard if e["type"] == "message"]
        assert sorted(messages) == [("chat:1", "c1"), ("news", "n1"), ("news", "n2")]
        assert client.session.channels == {"news", "chat:1", "plain:1", "@alice"}
        assert client.session.session == session
        client.lose()
        w.broker.slow = False
        await w.broker.flow()
        again = await resume(w.connect("alice"), session, {})
        assert [s["channel"] for s in again[0]["subscriptions"]] == ["chat:1", "news", "plain:1"]
        assert all("recovered" not in s for s in again[0]["subscriptions"])


async def test_connect_without_session_or_with_its_own_is_answered_and_does_nothing() -> None:
    async with world() as w:
        client = w.connect()
        for command in (
            {"type": "connect", "id": 1},
            {"type": "connect", "id": 1, "session": client.session.session},
        ):
            assert await client.ask(command) == [
                {"type": "reply", "id": 1, "session": client.session.session, "subscriptions": []}
            ]


async def test_session_of_another_user_is_refused_and_left_to_its_owner() -> None:
    async with world() as w:
        session, positions = await lost_session(w, "alice", "news")
        for thief in (w.connect("bob"), w.connect()):
            heard = await resume(thief, session, positions)
            assert [e.get("code") for e in heard] == ["permission_denied"]
            assert "news" not in thief.session.channels
        assert (await resume(w.connect("alice"), session, positions))[0]["type"] == "reply"


async def test_session_is_resumed_once_and_not_after_its_time() -> None:
    async with world(resume_ttl_s=10.0) as w:
        session, positions = await lost_session(w, "", "news")
        assert (await resume(w.connect(), session, positions))[0]["type"] == "reply"
        assert (await resume(w.connect(), session, positions))[0]["code"] == "unauthorized"
        session, positions = await lost_session(w, "", "news")
        w.time.advance(10.0)
        assert (await resume(w.connect(), session, positions))[0]["code"] == "unauthorized"


async def test_no_session_is_kept_where_resuming_is_off() -> None:
    async with world(resume_ttl_s=0.0) as w:
        await lost_session(w, "", "news")
        assert w.broker.stats()["sessions"] == 0


async def test_end_of_a_resumed_client_is_told_with_the_session_it_went_on_as() -> None:
    async with world() as w:
        session, positions = await lost_session(w, "alice", "news")
        told: list[Told] = []
        w.node.listener = Notices(
            frozenset({"disconnect"}), told.append, wall_ms=lambda: 0, random_id=w.node.random_id
        )
        client = w.connect("alice")
        assert (await resume(client, session, positions))[0]["type"] == "reply"
        feared = msgspec.msgpack.decode(told[-1].notice, type=Notice)
        client.lose()
        came = msgspec.msgpack.decode(told[-1].notice, type=Notice)
        assert [what.did for what in told] == [Did.ENTER, Did.ENTER, Did.EXIT]
        assert feared.id == came.id
        assert [json.loads(each.body)["session"] for each in (feared, came)] == [session, session]


@pytest.mark.parametrize(("code", "kept"), [(1000, 1), (1006, 1), (4000, 0), (4099, 0), (4100, 1), (4200, 1)])
async def test_whether_a_session_is_kept_depends_on_the_close_code(code: int, kept: int) -> None:
    async with world() as w:
        client = w.connect()
        client.connection.close(code, "")
        assert w.broker.stats()["sessions"] == kept


@pytest.mark.parametrize("call", ["subscribe", "history"])
async def test_resume_that_failed_can_be_tried_again_in_full(call: str) -> None:
    async with world() as w:
        session, positions = await lost_session(w, "alice", "news", "other")
        await w.publish("news", 1)
        await w.sweep()
        w.broker.faults[call] = BrokerUnavailableError("down")
        client = w.connect()
        client.lose()
        client = _connected_despite(w, call)
        heard = await resume(client, session, positions)
        assert [e.get("code") for e in heard] == ["unavailable"]
        assert client.session.channels <= {"@alice"}
        assert client.session.session != session
        w.broker.faults.clear()
        heard = await resume(client, session, positions)
        assert heard[0]["type"] == "reply"
        assert [s["recovered"] for s in heard[0]["subscriptions"]] == [True, True]
        assert offsets(heard) == [1]


def _connected_despite(w: World, call: str) -> Client:
    fault = w.broker.faults.pop(call)
    client = w.connect("alice")
    w.broker.faults[call] = fault
    return client


async def test_connection_lost_while_it_resumes_leaves_the_session_for_the_next() -> None:
    async with world() as w:
        session, positions = await lost_session(w, "alice", "news")
        await w.sweep()
        client = w.connect("alice")
        w.broker.slow = True
        client.say({"type": "connect", "id": 1, "session": session, "since": positions})
        await settle()
        await w.broker.execute()
        w.broker.reply()
        await settle()
        assert w.broker.methods_sent == ["subscribe"]
        client.lose()
        w.broker.slow = False
        await w.broker.flow()
        heard = await resume(w.connect("alice"), session, positions)
        assert [s["channel"] for s in heard[0]["subscriptions"]] == ["news"]


async def test_resuming_more_channels_than_allowed_is_refused() -> None:
    async with world(max_channels=3) as w:
        session, positions = await lost_session(w, "", "a", "b", "c")
        client = w.connect()
        await client.subscribe("d")
        heard = await resume(client, session, positions)
        assert [e.get("code") for e in heard] == ["limit_exceeded"]
        assert client.session.channels == {"d"}


async def test_channel_that_falls_idle_while_others_are_opened_is_opened_again() -> None:
    async with world() as w:
        session, positions = await lost_session(w, "", "a", "b")
        await w.sweep()
        await w.broker.flow()
        client = w.connect()
        w.broker.slow = True
        client.say({"type": "connect", "id": 1, "session": session, "since": positions})
        for _ in ("take_session", "subscribe"):
            await settle()
            await w.broker.execute()
            w.broker.reply()
        await settle()
        assert w.node.hub.get("a") is not None
        await w.sweep(15)  # nobody is subscribed to it yet
        assert w.node.hub.get("a") is None
        w.broker.slow = False
        await w.broker.flow()
        (reply,) = client.heard()
        assert [s["recovered"] for s in reply["subscriptions"]] == [True, True]
        await w.publish("a", 1)
        await settle()
        assert offsets(client.heard()) == [1]


async def lagging(w: World, channel: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Event, list[Any]]:
    """Publish three messages, of which the node hears the first; return where they begin, and the others."""
    start = since(await w.connect().subscribe(channel))
    await w.publish(channel, 1)
    held: list[Any] = []
    monkeypatch.setattr(w.node, "on_publications", lambda *what: held.append(what))
    await w.publish(channel, 2, 3)
    await settle()
    monkeypatch.undo()
    return start, held


@pytest.mark.parametrize("channel", ["news", "plain:x"])
async def test_client_that_knows_more_than_this_node_is_not_sent_back(
    channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it comes from another node to one that was stopped or cut off."""
    async with world() as w:
        start, held = await lagging(w, channel, monkeypatch)
        client = w.connect()
        client.say({"type": "subscribe", "id": 1, "channel": channel, "since": {**start, "offset": 3}})
        await settle()
        assert client.heard()[1:] == [], "to nothing but the hello it is not told yet where it stands"
        for what in held:
            w.node.on_publications(*what)
        w.time.advance(0.1)
        await settle()
        heard = client.heard()
        assert [(e["type"], e["offset"], e["recovered"]) for e in heard] == [("reply", 3, True)]
        await w.publish(channel, 4)
        await settle()
        assert offsets(client.heard()) == [4]


async def test_client_that_knows_a_newer_epoch_than_this_node_is_not_sent_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        start, held = await lagging(w, "news", monkeypatch)
        w.node.on_position("news", "an older life", 7)
        client = w.connect()
        client.say({"type": "subscribe", "id": 1, "channel": "news", "since": {**start, "offset": 2}})
        await settle()
        assert client.heard() == []
        epoch, publications = held[0][1], [p for what in held for p in what[2]]
        w.node.on_publications("news", epoch, publications)
        w.time.advance(0.1)
        await settle()
        heard = client.heard()
        assert (heard[0]["type"], heard[0]["epoch"], heard[0]["recovered"]) == ("reply", epoch, True)
        assert offsets(heard) == [3]


async def test_clients_of_an_epoch_that_is_over_share_a_read_and_are_told() -> None:
    async with world() as w:
        start = await five_published(w, keep_ring=True)
        clients = [w.connect() for _ in range(20)]
        w.broker.calls.clear()
        w.broker.slow = True
        for client in clients:
            client.say({"type": "subscribe", "id": 1, "channel": "news", "since": {**start, "epoch": "over"}})
        await w.broker.flow()
        assert [c.heard()[0]["recovered"] for c in clients] == [False] * 20
        assert w.broker.calls == ["history"]
        late = await w.connect().subscribe("news", since={**start, "epoch": "over"})
        assert late["recovered"] is False
        assert w.broker.calls == ["history"], "such an epoch never comes back"


async def test_client_that_knows_more_than_this_node_is_refused_when_that_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        start, _ = await lagging(w, "news", monkeypatch)
        client = w.connect()
        client.say({"type": "subscribe", "id": 1, "channel": "news", "since": {**start, "offset": 3}})
        for _ in range(30):
            await settle()
            w.time.advance(0.1)
        await settle()
        heard = client.heard()
        assert (heard[-1]["type"], heard[-1]["code"]) == ("error", "unavailable")
        assert not w.node.hub.get("news").cursors.get(client.id)  # type: ignore[union-attr]
