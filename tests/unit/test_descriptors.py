"""How many connections fit, under limits that a process of its own sets for itself."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource, sys
from gateway.descriptors import connections_that_fit
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(connections_that_fit(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def run(soft: int, hard: int, wanted: int) -> tuple[int, int]:
    """Ask in a process of its own, whose limits can be set at will."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(soft), str(hard), str(wanted)],
        capture_output=True,
        text=True,
        check=True,
    )
    fitting, limit = done.stdout.split()
    return int(fitting), int(limit)


def test_soft_limit_is_raised_as_far_as_needed() -> None:
    assert run(256, 4000, 1000) == (1000, 1128)


def test_hard_limit_bounds_the_connections() -> None:
    assert run(256, 500, 1000) == (372, 500)


def test_limit_that_is_high_enough_is_left_alone() -> None:
    assert run(3000, 4000, 1000) == (1000, 3000)


def test_there_is_always_one_connection() -> None:
    assert run(100, 100, 1000) == (1, 100)
