"""Restarts of a Redis that says it loses nothing, and whether it did.

An append-only file that is not written with each command (`appendfsync everysec`) ends some commands before
the last acknowledged one when the machine fails.  The server comes back with an older offset, and offsets
above it would mean two publications.  So each run of the server notes, for each channel, the offset that it
began with; who has heard a later offset in an earlier run knows that the count went back, whatever was
published since.

Knows nothing of connections or scripts.  What always holds: a count that went back below what was heard shows
at the first look after the restart, also after several restarts.
"""

from __future__ import annotations

from typing import Final

REMEMBERED: Final = 4
"""How many restarts within an epoch a channel notes (`note_restart` in `common.lua`): the last ones."""

Restarts = tuple[tuple[str, int], ...]
"""The last restarts within an epoch, the oldest first: the run, and the newest offset that it began with."""


def run_of(restarts: Restarts) -> str:
    """Return the run that the last restart began; "" before the first within an epoch."""
    return restarts[-1][0] if restarts else ""


def went_back(heard: int, run: str, restarts: Restarts) -> bool:
    """Tell whether a server began anew below `heard`, an offset that was heard in `run` or before.

    A run that is not among the restarts that are remembered may be older than all of them.
    """
    runs = [name for name, _ in restarts]
    later = restarts[runs.index(run) + 1 :] if run in runs else restarts
    return any(top < heard for _, top in later)
