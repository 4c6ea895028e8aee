"""The client's connection, in simulated time: every row of its table, back-off, tokens, signs of life."""

from __future__ import annotations

import pytest

from gateway.client.results import Status
from tests.support.client_engine import WALL_AHEAD_S, ClientWorld

SHOWN = "not.a.secret"
CALM_S = 100_000  # between signs of life, where a test is about something else


def waiting_s(w: ClientWorld) -> float:
    """Return in how many seconds the next attempt is, by waiting for it."""
    began = w.timers.now
    while w.state == "waiting":
        w.advance(0.01)
    return round(w.timers.now - began, 1)


# -- connecting and closing -------------------------------------------------------------------


def test_client_connects_is_let_in_and_closes() -> None:
    w = ClientWorld()
    assert str(w.connection.status) == "offline"
    w.connection.connect()
    assert (w.state, w.port.did()) == ("opening", ["open"])
    w.greet(user="ann")
    assert w.state == "online"
    w.engine.close()
    assert (w.state, w.port.did()) == ("idle", ["drop 1000"])
    assert w.statuses == [Status("connecting"), Status("online", client="c1", user="ann"), Status("offline")]
    assert w.timers.waiting == 0


@pytest.mark.parametrize("state", ["asking", "opening", "online", "waiting", "stopped"])
def test_closing_in_any_state_leaves_nothing_and_hears_nothing_any_more(state: str) -> None:
    w = ClientWorld(token=lambda: "t")
    w.connection.connect()
    if state != "asking":
        w.connection.token_came("t")
    if state == "online":
        w.greet()
    elif state == "waiting":
        w.lose()
    elif state == "stopped":
        w.lose(4002)
    assert w.state == state
    w.engine.close()
    w.port.did()
    w.connection.token_came("late")
    w.greet()
    w.lose()
    w.advance(100)
    assert (w.state, w.port.did(), w.timers.waiting) == ("idle", [], 0)


def test_attempt_that_takes_too_long_is_given_up_and_repeated() -> None:
    w = ClientWorld(connect_timeout=10.0)
    w.connection.connect()
    w.port.did()
    w.advance(9.9)
    assert w.state == "opening"
    w.advance(0.2)
    assert (w.state, w.port.did()) == ("waiting", ["drop 1000"])
    assert w.connection.status.reason == "no connection in time"
    w.advance(1)
    assert (w.state, w.port.did()) == ("opening", ["open"])


def test_application_that_asks_while_the_client_waits_or_stopped_connects_at_once() -> None:
    w = ClientWorld()
    w.connection.connect()
    for code, state in ((1006, "waiting"), (4002, "stopped")):
        w.lose(code)
        assert w.state == state
        w.port.did()
        w.connection.connect()
        assert (w.state, w.port.did()) == ("opening", ["open"])
        w.advance(1)
        assert w.port.did() == [], "the timer of the wait is gone"


def test_connecting_twice_is_connecting_once() -> None:
    w = ClientWorld()
    w.connection.connect()
    w.connection.connect()
    w.come_online()
    w.connection.connect()
    assert (w.state, w.port.did()) == ("online", [])


# -- what a close code asks for -----------------------------------------------------------------


@pytest.mark.parametrize("code", [4000, 4002, 4003, 4004, 4099, 403])
def test_client_that_is_refused_stops_and_says_why(code: int) -> None:
    w = ClientWorld()
    w.come_online()
    w.lose(code, "because")
    assert w.connection.status == Status("offline", code=code, reason="because")
    w.advance(1000)
    assert w.state == "stopped"


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4100, 4101, 4199, 4300, 404, 503])
def test_client_backs_off_and_comes_back(code: int) -> None:
    w = ClientWorld(backoff_first=1.0)
    w.come_online()
    w.advance(20)
    w.lose(code, "because")
    assert w.connection.status == Status("reconnecting", 1, code=code, reason="because")
    assert waiting_s(w) == 0.5
    assert w.state == "opening"


