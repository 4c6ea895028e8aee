"""Notices as they are made: who came and went, each channel once for all of its subscribers here."""

from __future__ import annotations

import itertools
import json

import msgspec

from gateway.asking import Caller
from gateway.broker.outbox import Did, Notice, Told
from gateway.hooks.notices import Notices

ADA = Caller(client="c1", session="s1", user="ada", remote="192.0.2.1:5000")
BOB = Caller(client="c2", session="s2", user="bob", remote="192.0.2.2:5000")


def listening(*kinds: str) -> tuple[Notices, list[Told]]:
    told: list[Told] = []
    numbers = itertools.count(1)
    notices = Notices(
        frozenset(kinds), told.append, wall_ms=lambda: 1_764_000_000_000, random_id=lambda: str(next(numbers))
    )
    return notices, told


def did(told: list[Told]) -> list[tuple[Did, str]]:
    return [(what.did, what.key) for what in told]


def test_channel_is_occupied_by_the_first_and_vacated_by_the_last_however_they_leave() -> None:
    notices, told = listening("channel_occupied", "channel_vacated")
    for who in (ADA, BOB):
        notices.connected(who)
        notices.subscribed(who, "room:1")
    assert did(told) == [(Did.OCCUPY, "room:1")]
    notices.disconnected(ADA, 1000, ["room:1"])
    assert did(told) == [(Did.OCCUPY, "room:1")], "bob is still there"
    notices.unsubscribed(BOB, "room:1")
    notices.subscribed(BOB, "room:1")
    notices.disconnected(BOB, 1006, ["room:1"])
    assert did(told)[1:] == [(Did.VACATE, "room:1"), (Did.OCCUPY, "room:1"), (Did.VACATE, "room:1")]


def test_end_of_a_client_has_the_id_of_what_would_be_told_if_its_gateway_died() -> None:
    notices, told = listening("disconnect")
    notices.connected(ADA)
    notices.subscribed(ADA, "room:1")
    notices.disconnected(ADA, 4004, ["room:1"])
    assert did(told) == [(Did.ENTER, "c1"), (Did.EXIT, "c1")]
    feared, came = (msgspec.msgpack.decode(what.notice, type=Notice) for what in told)
    assert feared.id == came.id
    assert (json.loads(feared.body)["code"], json.loads(came.body)["code"]) == (1006, 4004)
    assert json.loads(came.body)["channels"] == ["room:1"]


def test_end_of_a_client_that_goes_on_as_an_earlier_session_is_told_with_that_one_however_it_comes() -> None:
    notices, told = listening("disconnect")
    notices.connected(ADA)
    earlier = msgspec.structs.replace(ADA, session="s0")
    notices.resumed(earlier)
    notices.disconnected(earlier, 1000, [])
    assert did(told) == [(Did.ENTER, "c1"), (Did.ENTER, "c1"), (Did.EXIT, "c1")]
    before, feared, came = (msgspec.msgpack.decode(what.notice, type=Notice) for what in told)
    assert before.id == feared.id == came.id
    assert [json.loads(each.body)["session"] for each in (before, feared, came)] == ["s1", "s0", "s0"]


def test_nothing_is_told_that_nobody_asked_for() -> None:
    notices, told = listening("notices_lost")
    notices.connected(ADA)
    notices.resumed(ADA)
    notices.subscribed(ADA, "room:1")
    notices.unsubscribed(ADA, "room:1")
    notices.disconnected(ADA, 1000, [])
    assert told == []
