"""A client's channels, in simulated time: the rows of their table, positions, duplicates, losses."""

from __future__ import annotations

from gateway.client.results import (
    Ended,
    Joined,
    Left,
    Lost,
    Member,
    Message,
    Patched,
    Position,
    StateSet,
    Subscribed,
)
from tests.support.client_engine import ClientWorld, Ear, Event, message


def live(w: ClientWorld, channel: str = "news", offset: int = 0) -> Ear:
    """Return a listener of a channel that is subscribed."""
    ear = w.listen(channel)
    w.grant(offset=offset)
    ear.heard()
    return ear


def refuse(w: ClientWorld, code: str, retry: bool) -> None:
    """Answer the one command that was sent with an error."""
    (command,) = w.sent()
    w.say({"type": "error", "id": command["id"], "code": code, "message": "no", "retry": retry})


def since(command: Event) -> tuple[str, int]:
    """Return the position that a subscribe named."""
    return command["since"]["epoch"], command["since"]["offset"]


# -- subscribing and unsubscribing ----------------------------------------------------------------


def test_channel_is_subscribed_when_there_is_a_connection_and_not_before() -> None:
    w = ClientWorld()
    ear = w.listen("news")
    assert w.sent() == []
    w.come_online()
    assert w.grant(offset=5) == {"type": "subscribe", "id": 1, "channel": "news"}
    assert ear.heard() == [Subscribed("news", Position("e1", 5), None)]


def test_token_of_a_channel_is_shown_whenever_it_is_subscribed() -> None:
    w = ClientWorld()
    shown = "for-the-room"
    w.engine.channels.add("room:1", Ear(), token=shown)
    w.come_online()
    assert w.grant()["token"] == shown
    w.come_back()
    assert w.grant(recovered=True)["token"] == shown


def test_listeners_of_one_channel_share_a_subscription_that_ends_with_the_last() -> None:
    w = ClientWorld()
    w.come_online()
    first, second = live(w), w.listen("news")
    assert w.sent() == []
    assert second.heard() == [Subscribed("news", Position("e1", 0), None)]
    w.say(message(1))
    assert (first.data(), second.data()) == ([1], [1])
    channel = w.engine.channels._channels["news"]
    w.engine.channels.remove(channel, first)
    w.say(message(2))
    assert (w.sent(), first.data(), second.data()) == ([], [], [2])
    w.engine.channels.remove(channel, second)
    (command,) = w.sent()
    assert (command["type"], command["channel"]) == ("unsubscribe", "news")
    w.say(message(3))
    assert (second.data(), w.stray) == ([], [])
    w.say({"type": "reply", "id": command["id"], "channel": "news"})
    assert len(w.engine.channels) == 0


def test_listener_that_comes_while_the_channel_is_left_is_subscribed_anew_and_from_then_on() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.say(message(1))
    w.engine.channels.remove(w.engine.channels._channels["news"], ear)
    (left,) = w.sent()
    late = w.listen("news")
    w.say(message(2))
    assert (w.sent(), late.heard()) == ([], [])
    w.say({"type": "reply", "id": left["id"], "channel": "news"})
    assert "since" not in w.grant(offset=2)
    w.say(message(3))
    assert late.data() == [3]


def test_channel_that_nobody_wants_any_more_when_it_is_granted_is_left() -> None:
    w = ClientWorld()
    w.come_online()
    ear = w.listen("news")
    w.engine.channels.remove(w.engine.channels._channels["news"], ear)
    w.grant()
    assert [command["type"] for command in w.sent()] == ["unsubscribe"]
    assert ear.heard() == []


def test_refused_channel_ends_and_can_be_asked_for_again() -> None:
    w = ClientWorld()
    w.come_online()
    ear = w.listen("news")
    refuse(w, "permission_denied", retry=False)
    (ended,) = ear.heard()
    assert isinstance(ended, Ended)
    assert (ended.error.code, ended.error.retry) == ("permission_denied", False)
    assert len(w.engine.channels) == 0
    w.listen("news")
    assert len(w.sent()) == 1


def test_channel_that_is_refused_for_the_moment_is_asked_for_again_ever_more_rarely() -> None:
    w = ClientWorld()
    w.come_online()
    ear = w.listen("news")
    times = []
    for _ in range(3):
        began = w.timers.now
        refuse(w, "unavailable", retry=True)
        while not w.port.out:
            w.advance(0.05)
        times.append(round(w.timers.now - began, 1))
    assert times == [0.3, 0.5, 1.0]
    w.grant()
    assert ear.heard() == [Subscribed("news", Position("e1", 0), None)]


