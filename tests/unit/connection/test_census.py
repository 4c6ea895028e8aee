"""Connections of several processes, counted in memory that they share: exact, and gone with their process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from gateway.connection._census import PAGE_BYTES, Census, capacity_for, make_memory, part_bytes

MOST = 16


@pytest.fixture
def fd() -> Iterator[int]:
    """Memory for three processes."""
    fd = make_memory(3, MOST)
    yield fd
    os.close(fd)


def three(fd: int, most: int = MOST) -> list[Census]:
    return [Census(fd, processes=3, me=n, most=most) for n in range(3)]


def test_each_sees_what_all_have_added(fd: int) -> None:
    first, second, third = three(fd)
    assert [first.add("a:1"), second.add("a:1"), third.add("a:1"), first.add("a:1")] == [1, 2, 3, 4]
    assert second.add("u:1") == 1
    first.take("a:1")
    second.take("a:1")
    second.take("a:1")  # it has none any more
    assert third.add("a:1") == 3
    assert [len(census) for census in (first, second, third)] == [1, 1, 1]


def test_connections_of_all_are_compared_with_the_bound(fd: int) -> None:
    first, second, _ = three(fd)
    assert first.judge(10) == 10 - MOST
    assert second.judge(8) == 2
    assert first.total() == 18
    assert first.judge(6) == -2


@pytest.mark.parametrize("seed", range(5))
def test_it_counts_as_a_dictionary_does_whatever_comes_and_goes(fd: int, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    all_of = three(fd)
    here: list[Counter[str]] = [Counter() for _ in all_of]
    names = [f"a:{n}" for n in range(40)]
    for _ in range(4000):
        n = dice.randrange(3)
        name = dice.choice(names)
        if dice.random() < 0.5 and here[n].total() < 2 * MOST:
            here[n][name] += 1
            assert all_of[n].add(name) == sum(counter[name] for counter in here)
        elif here[n][name]:
            here[n][name] -= 1
            all_of[n].take(name)
        assert len(all_of[n]) == len(+here[n])
    for n, counter in enumerate(here):
        for name in counter.elements():
            all_of[n].take(name)
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(PAGE_BYTES)
        assert not any(file.read())  # nothing is left of names that went


def test_process_that_is_gone_counts_no_more_when_it_is_cleared(fd: int) -> None:
    script = (
        "import os, sys; from gateway.connection._census import Census;"
        f"c = Census(int(sys.argv[1]), processes=3, me=1, most={MOST});"
        "c.judge(9); [c.add('a:1') for _ in range(9)]; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(fd)], pass_fds=(fd,), timeout=60, check=False)
    assert done.returncode == -9
    first, _, third = three(fd)
    assert (first.add("a:1"), first.total()) == (10, 9)
    third.clear(1)
    assert (first.add("a:1"), first.total()) == (2, 0)


def test_more_names_than_there_is_room_for_are_let_in_uncounted_and_harm_nobody(fd: int) -> None:
    census = three(fd)[0]
    room = capacity_for(MOST)
    assert {census.add(f"a:{n}") for n in range(room + 10)} == {1}
    assert len(census) == room
    assert census.add("a:3") == 2
    for n in range(room + 10):
        census.take(f"a:{n}")
    assert len(census) == 1


def test_memory_is_taken_only_as_it_is_used() -> None:
    fd = make_memory(9, 1_000_000)
    try:
        census = Census(fd, processes=9, me=0, most=1_000_000)
        census.add("a:1")
        assert os.fstat(fd).st_size == PAGE_BYTES + 9 * part_bytes(1_000_000) > 500 << 20
        assert os.fstat(fd).st_blocks * 512 < 1 << 20
    finally:
        os.close(fd)


def test_number_of_a_process_that_there_is_not_is_refused(fd: int) -> None:
    with pytest.raises(ValueError, match="no such process"):
        Census(fd, processes=3, me=3, most=MOST)
