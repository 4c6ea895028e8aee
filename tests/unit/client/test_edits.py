"""A copy of a state with edits on top: merged, sent one by one, rebased, ended once; and copies that
converge.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.edits import Conflict, Edit, Edits
from gateway.client.errors import RinggateError
from gateway.client.merge import merge, overlaps
from gateway.client.results import Position

STALE = "stale_version"
# RFC 7396, appendix A.
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("value", "patch", "expected"), EXAMPLES)
def test_merge_does_what_the_rfc_says_and_changes_nothing_in_place(
    value: Any, patch: Any, expected: Any
) -> None:
    before = repr((value, patch))
    assert merge(value, patch) == expected
    assert repr((value, patch)) == before


def test_overlaps_are_paths_of_which_one_lies_in_the_other() -> None:
    assert overlaps({"a": {"b": 1}, "c": 2}, {"a": {"b": 3, "d": 4}, "e": 5}) == [("a", "b")]
    assert overlaps({"a": None}, {"a": {"b": 3}}) == [("a", "b")]
    assert overlaps({"a": 1}, {"b": 1}) == []
    assert overlaps(5, {"b": 1}) == [("b",)]


class Copy:
    """One copy, and what it did."""

    def __init__(self) -> None:
        self.sent: list[tuple[Edit, Position]] = []
        self.values: list[Any] = []
        self.conflicts: list[Conflict] = []
        self.ends: list[Any] = []
        self.edits = Edits(self._send, lambda: self.values.append(self.edits.value), self.conflicts.append)

    def _send(self, edit: Edit, base: Position) -> None:
        self.sent.append((edit, base))

    def add(self, patch: Any) -> Edit:
        edit = Edit(patch, f"k{len(self.ends)}", self.ends.append)
        self.edits.add(edit)
        return edit

    def set(self, version: int, value: Any, epoch: str = "e1") -> None:
        self.edits.set(Position(epoch, version), value)

    def patched(self, version: int, patch: Any, *, mine: bool = False, epoch: str = "e1") -> None:
        self.edits.patched(Position(epoch, version), patch, mine=mine)

    def stale(self, edit: Edit, version: int, value: Any, epoch: str = "e1") -> None:
        self.edits.answered(edit, RinggateError(STALE), (Position(epoch, version), value))


def counted(value: Any) -> Any:
    return {"n": (value or {}).get("n", 0) + 1}


def test_function_makes_its_patch_anew_of_what_somebody_else_was_faster_with() -> None:
    copy = Copy()
    copy.set(1, {"n": 1})
    copy.add(counted)
    copy.add(counted)
    assert copy.edits.value == {"n": 3}
    (edit, base) = copy.sent[-1]
    assert (edit.patch, base.offset) == ({"n": 2}, 1)
    stale = RinggateError(STALE, retry=False)
    copy.edits.answered(edit, stale, (Position("e1", 2), {"n": 7}))
    assert copy.edits.value == {"n": 9}
    (edit, base) = copy.sent[-1]
    assert (edit.patch, base.offset) == ({"n": 8}, 2)
    assert copy.conflicts == [], "a function is never at odds with what others did"
    copy.edits.patched(Position("e1", 3), {"n": 8}, mine=True)
    copy.edits.answered(edit, Position("e1", 3))
    assert copy.sent[-1][0].patch == {"n": 9}
    assert (copy.ends, copy.edits.value) == ([3], {"n": 9})


def test_function_that_fails_costs_its_own_edit_alone() -> None:
    copy = Copy()
    copy.set(1, {"n": 1})
    with pytest.raises(ZeroDivisionError):
        copy.add(lambda value: 1 / 0)
    first = copy.add({"a": 1})
    copy.add(lambda value: {"twice": value["n"] * 2})
    copy.add({"b": 1})
    copy.edits.patched(Position("e1", 2), {"a": 1}, mine=True)
    assert copy.sent[-1][0].patch == {"twice": 2}
    copy.edits.answered(copy.sent[-1][0], RinggateError(STALE, retry=False), (Position("e1", 3), {}))
    assert (first.acknowledged, copy.edits.value) == (Position("e1", 2), {"b": 1})
    assert [end.code for end in copy.ends if isinstance(end, RinggateError)] == ["aborted"]
    assert copy.sent[-1][0].patch == {"b": 1}


def test_edit_is_seen_at_once_and_sent_one_after_the_other() -> None:
    c = Copy()
    first = c.add({"a": 1})
    assert (c.edits.value, c.sent) == ({"a": 1}, [])
    c.set(3, {"z": 0})
    second = c.add({"b": 2})
    assert c.edits.value == {"z": 0, "a": 1, "b": 2}
    assert c.sent == [(first, Position("e1", 3))]
    c.edits.answered(first, Position("e1", 4))
    assert (c.ends, len(c.sent)) == ([4], 1), "its patch has not come back"
    c.patched(4, {"a": 1}, mine=True)
    assert c.sent[1:] == [(second, Position("e1", 4))]
    assert (c.edits.confirmed, c.edits.value) == ({"z": 0, "a": 1}, {"z": 0, "a": 1, "b": 2})


def test_patch_that_comes_back_before_the_reply_ends_the_edit_once() -> None:
    c = Copy()
    c.set(0, None)
    edit = c.add({"a": 1})
    c.patched(1, {"a": 1}, mine=True)
    assert c.edits.pending == []
    c.patched(2, {"a": 2})
    assert (c.edits.value, c.conflicts) == ({"a": 2}, [])
    c.edits.answered(edit, Position("e1", 1))
    assert c.ends == [1]


def test_edit_that_came_too_late_is_sent_again_on_what_it_lost_to() -> None:
    c = Copy()
    c.set(0, {})
    edit = c.add({"a": 1})
    c.stale(edit, 2, {"b": 2})
    assert c.sent[1:] == [(edit, Position("e1", 2))]
    assert (c.edits.value, c.ends) == ({"b": 2, "a": 1}, [])
    c.stale(edit, 2, {"b": 2})
    assert len(c.sent) == 3


def test_edit_that_met_another_life_waits_for_its_state() -> None:
    c = Copy()
    c.set(4, {})
    edit = c.add({"a": 1})
    c.stale(edit, 9, {"b": 2}, epoch="e2")
    assert len(c.sent) == 1
    c.set(9, {"b": 2}, epoch="e2")
    assert c.sent[1:] == [(edit, Position("e2", 9))]


def test_refused_edit_is_taken_back() -> None:
    c = Copy()
    c.set(0, {})
    edit = c.add({"a": 1})
    c.add({"b": 2})
    c.edits.answered(edit, RinggateError("limit_exceeded"))
    assert (c.edits.value, [error.code for error in c.ends]) == ({"b": 2}, ["limit_exceeded"])
    assert len(c.sent) == 2


def test_conflict_is_told_and_mine_wins_unless_it_is_dropped_or_replaced() -> None:
    c = Copy()
    c.set(0, {})
    c.add({"a": 1})
    c.add({"b": 1})
    c.patched(1, {"a": 5, "c": 5})
    (conflict,) = c.conflicts
    assert (conflict.mine, conflict.theirs, conflict.paths) == ({"a": 1}, {"a": 5, "c": 5}, [("a",)])
    assert c.edits.value == {"a": 1, "b": 1, "c": 5}
    conflict.replace({"a": [5, 1]})
    assert c.edits.value == {"a": [5, 1], "b": 1, "c": 5}
    conflict.drop()
    conflict.drop()
    assert c.edits.value == {"a": 5, "b": 1, "c": 5}
    assert [error.code for error in c.ends] == [STALE]


def test_everything_ends_with_the_handle() -> None:
    c = Copy()
    c.set(0, {})
    edits = [c.add({"a": n}) for n in range(3)]
    c.edits.clear(RinggateError("closed"))
    c.edits.answered(edits[0], Position("e1", 1))
    assert [error.code for error in c.ends] == ["closed"] * 3


class FakeGateway:
    """A state, and copies of it whose connections are queues that can be cut: what is not taken then is
    lost.
    """

    def __init__(self, dice: random.Random, copies: int) -> None:
        self.dice = dice
        self.version = 0
        self.value: Any = {}
        self.log: list[tuple[Any, int]] = []
        self.keys: dict[str, int] = {}
        self.made = 0
        self.copies = [Copy() for _ in range(copies)]
        self.up: list[deque[tuple[Edit, Position]]] = [deque() for _ in self.copies]
        self.down: list[deque[Any]] = [deque() for _ in self.copies]
        for n, copy in enumerate(self.copies):
            copy.edits._send = lambda edit, base, n=n: self.up[n].append((edit, base))
            copy.set(0, {})

    def step(self) -> None:
        n = self.dice.randrange(len(self.copies))
        action = self.dice.random()
        if action < 0.3:
            self.made += 1
            name, value = self.dice.choice("abc"), self.dice.choice([None, self.made, {"x": self.made}])
            copy = self.copies[n]
            edit = Edit({name: value}, f"k{self.made}", copy.ends.append)
            copy.edits.add(edit)
        elif action < 0.6:
            self.serve(n)
        elif action < 0.95:
            self.deliver(n)
        else:
            self.cut(n)

    def serve(self, n: int) -> None:
        """Carry out one update, as the gateway does."""
        if not self.up[n]:
            return
        edit, base = self.up[n].popleft()
        if edit.key in self.keys:
            answer: Any = Position("e1", self.keys[edit.key])
        elif base.offset == self.version:
            self.version += 1
            self.value = merge(self.value, edit.patch)
            self.keys[edit.key] = self.version
            self.log.append((edit.patch, n))
            for m, queue in enumerate(self.down):
                queue.append((self.version, edit.patch, m == n))
            answer = Position("e1", self.version)
        else:
            answer = RinggateError(STALE)
        current = (Position("e1", self.version), self.value)
        reply = (edit, answer, current)
        at = self.dice.choice([0, len(self.down[n])]) if isinstance(answer, Position) else len(self.down[n])
        self.down[n].insert(at, reply)

    def deliver(self, n: int) -> None:
        if not self.down[n]:
            return
        item, copy = self.down[n].popleft(), self.copies[n]
        if isinstance(item[0], Edit):
            copy.edits.answered(*item)
        elif copy.edits.at is not None and item[0] == copy.edits.at.offset + 1:
            copy.patched(item[0], item[1], mine=item[2])

    def cut(self, n: int) -> None:
        """Lose a connection, and resume: by patches, or by the whole state; what is not answered is
        repeated.
        """
        copy = self.copies[n]
        asked = [(item[0], None) for item in self.down[n] if isinstance(item[0], Edit)]
        again = [*asked, *self.up[n]]
        self.up[n].clear()
        self.down[n].clear()
        assert copy.edits.at is not None
        if self.dice.random() < 0.3:
            copy.set(self.version, self.value)
        else:
            for version in range(copy.edits.at.offset, self.version):
                patch, who = self.log[version]
                self.down[n].append((version + 1, patch, who == n))
        waiting = {edit.key for edit, _ in self.up[n]}
        for edit, base in again:
            if edit.key not in waiting:
                self.up[n].appendleft((edit, base or Position("e1", -1)))

    def settle(self) -> None:
        for _ in range(10_000):
            if not any(self.up) and not any(self.down):
                return
            for n in range(len(self.copies)):
                self.serve(n)
                self.deliver(n)
        raise AssertionError("it does not come to rest")


@given(seed=st.integers(0, 2**32), copies=st.integers(1, 5))
def test_copies_converge_whatever_is_edited_and_cut(seed: int, copies: int) -> None:
    gateway = FakeGateway(random.Random(seed), copies)  # noqa: S311
    for _ in range(150):
        gateway.step()
    gateway.settle()
    for copy in gateway.copies:
        assert copy.edits.at == Position("e1", gateway.version)
        assert copy.edits.value == copy.edits.confirmed == gateway.value
        assert copy.edits.pending == []
    versions = [end for copy in gateway.copies for end in copy.ends]
    assert sorted(versions) == list(range(1, gateway.made + 1)), "each edit once"
