"""How old what a ring holds may be: marks that say up to which offset a channel was at what time.

It knows numbers only.  What came after a mark is younger than that mark, so a ring may serve it as long as
the mark is within the time for which publications are kept.  Of what lies between two marks nobody here
knows the age; the broker's history does.  What always holds: nothing that is too old is called fresh.
"""

from __future__ import annotations

from typing import Final

Marks = tuple[float, ...]
"""Times and offsets in turn, the oldest first; a tuple, since most channels have one mark or none."""

_MARKS: Final = 8
_LEAST_STEP_S: Final = 0.25


def mark(marks: Marks, now: float, offset: int, keep_s: float) -> Marks:
    """Return marks of which the newest is not long ago, and none older than `keep_s`."""
    if marks and now - marks[-2] < max(keep_s / _MARKS, _LEAST_STEP_S):
        return marks
    return (*_within(marks, now - keep_s), now, offset)


def fresh_after(marks: Marks, now: float, keep_s: float) -> float | None:
    """Return the least offset behind which everything is younger than `keep_s`; None where none is known."""
    within = _within(marks, now - keep_s)
    return within[1] if within else None


def _within(marks: Marks, oldest: float) -> Marks:
    at = 0
    while at < len(marks) and marks[at] <= oldest:
        at += 2
    return marks[at:]