def test_channel_that_rests_can_be_left_and_lost() -> None:
    w = ClientWorld()
    w.come_online()
    ear = w.listen("news")
    refuse(w, "unavailable", retry=True)
    w.engine.channels.remove(w.engine.channels._channels["news"], ear)
    assert len(w.engine.channels) == 0
    w.listen("other")
    refuse(w, "unavailable", retry=True)
    w.come_back()
    assert [command["channel"] for command in w.sent()] == ["other"]
    w.advance(5)
    assert w.sent() == [], "the timer is gone"


def test_unsubscribe_that_is_refused_for_the_moment_is_repeated_and_nothing_is_told() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.engine.channels.remove(w.engine.channels._channels["news"], ear)
    refuse(w, "unavailable", retry=True)
    w.say(message(1))
    w.advance(1)
    (command,) = w.sent()
    assert command["type"] == "unsubscribe"
    w.say({"type": "reply", "id": command["id"]})
    assert (len(w.engine.channels), ear.heard(), w.stray) == (0, [], [])


def test_unsubscribe_that_waits_ends_with_the_connection() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.engine.channels.remove(w.engine.channels._channels["news"], ear)
    refuse(w, "unavailable", retry=True)
    w.come_back()
    w.advance(5)
    assert (w.sent(), len(w.engine.channels)) == ([], 0)


def test_subscription_that_the_gateway_ends_is_told_or_made_again() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.say({"type": "unsubscribed", "channel": "news", "code": "unavailable"})
    w.advance(1)
    assert since(w.grant(recovered=True)) == ("e1", 0)
    ear.heard()
    w.say({"type": "unsubscribed", "channel": "news", "code": "permission_revoked"}, message(1))
    (ended,) = ear.heard()
    assert isinstance(ended, Ended)
    assert ended.error.code == "permission_revoked"


# -- positions --------------------------------------------------------------------------------------


def test_channel_goes_on_where_it_stopped_and_repeats_nothing() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w, offset=3)
    w.say(message(4), message(5), message(5), message(4))
    assert ear.data() == [4, 5]
    w.come_back()
    assert since(w.grant(offset=8, recovered=True)) == ("e1", 5)
    assert ear.heard() == [Subscribed("news", Position("e1", 8), True)]
    w.say(*(message(n) for n in (5, 6, 7, 8, 9)))
    assert ear.data() == [6, 7, 8, 9]


def test_holes_in_the_offsets_are_no_loss() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.say(message(1), message(7))
    assert ear.data() == [1, 7]


def test_recovery_that_failed_is_told_with_what_is_known_of_it() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w, offset=3)
    w.come_back()
    w.grant(offset=900, recovered=False)
    here = Position("e1", 900)
    assert ear.heard() == [Lost("news", "resume", 4, 900), Subscribed("news", here, False)]
    w.say(message(900), message(901))
    assert ear.data() == [901]
    w.come_back()
    w.grant(epoch="e2", offset=2, recovered=False)
    assert ear.heard() == [Lost("news", "resume"), Subscribed("news", Position("e2", 2), False)]
    w.say(message(3))
    assert ear.data() == [3]


def test_connection_lost_before_the_reply_loses_no_position() -> None:
    w = ClientWorld()
    w.come_online()
    live(w, offset=3)
    w.come_back()
    w.sent()
    w.come_back()
    assert since(w.grant(recovered=True)) == ("e1", 3)


def test_gap_is_told_and_moves_the_position() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.say({"type": "gap", "channel": "news", "from": 1, "to": 4, "reason": "slow"}, message(4), message(5))
    lost, heard = ear.heard()
    assert lost == Lost("news", "slow", 1, 4)
    assert heard[1] == 5
    w.say({"type": "gap", "channel": "news", "epoch": "e2", "reason": "lost"}, message(1, "anew"))
    assert ear.heard()[0] == Lost("news", "lost")
    w.come_back()
    assert since(w.grant(recovered=True)) == ("e2", 1)


def test_application_can_begin_at_a_position() -> None:
    w = ClientWorld()
    w.come_online()
    ear = w.listen("news", Position("e1", 12))
    assert since(w.grant(offset=13, recovered=True)) == ("e1", 12)
    w.say(message(13))
    assert ear.data() == [13]


