"""The ids of the newest messages of channels that have no position, so that a repetition is known."""

from __future__ import annotations

from typing import Final

_MOST: Final = 4096


class RecentIds:
    """Remembers the newest ids, at most `most` of them, and twice as many for a moment."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._new: set[str] = set()
        self._old: set[str] = set()

    def seen(self, message_id: str) -> bool:
        """Tell whether an id was there before; it is from now on."""
        if message_id in self._new or message_id in self._old:
            return True
        self._new.add(message_id)
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()
        return False
