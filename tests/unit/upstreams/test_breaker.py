"""The breaker: its states as a story, and as a machine that no order of events can confuse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.breaker import Breaker, BreakerState
from gateway.upstreams.options import BreakerOptions

OPTIONS = BreakerOptions(failures=3, share=0.5, window_s=10.0, least=6, open_s=2.0, open_most_s=5.0, probes=2)


def run(breaker: Breaker, now: float, *results: bool | None) -> None:
    for ok in results:
        breaker.end(breaker.begin(now), now, ok=ok)


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(OPTIONS)
    run(breaker, 0.0, False, False, True, False, False)
    assert breaker.allows(0.0)
    run(breaker, 0.0, False)
    assert not breaker.allows(1.9)
    assert breaker.opened == 1
    assert breaker.retry_in(0.5) == 1.5


def test_a_large_share_of_failures_opens_it() -> None:
    breaker = Breaker(OPTIONS)
    run(breaker, 0.0, True, False, True, False, True)
    assert breaker.allows(0.0)
    run(breaker, 0.0, False)
    assert not breaker.allows(0.0)


def test_failures_that_left_the_window_do_not_count() -> None:
    breaker = Breaker(OPTIONS)
    run(breaker, 0.0, True, False, True, False, True)
    run(breaker, 10.1, False)
    assert breaker.allows(10.1)


def test_half_open_lets_few_through_and_closes_when_all_went_well() -> None:
    breaker = Breaker(OPTIONS)
    run(breaker, 0.0, False, False, False)
    assert breaker.state(2.0) is BreakerState.HALF_OPEN
    one, two = breaker.begin(2.0), breaker.begin(2.0)
    assert not breaker.allows(2.0)
    breaker.end(one, 2.1, ok=True)
    assert not breaker.allows(2.1), "one that went well and one under way are all the probes there are"
    breaker.end(two, 2.2, ok=True)
    assert breaker.state(2.2) is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker = Breaker(OPTIONS)
    run(breaker, 0.0, False, False, False)
    run(breaker, 2.0, False)
    assert not breaker.allows(5.9)
    run(breaker, 6.0, False)
    assert not breaker.allows(10.9), "4 s doubled are bounded to 5 s"
    run(breaker, 11.0, True, True)
    run(breaker, 11.0, False, False, False)
    assert breaker.state(13.0) is BreakerState.HALF_OPEN, "closed in between, it begins anew with 2 s"


def test_a_probe_that_was_given_up_makes_room_for_another() -> None:
    breaker = Breaker(OPTIONS)
    run(breaker, 0.0, False, False, False)
    run(breaker, 2.0, None, None, None)
    assert breaker.allows(2.0)


def test_what_began_before_it_opened_does_not_count_as_a_probe() -> None:
    breaker = Breaker(OPTIONS)
    late = breaker.begin(0.0)
    run(breaker, 0.0, False, False, False)
    assert breaker.state(2.0) is BreakerState.HALF_OPEN
    breaker.end(late, 2.0, ok=False)
    assert breaker.state(2.0) is BreakerState.HALF_OPEN


_EVENT = st.one_of(
    st.just("begin"), st.tuples(st.integers(0, 9), st.sampled_from([True, False, None])), st.floats(0.01, 3.0)
)


@given(st.lists(_EVENT, max_size=150))
def test_whatever_happens_probes_are_bounded_and_it_never_stays_shut(
    events: list[str | tuple[int, bool | None] | float],
) -> None:
    breaker, now, under_way = Breaker(OPTIONS), 0.0, list[tuple[int, bool]]()
    for event in events:
        if isinstance(event, float):
            now += event
        elif event == "begin":
            if breaker.allows(now):
                probe = breaker.state(now) is BreakerState.HALF_OPEN
                under_way.append((breaker.begin(now), probe))
        elif under_way and isinstance(event, tuple):
            turn, _ = under_way.pop(event[0] % len(under_way))
            breaker.end(turn, now, ok=event[1])
        assert sum(probe and turn == breaker.turn for turn, probe in under_way) <= OPTIONS.probes
    for turn, _ in under_way:
        breaker.end(turn, now, ok=None)
    assert breaker.allows(now + OPTIONS.open_most_s)
