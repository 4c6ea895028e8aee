"""The page of the benchmarks: verdicts on the targets, blocks between markers, figures, pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import cases, compare, own_tables, page, plots, targets
from bench.tables import FLOOR


def record(case: cases.Case, server: str, number: int, **figures: Any) -> dict[str, Any]:
    result = {
        "units": 10,
        "units_per_second": 1000.0,
        "server_cpu_us_per_unit": 2.0,
        "latency_ns": {"50": 1000, "99": 2000},
        "faults": [],
        "bottleneck": "",
    }
    return {
        "server": server,
        "case": case.title,
        "scenario": case.scenario,
        "round": number,
        "result": result | figures,
    }


def echoes(ours: Sequence[float], picows: Sequence[float] = ()) -> list[dict[str, Any]]:
    costs = {"Ringgate": ours, FLOOR: [1.0] * len(ours), "picows": picows}
    return [
        record(cases.ECHO, server, number, server_cpu_us_per_unit=cost)
        for server, each in costs.items()
        for number, cost in enumerate(each)
    ]


def first_row(records: list[dict[str, Any]]) -> targets.Row:
    return targets.rows(targets.Figures(records, []))[0]


@pytest.mark.parametrize(
    ("ours", "picows", "verdict"),
    [
        ([1.0, 1.1, 1.15], [2.0], "met"),
        ([1.0, 1.15, 1.16], [2.0], "met by the median, not in every round"),
        ([1.0, 1.1501, 9.0], [2.0], "**missed**"),
        ([1.1], [1.1], "**missed**"),  # not below picows
        ([1.1], [], "met where measured"),
        ([], [], targets.NOT_MEASURED),
    ],
)
def test_a_row_is_met_when_the_median_of_the_rounds_and_every_part_is(
    ours: list[float], picows: list[float], verdict: str
) -> None:
    assert first_row(echoes(ours, picows)).verdict == verdict


def test_figures_are_rounded_against_us_and_told_with_their_range() -> None:
    assert targets.at_most([1.001, 1.151, 1.3], 1.15, "x").text == "1.16 x (1.01 to 1.30)"
    assert targets.at_least([7.999], 8.0, "x").text == "7.99 x"
    assert targets.at_least([7.999], 8.0, "x").met is False
    assert targets.at_most([3160.0], 2500, "B").text == "3,160 B"


def test_rows_that_were_not_measured_are_listed_as_such() -> None:
    rows = targets.rows(targets.Figures([], []))
    assert {row.verdict for row in rows} == {targets.NOT_MEASURED}
    assert len({row.key for row in rows}) == len(rows) == 14


def test_a_miss_is_told_with_its_profile_and_without_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "echo-1.md").write_text("It is the echo.\n")
    rows = targets.rows(targets.Figures(echoes([2.0], [1.0]), []))
    text = own_tables.misses(rows, tmp_path)
    assert text.endswith("It is the echo.")
    assert text.startswith(
        "### echo, 64 B, 1 in flight, 100 connections: server CPU per message\n\n2.00 x the"
    )
    assert own_tables.misses(rows, tmp_path / "none").endswith("There is no profile of it yet.")
    assert own_tables.misses(targets.rows(targets.Figures([], [])), tmp_path) == "None in this run."


def test_blocks_are_replaced_and_the_prose_stays() -> None:
    text = "before\n<!-- measured: a -->\nold\n<!-- end: a -->\nafter\n"
    new = page.filled(text, {"a": "new\n"})
    assert new == "before\n<!-- measured: a -->\nnew\n<!-- end: a -->\nafter\n"
    assert page.filled(new, {"a": "new"}) == new


def test_a_block_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="measured: b"):
        page.filled("nothing here", {"b": "x"})


def test_published_figures_hold_the_median_and_each_round() -> None:
    about = {"machine": {}, "pinned": {}, "time": "now", "arguments": []}
    (result,) = page.condensed(about | {"records": echoes([3.0, 1.0, 2.0])[:3]})["results"]
    assert result["median"]["server_cpu_us_per_unit"] == 2.0
    assert [one["server_cpu_us_per_unit"] for one in result["rounds"]] == [3.0, 1.0, 2.0]
    assert result["median"]["p99_us"] == 2.0


def test_what_failed_is_published_without_figures_and_not_drawn() -> None:
    failed = record(cases.ECHO, "gone", 0) | {"result": {"faults": ["gone does not listen"]}}
    about = {"machine": {}, "pinned": {}, "time": "now", "arguments": []}
    (result,) = page.condensed(about | {"records": [failed]})["results"]
    assert result["median"] == {}
    assert result["rounds"] == [{"round": 0, "faults": ["gone does not listen"]}]
    assert plots.costs([failed], cases.ECHO) == {}


def test_a_curve_says_what_was_not_measured() -> None:
    one = cases.Case("fanout", 10, in_flight=1)
    text = page.grid([record(one, "Ringgate", 0)], [10])
    assert "| 10 | 2 µs | not measured yet | not measured yet |" in text


def test_an_svg_refers_to_nothing_outside() -> None:
    made = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd">\n'
        '<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg">\n'
        '<metadata><a href="http://purl.org/"/></metadata><use xlink:href="#m"/></svg>'
    )
    text = plots.clean_svg(made, "A & B")
    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg">\n <title>A &amp; B</title>')
    assert text.count("://") == 1
    assert '<use href="#m"/>' in text


def test_code_that_changes_during_a_run_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    before = compare.fingerprint(tmp_path)
    assert compare.fingerprint(tmp_path) == before
    (tmp_path / "a.py").write_text("x = 2")
    assert compare.fingerprint(tmp_path) != before


def test_a_run_goes_on_where_one_was_broken_off(tmp_path: Path) -> None:
    earlier = {
        "records": [*echoes([1.0]), record(cases.FANOUT, "Ringgate", 0), record(cases.IDLE, "Ringgate", 0)],
        "done": {cases.ECHO.title: "this code", cases.IDLE.title: "older code"},
        "notes": ["noted"], "time": "then", "arguments": ["--full"],
    }  # fmt: skip
    path = tmp_path / "compare.json"
    path.write_text(json.dumps(earlier))
    wanted = [cases.ECHO, cases.FANOUT, cases.IDLE]

    result: dict[str, Any] = {"records": [], "done": {}, "notes": []}
    assert compare.take_over(result, path, wanted, "this code") == [cases.FANOUT, cases.IDLE]
    assert {r["case"] for r in result["records"]} == {cases.ECHO.title}
    assert result["done"] == {cases.ECHO.title: "this code"}
    assert result["notes"][0] == "noted"

    kept: dict[str, Any] = {"records": [], "done": {}, "notes": []}
    assert compare.take_over(kept, path, [cases.ECHO], "") == [cases.ECHO]
    assert {r["case"] for r in kept["records"]} == {cases.FANOUT.title, cases.IDLE.title}
    assert compare.take_over(kept, tmp_path / "none", wanted, "x") == wanted
