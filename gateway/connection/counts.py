"""How many connections there are under a name, such as an address or a user.

`Counts` is one process's own; where several processes count together it is a `_census.Census`.
"""

from __future__ import annotations

from typing import Protocol


class Counting(Protocol):
    """Counts under names.  What is added has to be taken away again, by the same process."""

    def add(self, name: str) -> int:
        """Count one more; return how many there are now, in all processes."""

    def take(self, name: str) -> None:
        """Count one less of what this process added."""

    def __len__(self) -> int:
        """Return under how many names this process has added something."""


class Counts:
    """The counts of one process."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: str) -> int:
        """Count one more; return how many there are now."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return count

    def take(self, name: str) -> None:
        """Count one less.  Does nothing where nothing is counted."""
        left = self._counts.get(name, 0) - 1
        if left > 0:
            self._counts[name] = left
        else:
            self._counts.pop(name, None)

    def __len__(self) -> int:
        """Return under how many names something is counted."""
        return len(self._counts)
