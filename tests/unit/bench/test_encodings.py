"""The benchmark of encodings: every encoding says the same."""

from __future__ import annotations

import pytest

from bench import encodings


@pytest.fixture(scope="module")
def measured(node: str) -> encodings.Measured:
    return encodings.measure(0.0005)  # the script compares what each codec reads


def test_every_case_is_measured_in_every_way(measured: encodings.Measured) -> None:
    for case in measured["cases"]:
        assert set(case["ways"]) == {f"{name}{how}" for name in encodings.CODECS for how in ("", "+deflate")}
        assert set(case["javascript"]) == set(encodings.CODECS)
        assert all(way["broadcast_us"] > 0 for way in case["ways"].values())
        assert all(cost > 0 for costs in case["javascript"].values() for cost in costs.values())


def test_small_messages_are_smaller_in_binary_and_never_deflated(measured: encodings.Measured) -> None:
    ways = measured["cases"][0]["ways"]
    sizes = {name: way["wire_bytes"] for name, way in ways.items()}
    assert sizes["protobuf"] < sizes["msgpack"] < sizes["json"]
    assert all(sizes[name] == sizes[f"{name}+deflate"] for name in encodings.CODECS)


def test_tables_are_deflated(measured: encodings.Measured) -> None:
    ways = measured["cases"][3]["ways"]
    for name in encodings.CODECS:
        assert ways[f"{name}+deflate"]["wire_bytes"] < ways[name]["wire_bytes"] / 4
        assert ways[f"{name}+deflate"]["inflate_us"] > 0


def test_tables_of_the_page_have_a_row_for_each_case(measured: encodings.Measured) -> None:
    about = {"time": "now", "machine": {"cpu": "this", "python": "3"}}
    text = encodings.table(measured, about)
    assert all(text.count(f"| {case.name}, ") == 3 for case in encodings.CASES)