@pytest.mark.parametrize("code", [4200, 4201, 4203, 4299])
def test_client_comes_back_at_once(code: int) -> None:
    w = ClientWorld()
    w.come_online()
    w.advance(20)
    w.lose(code)
    assert (w.state, w.port.did()) == ("opening", ["drop 1000", "open"])


def test_gateway_that_always_says_at_once_is_not_hammered() -> None:
    w = ClientWorld(backoff_first=1.0, backoff_most=100.0)
    w.come_online()
    w.lose(4200)
    assert w.state == "opening", "once"
    waits = []
    for _ in range(4):
        w.greet()
        w.advance(1)
        w.lose(4200)
        waits.append(waiting_s(w))
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_waits_double_up_to_their_bound_and_begin_anew_after_a_stable_connection() -> None:
    w = ClientWorld(backoff_first=1.0, backoff_most=6.0)
    w.connection.connect()
    waits = []
    for _ in range(5):
        w.lose()
        waits.append(waiting_s(w))
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    w.greet()
    w.advance(5)
    w.lose()
    assert waiting_s(w) == 0.5


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 0.0), (0.25, 0.5), (0.999, 2.0)])
def test_jitter_is_full(dice: float, expected: float) -> None:
    w = ClientWorld(backoff_first=2.0)
    w.connection.connect()
    w.dice = dice
    w.lose()
    assert abs(waiting_s(w) - expected) < 0.05


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 1.0), (0.5, 8.0), (1.0, 15.0)])
def test_advice_of_the_gateway_says_when(dice: float, expected: float) -> None:
    w = ClientWorld()
    w.come_online()
    w.advance(20)
    w.dice = dice
    w.say({"type": "reconnect", "after": [1000, 15000], "reason": "drain"})
    assert w.state == "online"
    w.lose(4202)
    assert waiting_s(w) == expected
    w.greet()
    w.advance(20)
    w.lose(4202)
    assert w.state == "opening", "it was said once"


def test_advice_does_not_help_who_is_refused() -> None:
    w = ClientWorld()
    w.come_online()
    w.say({"type": "reconnect", "after": [1000, 15000], "reason": "drain"})
    w.lose(4004)
    assert w.state == "stopped"


def test_gateway_that_is_full_is_left_alone_for_as_long_as_it_says() -> None:
    w = ClientWorld(backoff_first=1.0)
    w.connection.connect()
    w.lose(503, wait_s=5.0)
    assert waiting_s(w) == 5.5


def test_seconds_to_the_next_attempt_are_counted_down() -> None:
    w = ClientWorld(backoff_first=6.0)
    w.connection.connect()
    w.lose()
    w.advance(10)
    told = [str(status) for status in w.statuses]
    assert told == ["connecting", *(f"reconnecting in {n} s" for n in (3, 2, 1)), "connecting"]


# -- tokens -----------------------------------------------------------------------------------------


def test_token_is_shown_at_every_attempt() -> None:
    w = ClientWorld(token=SHOWN)
    w.connection.connect()
    w.lose()
    w.advance(1)
    assert w.port.did() == [f"open {SHOWN}", "drop 1000", f"open {SHOWN}"]


def test_callback_is_asked_first_and_its_token_kept_while_it_is_good() -> None:
    w = ClientWorld(token=lambda: "")
    w.connection.connect()
    assert (w.state, w.port.did()) == ("asking", ["ask"])
    assert str(w.connection.status) == "connecting"
    w.connection.token_came("one")
    w.greet(expires=int(w.wall() + 1000), ping=CALM_S)
    w.come_back()
    assert w.port.did() == ["open one", "drop 1000", "open one"]


def test_token_that_is_about_to_end_is_renewed_while_the_connection_stands() -> None:
    w = ClientWorld(token=lambda: "")
    w.connection.connect()
    w.connection.token_came("one")
    w.greet(expires=int(w.wall() + 1000), ping=CALM_S)
    w.port.did()
    w.sent()
    w.advance(939)
    assert w.port.did() == []
    w.advance(2)
    assert w.port.did() == ["ask"]
    w.connection.token_came("two")
    command = w.sent()[-1]
    assert (command["type"], command["token"]) == ("connect", "two")
    w.say({"type": "reply", "id": command["id"], "session": "s1", "expires": int(w.wall() + 100)})
    w.advance(74)
    assert w.port.did() == []
    w.advance(2)
    assert w.port.did() == ["ask"], "three quarters of a short life"
    assert w.state == "online"