def test_who_comes_with_a_position_while_another_is_asked_for_is_told_that_it_was_not_met() -> None:
    w = ClientWorld()
    w.come_online()
    ear = w.listen("news")
    w.engine.channels.remove(w.engine.channels._channels["news"], ear)
    late = w.listen("news", Position("e1", 2))
    w.grant(offset=9)
    assert [type(event) for event in late.heard()] == [Lost, Subscribed]


def test_listener_that_is_behind_lets_the_channel_go_and_takes_it_up_where_it_stopped() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    channel = w.engine.channels._channels["news"]
    w.say(message(1))
    w.engine.channels.park(channel, ear, parked=True)
    (command,) = w.sent()
    w.say(message(2), {"type": "reply", "id": command["id"]})
    assert (command["type"], ear.data(), w.sent()) == ("unsubscribe", [1], [])
    w.engine.channels.park(channel, ear, parked=False)
    assert since(w.grant(offset=2, recovered=True)) == ("e1", 1)
    w.say(message(2))
    assert ear.data() == [2]


# -- state channels ---------------------------------------------------------------------------------


def state(version: int, value: object, epoch: str = "e1") -> dict[str, object]:
    return {"type": "state", "channel": "board", "epoch": epoch, "version": version, "data": value}


def patch(version: int, value: object) -> dict[str, object]:
    event = {"type": "patch", "channel": "board", "version": version, "id": f"p{version}", "time": 1}
    return {**event, "patch": value, "from": {"client": "c2"}}


def versions(ear: Ear) -> list[tuple[str, int]]:
    """Return what states and patches it was told, by their versions."""
    told = [event for event in ear.heard() if isinstance(event, StateSet | Patched)]
    return [(type(event).__name__, event.position.offset) for event in told]


def board(w: ClientWorld) -> Ear:
    ear = Ear()
    w.engine.channels.add("board", ear, is_state=True)
    return ear


def test_patches_are_told_in_their_order_and_none_twice_or_behind_a_hole() -> None:
    w = ClientWorld()
    w.come_online()
    ear = board(w)
    w.grant(offset=3)
    w.say(
        patch(3, {}), patch(4, {}), state(3, {"a": 1}), patch(3, {}), patch(4, {}), patch(4, {}), patch(6, {})
    )
    assert versions(ear) == [("StateSet", 3), ("Patched", 4)]
    w.say(state(7, {}), patch(8, {}))
    assert versions(ear) == [("StateSet", 7), ("Patched", 8)]


def test_state_channel_is_resumed_from_the_version_that_came_and_not_from_a_gap_or_a_reply() -> None:
    w = ClientWorld()
    w.come_online()
    ear = board(w)
    w.grant(offset=3)
    w.come_back()
    assert "since" not in w.grant(offset=3), "the state itself had not come"
    w.say(state(3, {}), {"type": "gap", "channel": "board", "from": 4, "to": 6, "reason": "lost"})
    w.come_back()
    assert since(w.grant(offset=6, recovered=True)) == ("e1", 3)
    w.say(patch(4, {}))
    assert versions(ear) == [("StateSet", 3), ("Patched", 4)]
    w.come_back()
    w.grant(epoch="e2", offset=1, recovered=False)
    w.say(patch(5, {}), state(1, {}, "e2"), patch(2, {}))
    assert versions(ear) == [("StateSet", 1), ("Patched", 2)]


def test_after_a_gap_patches_of_another_life_do_not_fit_by_chance() -> None:
    w = ClientWorld()
    w.come_online()
    ear = board(w)
    w.grant(offset=0)
    w.say(state(0, {}), {"type": "gap", "channel": "board", "epoch": "e2", "reason": "lost"})
    w.say(patch(1, {"of": "the new life"}))
    assert versions(ear) == [("StateSet", 0)]
    w.say(state(1, {"of": "the new life"}, "e2"), patch(2, {}))
    assert versions(ear) == [("StateSet", 1), ("Patched", 2)]


# -- what the gateway does by itself ------------------------------------------------------------------


def test_channel_that_an_app_service_subscribed_to_goes_to_the_stray() -> None:
    w = ClientWorld()
    w.come_online()
    w.say({"type": "subscribed", "channel": "room", "epoch": "e1", "offset": 1}, message(2, channel="room"))
    w.say(message(2, channel="room"), {"type": "unsubscribed", "channel": "room", "code": "unsubscribed"})
    assert [type(event).__name__ for event in w.stray] == ["Subscribed", "Message", "Ended"]


