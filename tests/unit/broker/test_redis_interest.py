"""What follows for a channel from what pub/sub brings, from breaks, and from what is read."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker.interface import ChannelOptions, HistoryPage
from gateway.broker.redis.interest import (
    HELD_MESSAGES,
    Announce,
    Deliver,
    Interest,
    Mark,
    Read,
    Renew,
    State,
    Step,
)
from gateway.message.publication import Position, Publication


def numbered(*offsets: int) -> list[Publication]:
    return [Publication(id=f"m{offset}", data=b"1", time_ms=0, offset=offset) for offset in offsets]


def page(epoch: str, top: int, *offsets: int, complete: bool = True) -> HistoryPage:
    return HistoryPage(numbered(*offsets), Position(epoch, top), complete)


def nothing(epoch: str, top: int) -> HistoryPage:
    return page(epoch, top, complete=False)


def short(steps: list[Step]) -> list[Any]:
    """Return steps as what tests compare: delivered offsets, announced positions, names."""
    found: list[Any] = []
    for step in steps:
        if isinstance(step, Deliver):
            found += [(step.epoch, publication.offset) for publication in step.publications]
        elif isinstance(step, Announce):
            found.append(("lost to", *step.position))
        elif isinstance(step, Read):
            found.append("read")
        else:
            found.append(step)
    return found


def live(epoch: str = "e", offset: int = 5) -> Interest:
    interest = Interest(ChannelOptions())
    interest.confirmed()
    interest.read(interest.turn, nothing(epoch, offset))
    assert interest.state is State.LIVE
    return interest


def deliver(interest: Interest, first: int, count: int = 1, epoch: str = "e") -> list[Any]:
    return short(interest.published(epoch, first, numbered(*range(first, first + count))))


def test_first_position_drops_what_it_holds_already_and_keeps_what_follows() -> None:
    interest = Interest(ChannelOptions())
    assert short(interest.confirmed()) == ["read"]
    for first in (4, 5, 6, 7):
        assert deliver(interest, first) == []
    assert short(interest.read(interest.turn, nothing("e", 5))) == [("e", 6), ("e", 7)]
    assert deliver(interest, 8, 2) == [("e", 8), ("e", 9)]
    assert interest.position == Position("e", 9)


def test_hole_is_read_and_what_came_behind_it_follows() -> None:
    interest = live()
    assert deliver(interest, 8) == ["read"]
    assert deliver(interest, 9) == []
    assert short(interest.read(interest.turn, page("e", 9, 6, 7, 8, 9))) == [("e", n) for n in (6, 7, 8, 9)]
    assert deliver(interest, 10) == [("e", 10)]


def test_hole_that_history_does_not_have_is_announced_up_to_what_came() -> None:
    interest = live()
    assert deliver(interest, 8, 2) == ["read"]
    assert short(interest.read(interest.turn, nothing("e", 9))) == [("lost to", "e", 7), ("e", 8), ("e", 9)]


def test_loss_after_which_nothing_came_is_announced_up_to_the_top() -> None:
    interest = live()
    interest.interrupted()
    assert short(interest.confirmed()) == ["read"]
    assert short(interest.read(interest.turn, nothing("e", 9))) == [("lost to", "e", 9)]
    assert deliver(interest, 9) == [], "it was on its way"
    assert deliver(interest, 10) == [("e", 10)]


def test_long_history_is_read_page_by_page() -> None:
    interest = live()
    deliver(interest, 10)
    assert short(interest.read(interest.turn, page("e", 10, 6, 7))) == [("e", 6), ("e", 7), "read"]
    assert short(interest.read(interest.turn, page("e", 10, 8, 9, 10))) == [("e", n) for n in (8, 9, 10)]


def test_break_makes_a_read_that_is_under_way_worthless() -> None:
    interest = live()
    deliver(interest, 8)
    turn = interest.turn
    interest.interrupted()
    assert interest.read(turn, page("e", 8, 6, 7, 8)) == []
    assert short(interest.confirmed()) == ["read"]
    assert interest.read(turn, page("e", 8, 6, 7, 8)) == []
    assert short(interest.read(interest.turn, page("e", 9, 6, 7, 8, 9)))[-1] == ("e", 9)


def test_count_that_went_back_ends_the_life_when_a_message_shows_it() -> None:
    interest = live()
    assert deliver(interest, 6) == [("e", 6)]
    assert deliver(interest, 3) == [Renew("e")]
    assert short(interest.read(interest.turn, nothing("f", 0))) == [("lost to", "f", 0)]
    assert deliver(interest, 1, epoch="f") == [("f", 1)]


@pytest.mark.parametrize("how", ["read", "compared"])
def test_count_that_went_back_ends_the_life_when_a_position_shows_it(how: str) -> None:
    interest = live()
    if how == "read":
        interest.interrupted()
        interest.confirmed()
        assert interest.read(interest.turn, nothing("e", 4)) == [Renew("e")]
    else:
        assert interest.compare(Position("e", 4), Position("e", 5)) == [Renew("e")]


def test_position_that_is_older_than_messages_that_came_meanwhile_means_nothing() -> None:
    interest = live()
    before = interest.position
    assert before is not None
    deliver(interest, 6, 3)
    assert interest.compare(Position("e", 7), before) == []
    assert interest.state is State.LIVE


def test_epoch_that_had_ended_and_is_back_is_ended_again() -> None:
    interest = live()
    interest.renewed("f")
    interest.interrupted()
    interest.confirmed()
    assert interest.read(interest.turn, nothing("e", 5)) == [Renew("e")]


def test_message_of_a_life_that_ended_is_late() -> None:
    interest = live()
    assert short(interest.renewed("f")) == [("lost to", "f", 0)]
    assert deliver(interest, 6, epoch="e") == []
    assert deliver(interest, 1, epoch="f") == [("f", 1)]


def test_new_life_is_delivered_from_its_first_publication() -> None:
    assert deliver(live(), 1, 2, epoch="f") == [("f", 1), ("f", 2)]


def test_new_life_of_which_the_beginning_is_missing_is_read_from_there() -> None:
    interest = live()
    assert deliver(interest, 3, epoch="f") == [("lost to", "f", 0), "read"]
    assert short(interest.read(interest.turn, page("f", 3, 1, 2, 3))) == [("f", 1), ("f", 2), ("f", 3)]


def test_what_is_missing_is_read_only_when_a_mark_behind_it_came() -> None:
    interest = live()
    assert interest.compare(Position("e", 7), Position("e", 5)) == [Mark(Position("e", 7))]
    deliver(interest, 6, 2)
    assert interest.marked(Position("e", 7)) == [], "it had been on its way"
    interest.compare(Position("e", 9), Position("e", 7))
    assert short(interest.marked(Position("e", 9))) == ["read"]


def test_no_more_is_held_than_the_bound_and_the_rest_is_read() -> None:
    interest = live()
    interest.interrupted()
    interest.confirmed()
    for n in range(HELD_MESSAGES + 10):
        deliver(interest, 6 + n)
    assert short(interest.read(interest.turn, page("e", 6, 6)))[:2] == [("e", 6), "read"]
    top = 5 + HELD_MESSAGES + 10
    steps = short(interest.read(interest.turn, page("e", top, *range(7, 7 + 20))))
    assert steps == [*(("e", n) for n in range(7, 27)), "read"]
