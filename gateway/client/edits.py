"""A copy of a state with edits of one's own on top that the gateway has not carried out yet.

It knows values and versions, no connection: `send` takes an edit with the version on which it is to be
applied, and what becomes of that is told by calls.  How it works: only what the gateway says moves the
*confirmed* value; what the application sees is that with all pending edits merged into it, in their order;
one edit at a time is on its way, and one that came too late is sent again on the version that it lost to.

What always holds: copies with the same confirmed version and no pending edit are equal; each edit is
carried out at most once, and ends exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from .errors import RinggateError
from .merge import Path, merge, overlaps
from .results import Position


class Edit:
    """One change that the application made: a patch, or a function that makes one of the value it is put on.

    `patch` is what is sent, or was.  `done` is called once: with its version, or why it was refused.
    """

    __slots__ = ("_done", "_is_over", "_make", "acknowledged", "is_sent", "key", "patch", "refused_in")

    def __init__(self, change: Any, key: str, done: Callable[[int | RinggateError], None]) -> None:
        self._make: Callable[[Any], Any] | None = change if callable(change) else None
        self.patch = None if self._make is not None else change
        self.key = key
        self._done = done
        self._is_over = False
        self.is_sent = False
        self.acknowledged: Position | None = None  # where the gateway put it
        self.refused_in: str | None = None  # a life in which it came too late, when another is there already

    @property
    def is_made(self) -> bool:
        """A function makes the patch, so it is never at odds with what others did."""
        return self._make is not None

    def on(self, value: Any) -> Any:
        """Return the patch for a value.  Raises what the application's function raises."""
        return self.patch if self._make is None else self._make(value)

    def become(self, patch: Any) -> None:
        """Let it be another patch."""
        self._make, self.patch = None, patch

    def end(self, result: int | RinggateError) -> None:
        """Tell the application what became of it; only the first time counts."""
        if not self._is_over:
            self._is_over = True
            self._done(result)


class Conflict:
    """Somebody else changed what an edit that is still pending changes, too.

    If nothing is done about it the edit stays, and wins when it is carried out.  `paths` are where both
    touch the same; `mine` and `theirs` are the patches.
    """

    def __init__(self, edits: Edits, edit: Edit, theirs: Any, paths: list[Path]) -> None:
        self.mine = edit.patch
        self.theirs = theirs
        self.paths = paths
        self._edits = edits
        self._edit = edit

    def drop(self) -> None:
        """Take the edit back; it ends with `stale_version`."""
        self._edits.drop(self._edit)

    def replace(self, patch: Any) -> None:
        """Put another patch in the place of the edit's."""
        self._edits.replace(self._edit, patch)


class Sender(Protocol):
    """Sends an edit; what becomes of it is told to `Edits.answered`."""

    def __call__(self, edit: Edit, base: Position) -> None:
        """Send."""


class Edits:
    """`changed` is called when the value may be another; `conflict` for each pending edit that meets
    another's.
    """

    def __init__(
        self, send: Sender, changed: Callable[[], None], conflict: Callable[[Conflict], None]
    ) -> None:
        self._send = send
        self._changed = changed
        self._conflict = conflict
        self.at: Position | None = None
        self.confirmed: Any = None
        self.value: Any = None
        self.pending: list[Edit] = []

    # -- what the application does -----------------------------------------------------------------

    def add(self, edit: Edit) -> None:
        """Make an edit: it is seen at once, and sent when it is its turn.

        Raises what its function raises, and then there is none.
        """
        value = merge(self.value, edit.on(self.value))
        self.pending.append(edit)
        self.value = value
        self._changed()
        self.push()

    def drop(self, edit: Edit) -> None:
        """Take an edit back that is not carried out."""
        self._end(edit, RinggateError("stale_version", "it was dropped for somebody else's", retry=False))
        self._show()

    def replace(self, edit: Edit, patch: Any) -> None:
        """Let an edit that is not carried out do something else."""
        if edit in self.pending:
            edit.become(patch)
            self._show()

    def clear(self, error: RinggateError) -> None:
        """End every edit."""
        for edit in list(self.pending):
            self._end(edit, error)

    # -- what the gateway says ------------------------------------------------------------------------

    def set(self, at: Position, value: Any) -> None:
        """The whole state came."""
        self._settle(at)
        self.at, self.confirmed = at, value
        if self.pending and self.pending[0].refused_in not in {None, at.epoch}:
            self.pending[0].is_sent = False
        self._show()
        self.push()

    def patched(self, at: Position, patch: Any, *, mine: bool) -> None:
        """A patch came that makes this version of the one before; `mine`: this client sent it."""
        head = self.pending[0] if self.pending else None
        if mine and head is not None and head.is_sent and head.patch == patch:
            head.acknowledged = at
        self.at, self.confirmed = at, merge(self.confirmed, patch)
        self._settle(at)
        if not mine:
            self._meet(patch)
        self._show()
        self.push()

    def answered(self, edit: Edit, answer: Position | RinggateError, current: Any = None) -> None:
        """An edit was carried out at a position, or not.  With `stale_version`, `current` is (position,
        value).
        """
        if isinstance(answer, Position):
            edit.acknowledged = answer
            edit.end(answer.offset)
            if self.at is not None:
                self._settle(self.at)
        elif edit.acknowledged is not None:
            edit.end(edit.acknowledged.offset)  # its patch came back, so it was carried out
        elif answer.code == "stale_version" and edit in self.pending and current is not None:
            self._catch_up(edit, *current)
        else:
            self._end(edit, answer)
        self._show()
        self.push()

    def push(self) -> None:
        """Send the first pending edit, unless it is on its way."""
        while self.at is not None and self.pending and not self.pending[0].is_sent:
            edit = self.pending[0]
            try:
                edit.patch = edit.on(self.confirmed)
            except Exception as error:  # noqa: BLE001 - the application's; the edit cannot be made
                self._end(edit, RinggateError("aborted", f"its function failed: {error!r}", retry=False))
                self._show()
                continue
            edit.is_sent = True
            self._send(edit, self.at)

    # -- inside ---------------------------------------------------------------------------------------

    def _catch_up(self, edit: Edit, at: Position, value: Any) -> None:
        """Go to a newer version of the same life at once; of another life a `state` will come, and be
        waited for.
        """
        here = self.at
        if here is not None and here.epoch == at.epoch:
            edit.is_sent = False
            edit.refused_in = None
            if here.offset < at.offset:
                self.at, self.confirmed = at, value
        elif here is not None:
            edit.refused_in = here.epoch

    def _settle(self, at: Position) -> None:
        """Take away the first edit if what is confirmed holds it."""
        head = self.pending[0] if self.pending else None
        told = head.acknowledged if head is not None else None
        if told is not None and (told.epoch != at.epoch or told.offset <= at.offset):
            del self.pending[0]

    def _meet(self, patch: Any) -> None:
        for edit in list(self.pending):
            paths = [] if edit.is_made else overlaps(edit.patch, patch)
            if paths and edit.acknowledged is None:
                self._conflict(Conflict(self, edit, patch, paths))

    def _end(self, edit: Edit, error: RinggateError) -> None:
        if edit in self.pending:
            self.pending.remove(edit)
            edit.end(error)

    def _show(self) -> None:
        value = self.confirmed
        for edit in self.pending:
            with suppress(Exception):  # a function that fails is told of when it is its turn
                value = merge(value, edit.on(value))
        if value != self.value:
            self.value = value
            self._changed()