def test_channel_that_is_subscribed_already_is_left_and_taken_up_from_the_position() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w, offset=3)
    w.come_back()
    w.say(message(6))  # an app service subscribed us before we did
    refuse(w, "already_subscribed", retry=False)
    (command,) = w.sent()
    assert command["type"] == "unsubscribe"
    w.say({"type": "reply", "id": command["id"]})
    assert since(w.grant(offset=6, recovered=True)) == ("e1", 3)
    w.say(message(4), message(5), message(6))
    assert ear.data() == [4, 5, 6]


def test_personal_channel_is_heard_without_a_position_and_without_repetitions() -> None:
    w = ClientWorld()
    w.come_online(user="ann")
    ear = w.listen("@ann")
    refuse(w, "already_subscribed", retry=False)
    assert ear.heard() == [Subscribed("@ann", None, None)]
    w.say(message(1, channel="@ann"), message(2, channel="@ann"))
    w.come_back()
    w.say(message(2, channel="@ann"), message(3, channel="@ann"))
    assert ear.data() == [1, 2, 3]


def test_personal_channel_is_gone_on_with_and_what_came_before_the_answer_counts_once() -> None:
    w = ClientWorld()
    w.come_online(user="ann")
    ear = w.listen("@ann")
    w.say(message(1, channel="@ann"))  # nobody named a position: this is heard at once
    assert "since" not in w.grant(offset=1)
    w.say(message(2, channel="@ann"))
    assert ear.data() == [1, 2]
    w.come_back()
    w.say(message(5, channel="@ann"))
    assert since(w.grant(offset=5, recovered=True)) == ("e1", 2)
    w.say(*(message(number, channel="@ann") for number in (3, 4, 5, 6)))
    assert ear.data() == [3, 4, 5, 6]


def test_position_is_named_with_the_ids_that_the_client_had() -> None:
    w = ClientWorld()
    w.come_online(client="1")
    live(w)
    for number in range(2, 20):
        w.come_back(client=str(number))
        earlier = [str(n) for n in range(max(1, number - 8), number)]
        assert w.grant(recovered=True)["since"] == {"epoch": "e1", "offset": 0, "clients": earlier}


def test_message_to_this_client_alone_is_told_once() -> None:
    w = ClientWorld()
    w.come_online()
    for _ in range(2):
        w.say({"type": "message", "channel": "@#c1", "id": "x", "data": 1, "time": 1})
    assert [event.data for event in w.stray if isinstance(event, Message)] == [1]


def test_joins_and_leaves_are_told() -> None:
    w = ClientWorld()
    w.come_online()
    ear = live(w)
    w.say({"type": "join", "channel": "news", "client": "c2", "user": "bob", "info": {"a": 1}})
    w.say({"type": "leave", "channel": "news", "client": "c2", "user": "bob"})
    joined, left = ear.heard()
    assert joined == Joined("news", Member("c2", "bob", {"a": 1}))
    assert left == Left("news", Member("c2", "bob"))


def test_position_stays_small_and_ids_are_forgotten_in_time() -> None:
    w = ClientWorld()
    w.come_online()
    for number in range(20_000):
        w.say({"type": "message", "channel": "@#c1", "id": str(number), "data": 1, "time": 1})
    recent = w.engine.channels._recent
    assert len(recent._new) + len(recent._old) <= 8192
    assert len(w.stray) == 20_000


def test_position_is_named_with_the_last_message_and_the_mark_of_the_answer() -> None:
    w = ClientWorld()
    w.come_online()
    w.listen("news")
    w.grant(offset=0, mark="r1")
    w.come_back()
    assert w.grant(recovered=True, mark="r2")["since"] == {
        "epoch": "e1",
        "offset": 0,
        "mark": "r1",
    } | earlier(w)
    told = message(1)
    w.say(told)
    w.come_back()
    named = w.grant(offset=1, recovered=True, mark="r2")["since"]
    assert (named["offset"], named["id"], named["mark"]) == (1, told["id"], "r2")
    w.say({"type": "gap", "channel": "news", "from": 2, "to": 4, "reason": "lost"})
    w.come_back()
    named = w.grant(offset=4, recovered=True)["since"]
    assert (named["offset"], named["mark"]) == (4, "r2")
    assert "id" not in named  # nobody knows what is there


def earlier(w: ClientWorld) -> Event:
    return {"clients": ["c1"]}
