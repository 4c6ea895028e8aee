"""Message filters: what keeps a publication from whom, and how terms travel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message.filters import FILTERS, Filter, Terms, keep_away, read_terms

HEARS = {"room", "vip"}


@pytest.mark.parametrize(
    ("filters", "terms", "user", "kept"),
    [
        (["skip-self"], Terms(sender="ada"), "ada", True),
        (["skip-self"], Terms(sender="ada"), "bob", False),
        (["skip-self"], Terms(sender="ada"), "", False),
        (["skip-self"], Terms(), "", False),
        (["skip-users"], Terms(skip_users=("ada", "bob")), "bob", True),
        (["skip-users"], Terms(skip_users=("ada", "bob")), "eve", False),
        (["skip-users"], Terms(skip_users=("",)), "", False),
        (["require-sub"], Terms(require_sub="vip"), "", False),
        (["require-sub"], Terms(require_sub="board"), "", True),
        (["require-sub"], Terms(), "", False),
        (["skip-users", "require-sub"], Terms(sender="ada"), "ada", False),
        ([], Terms("ada", ("ada",), "board"), "ada", False),
        (FILTERS, Terms("ada", (), "vip"), "ada", True),
    ],
)
def test_who_is_spared(filters: list[Filter], terms: Terms, user: str, kept: bool) -> None:
    assert keep_away(filters, terms, user, HEARS) is kept


def test_terms_that_say_nothing_are_not_written() -> None:
    assert Terms().written() == ""


@given(st.text(), st.lists(st.text()), st.text())
def test_what_is_written_is_read(sender: str, users: list[str], channel: str) -> None:
    terms = Terms(sender, tuple(users), channel)
    assert read_terms(terms.written()) == terms


@given(st.text())
def test_any_other_text_keeps_nothing_from_anybody(text: str) -> None:
    for written in (text, "?" + text, '?["ada"', "?" * 10_000, "?" + "[" * 100_000):
        assert read_terms(written) == Terms() or written.startswith("?[")
    assert read_terms('?{"sender":"ada"}') == read_terms('?["ada",1]') == Terms()
