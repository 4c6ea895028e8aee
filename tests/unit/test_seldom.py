"""Lines that somebody else can bring about: logged now and then, and none is forgotten."""

from __future__ import annotations

from gateway.seldom import QUIET_S, Seldom


def test_first_line_is_logged_and_the_next_one_stands_for_those_that_were_not() -> None:
    now = 0.0
    seldom = Seldom(lambda: now)
    assert [seldom.times("expired") for _ in range(1000)] == [1] + [0] * 999
    now = QUIET_S
    assert seldom.times("expired") == 1000
    assert seldom.times("expired") == 0
    now = 3 * QUIET_S
    assert seldom.times("expired") == 2


def test_kinds_do_not_keep_each_other_quiet() -> None:
    seldom = Seldom(lambda: 0.0)
    assert [seldom.times(kind) for kind in ("a", "b", "a", "b")] == [1, 1, 0, 0]


def test_time_of_quiet_is_as_given() -> None:
    now = 0.0
    seldom = Seldom(lambda: now, quiet_s=1.0)
    for now, times in ((0.0, 1), (0.5, 0), (1.0, 2), (1.9, 0), (2.0, 2)):  # noqa: B007 - the clock reads it
        assert seldom.times() == times
