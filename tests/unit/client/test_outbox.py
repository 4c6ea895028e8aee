"""Outgoing commands, in simulated time: kept while offline, sent once, in order, and settled once."""

from __future__ import annotations

import pytest

from gateway.client.errors import RinggateError
from gateway.client.incoming import Reply
from tests.support.client_engine import ClientWorld, Event


def datas(commands: list[Event]) -> list[object]:
    return [command["data"] for command in commands]


def accept(w: ClientWorld, command: Event, offset: int = 1) -> None:
    w.say({"type": "reply", "id": command["id"], "channel": "news", "epoch": "e1", "offset": offset})


def fail(w: ClientWorld, command: Event, code: str, retry: bool) -> None:
    w.say({"type": "error", "id": command["id"], "code": code, "message": "no", "retry": retry})


def test_what_is_published_offline_is_sent_in_order_after_the_subscriptions() -> None:
    w = ClientWorld()
    w.listen("news")
    for number in (1, 2, 3):
        w.publish(number)
    assert w.sent() == []
    w.come_online()
    subscribe, *published = w.sent()
    assert subscribe["type"] == "subscribe"
    assert datas(published) == [1, 2, 3]
    for offset, command in enumerate(published, 1):
        accept(w, command, offset)
    assert (w.answered(), len(w.engine.outbox)) == ([1, 2, 3], 0)


def test_what_was_not_answered_is_repeated_with_its_id_and_key_before_what_came_later() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1)
    w.publish(2)
    first, second = w.sent()
    accept(w, first)
    w.lose()
    w.publish(3)
    w.come_back()
    assert w.sent()[0] == second
    assert w.answered() == [1]
    accept(w, second, 2)
    accept(w, second, 2)  # nobody waits for it any more
    assert w.answered() == [2]


def test_time_to_live_ends_what_waits_and_tells_whether_it_was_sent() -> None:
    w = ClientWorld()
    w.publish(1, ttl_s=5.0)
    w.come_online()
    w.publish(2, ttl_s=5.0)
    w.lose()
    w.dice = 1.0
    w.publish(3, ttl_s=5.0)
    w.advance(6)
    assert all(isinstance(answer, RinggateError) and answer.code == "expired" for answer in w.answers)
    assert [getattr(answer, "unknown", None) for answer in w.answers] == [True, True, False]
    w.come_back()
    assert w.sent()[2:] == [], "what has ended is not sent again"
    assert w.timers.waiting == 1, "that of the heartbeat"


def test_queue_is_bounded_and_says_so_at_once() -> None:
    w = ClientWorld(max_queued=2)
    w.publish(1)
    w.publish(2)
    with pytest.raises(RinggateError, match="queue_full") as caught:
        w.publish(3)
    assert caught.value.retry
    w.come_online()
    accept(w, w.sent()[0])
    w.publish(4)


def test_only_so_many_are_on_their_way_at_once() -> None:
    w = ClientWorld()
    w.come_online()
    for number in range(300):
        w.publish(number)
    sent = w.sent()
    assert len(sent) == 256
    accept(w, sent[0])
    assert datas(w.sent()) == [256]


def test_order_is_kept_over_a_break_also_among_what_was_not_sent_yet() -> None:
    w = ClientWorld()
    w.come_online()
    for number in range(300):
        w.publish(number)
    first, *_ = w.sent()
    accept(w, first)
    assert datas(w.sent()) == [256]
    w.come_back()
    again = w.sent()
    while len(again) < 299:
        accept(w, again[len(again) - 256])
        again += w.sent()
    assert datas(again) == list(range(1, 300))


def test_error_that_may_be_none_later_is_waited_for_and_its_channel_waits_with_it() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1)
    (first,) = w.sent()
    fail(w, first, "unavailable", retry=True)
    w.publish(2)
    w.publish("elsewhere", channel="other")
    assert datas(w.sent()) == ["elsewhere"]
    w.advance(0.3)
    again, second = w.sent()
    assert (again, second["data"]) == (first, 2)
    accept(w, again, 7)
    assert w.answered() == [7]


def test_lost_connection_ends_the_wait_of_what_was_refused_for_the_moment() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1)
    fail(w, w.sent()[0], "rate_limited", retry=True)
    w.dice = 0.0
    w.come_back()
    assert datas(w.sent()) == [1]
    w.advance(1)
    assert w.sent() == []


def test_error_for_good_is_told() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1)
    fail(w, w.sent()[0], "permission_denied", retry=False)
    assert w.answered() == ["permission_denied"]


@pytest.mark.parametrize(("code", "unknown"), [("timeout", True), ("internal", True), ("unavailable", False)])
def test_command_that_does_not_persist_is_told_every_error(code: str, unknown: bool) -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1, persist=False)
    fail(w, w.sent()[0], code, retry=True)
    (answer,) = w.answers
    assert isinstance(answer, RinggateError)
    assert (answer.retry, answer.unknown) == (True, unknown)


def test_command_that_must_not_be_repeated_is_not() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1, repeat=False)
    w.sent()
    w.lose()
    (answer,) = w.answers
    assert isinstance(answer, RinggateError)
    assert (answer.code, answer.unknown) == ("disconnected", True)
    w.publish(2, repeat=False)
    w.come_back()
    assert datas(w.sent()) == [2], "this one was never sent before"


def test_nothing_is_repeated_for_longer_than_a_gateway_knows_its_key() -> None:
    w = ClientWorld()
    w.come_online(ping=1000.0)
    w.publish(1, ttl_s=1000.0)
    w.sent()
    w.advance(241)
    w.come_back()
    assert w.sent() == []
    assert w.answered() == ["expired"]


def test_message_that_is_too_big_does_not_end_one_connection_after_another() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish("small")
    w.publish("x" * 1000)
    w.sent()
    w.lose(1009)
    assert w.answered() == ["limit_exceeded"]
    w.come_back()
    assert datas(w.sent()) == ["small"]


def test_command_that_the_application_gives_up_is_not_sent() -> None:
    w = ClientWorld()
    entry = w.publish(1)
    w.publish(2)
    w.engine.outbox.cancel(entry)
    w.engine.outbox.cancel(entry)
    w.come_online()
    assert datas(w.sent()) == [2]
    assert (w.answers, len(w.engine.outbox)) == ([], 1)


def test_closing_breaks_off_everything_once() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1)
    w.lose()
    w.publish(2)
    w.engine.close()
    assert w.answered() == ["closed", "closed"]
    assert w.timers.waiting == 0


def test_command_put_in_by_an_answer_is_sent() -> None:
    w = ClientWorld()
    w.come_online()
    w.publish(1)
    entry = next(iter(w.engine.outbox._flying.values()))

    def again(answer: Reply | RinggateError) -> None:
        w.publish(2)

    entry.answer = again
    accept(w, w.sent()[0])
    assert datas(w.sent()) == [2]
