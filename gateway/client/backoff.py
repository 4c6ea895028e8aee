"""How long to wait before the next attempt, and what a close code asks for.  Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

Verdict = Literal["lost", "again", "refused"]
"""What the end of a connection asks for: another attempt after a wait, at once, or none."""

_MOST_DOUBLINGS: Final = 30


def verdict_of(code: int) -> Verdict:
    """Read a close code by its range (docs/protocol.md, "Close codes"); 1006: there was no close frame."""
    if 4000 <= code < 4100:
        return "refused"
    return "again" if 4200 <= code < 4300 else "lost"


def delay_s(attempt: int, first_s: float, most_s: float, random: Callable[[], float]) -> float:
    """Return the seconds to wait before attempt number `attempt`, from 0.

    Exponential back-off with full jitter: evenly spread between 0 and a bound that doubles from `first_s`
    up to `most_s`.  `random` gives numbers from 0 up to 1.
    """
    return random() * min(most_s, first_s * 2.0 ** min(attempt, _MOST_DOUBLINGS))


def advised_s(after_ms: tuple[int, int], random: Callable[[], float]) -> float:
    """Return the seconds to wait where the gateway said between which two (milliseconds)."""
    least, most = after_ms
    return (least + random() * max(0, most - least)) / 1000.0
