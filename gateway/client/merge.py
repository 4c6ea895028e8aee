"""JSON Merge Patch (RFC 7396) on Python values: what a client does to its copy of a state.

What always holds: nothing that is handed over is changed; what a patch does not touch is shared with the
result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]


def merge(value: Any, patch: Any) -> Any:
    """Return what a patch makes of a value (RFC 7396 section 2)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), change)
    return merged


def touched(patch: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all that a patch sets or removes."""
    if not isinstance(patch, dict):
        yield path
        return
    for name, change in patch.items():
        yield from touched(change, (*path, name))


def overlaps(one: Any, other: Any) -> list[Path]:
    """Return where two patches touch the same: the longer path of each pair of which one lies in the
    other.
    """
    theirs = list(touched(other))
    found = {
        max(path, their, key=len)
        for path in touched(one)
        for their in theirs
        if path[: len(their)] == their[: len(path)]
    }
    return sorted(found)
