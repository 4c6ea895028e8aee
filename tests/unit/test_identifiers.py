"""Identifiers: as many as one likes, all different, all of one form."""

from __future__ import annotations

import re

from gateway.identifiers import ID_CHARS, RandomIds


def test_identifiers_differ_also_across_refills_and_sources() -> None:
    sources = [RandomIds(), RandomIds()]
    made = [source() for source in sources for _ in range(1000)]
    assert len(set(made)) == 2000


def test_identifiers_have_one_form_that_is_safe_in_a_url() -> None:
    source = RandomIds()
    assert all(re.fullmatch(rf"[A-Za-z0-9_-]{{{ID_CHARS}}}", source()) for _ in range(300))


def test_every_place_takes_every_character() -> None:
    source = RandomIds()
    columns = list(zip(*(source() for _ in range(3000)), strict=True))
    assert all(len(set(column)) == 64 for column in columns)