def test_token_is_not_renewed_without_a_connection() -> None:
    w = ClientWorld(token=lambda: "", backoff_first=400.0, backoff_most=400.0)
    w.connection.connect()
    w.connection.token_came("one")
    w.greet(expires=int(w.wall() + 100))
    w.lose()
    w.port.did()
    w.advance(150)
    assert (w.state, w.port.did()) == ("waiting", [])


def test_old_token_is_not_shown_again() -> None:
    w = ClientWorld(token=lambda: "")
    w.connection.connect()
    w.connection.token_came("one")
    w.greet(expires=int(w.wall() + 100))
    w.lose()
    w.port.did()
    w.advance(20)
    assert w.state == "opening"
    w.lose()
    w.advance(70)
    assert w.port.did()[-1] == "ask"


@pytest.mark.parametrize("code", [4001, 401])
def test_refused_token_is_replaced_once(code: int) -> None:
    w = ClientWorld(token=lambda: "")
    w.connection.connect()
    w.connection.token_came("one")
    w.greet(ping=CALM_S)
    w.advance(100)
    w.port.did()
    w.lose(code)
    assert w.port.did() == ["drop 1000", "ask"]
    w.connection.token_came("two")
    w.lose(code, "not this one either")
    assert w.state == "stopped"
    assert w.connection.status.reason == "not this one either"


def test_refused_token_without_a_callback_stops() -> None:
    w = ClientWorld(token=SHOWN)
    w.connection.connect()
    w.lose(4001)
    assert w.state == "stopped"


def test_callback_that_fails_is_asked_again_after_a_wait_and_one_without_a_token_stops() -> None:
    w = ClientWorld(token=lambda: "")
    w.connection.connect()
    w.connection.token_failed("the login service is down")
    assert w.connection.status.reason == "the login service is down"
    assert w.state == "waiting"
    w.advance(1)
    assert w.port.did() == ["ask", "ask"]
    w.connection.token_came(None)
    assert (w.state, w.connection.status.code) == ("stopped", 4001)


def test_renewed_token_that_is_refused_is_replaced() -> None:
    w = ClientWorld(token=lambda: "")
    w.connection.connect()
    w.connection.token_came("one")
    w.greet(expires=int(w.timers.now + WALL_AHEAD_S + 100), ping=CALM_S)
    w.advance(80)
    w.port.did()
    w.connection.token_came("two")
    w.say({"type": "error", "id": w.sent()[-1]["id"], "code": "unauthorized", "message": "", "retry": False})
    assert w.state == "stopped", "two was fresh, and refused"


# -- signs of life ------------------------------------------------------------------------------------


def test_quiet_gateway_is_pinged_and_one_that_does_not_answer_is_left_at_once() -> None:
    w = ClientWorld()
    w.come_online(ping=10.0)
    w.advance(9.9)
    assert w.sent() == []
    w.advance(0.2)
    assert w.sent() == [{"type": "ping"}]
    w.say({"type": "pong"})
    w.advance(9.9)
    assert w.sent() == []
    w.advance(0.2)
    assert w.sent() == [{"type": "ping"}]
    w.advance(9.8)
    assert w.state == "online"
    w.port.did()
    w.advance(0.2)
    assert (w.state, w.port.did()) == ("opening", ["drop 1000", "open"])


def test_gateway_that_speaks_is_not_pinged() -> None:
    w = ClientWorld()
    w.come_online(ping=10.0)
    for _ in range(10):
        w.advance(9)
        w.connection.heard()
    assert (w.sent(), w.state) == ([], "online")


def test_what_is_no_event_ends_the_connection_and_what_is_not_known_does_not() -> None:
    w = ClientWorld()
    w.come_online()
    w.say({"type": "novelty", "channel": "news"})
    assert w.state == "online"
    w.connection.received(b"{")
    assert (w.state, w.port.did()) == ("waiting", ["drop 1007"])
