"""Buckets, percentiles and the plot."""

import pytest

from gateway.bench.histogram import Histogram, duration, lower_bound_ns

BUCKETS = 2560


def histogram(**counts: int) -> Histogram:
    """Name buckets by their number: b5=2 are two values in bucket 5."""
    filled = [0] * BUCKETS
    for name, count in counts.items():
        filled[int(name[1:])] = count
    return Histogram(filled)


def test_buckets_are_exact_up_to_128_and_then_within_a_sixtyfourth() -> None:
    assert [lower_bound_ns(i) for i in range(129)] == list(range(129))
    for i in range(128, BUCKETS - 1):
        low, high = lower_bound_ns(i), lower_bound_ns(i + 1)
        assert low < high <= low * 65 / 64
    assert lower_bound_ns(128 + 64) == 256


def test_percentiles_are_upper_bounds_of_what_so_many_do_not_exceed() -> None:
    values = histogram(b10=50, b20=49, b200=1)
    assert values.percentile_ns(50) == 10
    assert values.percentile_ns(50.1) == 20
    assert values.percentile_ns(99) == 20
    assert values.percentile_ns(100) == lower_bound_ns(201) - 1
    assert next(iter(values.percentiles())) == "50"
    assert values.percentiles()["100"] == values.percentile_ns(100)


def test_the_mean_weighs_buckets_by_their_counts() -> None:
    assert histogram(b10=3, b20=1).mean_ns() == pytest.approx(12.5)


def test_nothing_recorded_gives_zeros_and_no_plot() -> None:
    empty = histogram()
    assert (empty.percentile_ns(99), empty.mean_ns(), empty.plot(), empty.sparse()) == (0, 0, "", [])


def test_sparse_tells_lower_bounds_and_counts_of_what_was_hit() -> None:
    assert histogram(b7=2, b128=5).sparse() == [(7, 2), (128, 5)]


def test_the_plot_has_a_full_bar_for_the_most_and_shares_that_sum_to_all() -> None:
    lines = histogram(b100=75, b900=24, b1500=1).plot(width=10).splitlines()
    assert len(lines) <= 17
    assert "█" * 10 in lines[0]
    shares = [float(line.split()[-2]) for line in lines if line.endswith("%")]
    assert sum(shares) == pytest.approx(100)
    assert "1.00 %" in lines[-1]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (850, "850 ns"),
        (12_345, "12.3 µs"),
        (999_900, "1000 µs"),
        (4.56e6, "4.56 ms"),
        (2e9, "2 s"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(ns: float, text: str) -> None:
    assert duration(ns) == text
