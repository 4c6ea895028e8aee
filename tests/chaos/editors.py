"""Clients that share a state and change it, as docs/protocol.md says ("State channels"), through every break.

They write down each update with what came of it, and each value that their copy had.  What always holds: a
copy moves by a `state`, or by the patch of the next version, and by nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tests.support.rfc7396 import merge_patch

from .client import ChaosClient
from .records import Had, Updated, Updating
from .visitors import Visitor
from .wire import Wire

DOCUMENTS: Final = ("doc:a", "doc:b")
_DEFINITE: Final = frozenset({"stale_version", "limit_exceeded"})
"""Who is refused so has changed nothing by any attempt: a known key is looked for first."""


class Copy:
    """What a client has of a document."""

    def __init__(self) -> None:
        self.epoch = ""
        self.version = -1
        self.value: Any = None
        self.waits = False


class _Change(msgspec.Struct):
    text: str
    fields: dict[str, Any]
    asked: int = 0


class Editor(Visitor):
    """Changes the documents in turn, on top of what it has, and asks again as long as it does not know."""

    def __init__(self, name: str, choose: Callable[[], str]) -> None:
        super().__init__(name, choose)
        self.wanted = set(DOCUMENTS)
        self.copies = {document: Copy() for document in DOCUMENTS}
        self.rests = False
        self._changes: dict[str, _Change] = {}
        self._count = 0
        self._good_at = 0.0

    def content(self, since: float) -> bool:
        """Tell whether a change was acknowledged."""
        return self._good_at > since

    @property
    def done(self) -> bool:
        """It knows what came of every change."""
        return not self._changes

    # -- what it does -----------------------------------------------------------------------------

    def _act(self) -> None:
        for document, copy in self.copies.items():
            change = self._changes.get(document)
            if change is None and not self.rests and copy.epoch and document in self.subscribed:
                self._begin(document, copy)
            elif change is not None and change.asked not in self._pending:
                self._repeat(change)

    def _begin(self, document: str, copy: Copy) -> None:
        self._count += 1
        text = f"{self.name}.{self._count}"
        patch = {"last": text, "marks": {self.name: self._count}, f"slot{self._count % 5}": text}
        fields = {
            "channel": document, "base": copy.version, "epoch": copy.epoch, "patch": patch, "key": text,
        }  # fmt: skip
        change = self._changes[document] = _Change(text, fields)
        self.log.append(
            Updating(
                at=time.monotonic(), message=text, channel=document, editor=self.name, number=self._count
            )
        )
        self._repeat(change)

    def _repeat(self, change: _Change) -> None:
        self._ask("update", change.text, **change.fields)
        change.asked = self._asked

    # -- what it hears ----------------------------------------------------------------------------

    def take_raw(self, event: dict[str, Any]) -> bool:
        """Take what is about a document; tell whether it was."""
        copy = self.copies.get(event.get("channel", ""))
        if copy is None:
            return False
        if event["type"] == "gap":
            copy.waits = True  # what follows may count in another epoch
        elif event["type"] == "state":
            copy.waits, copy.epoch = False, event["epoch"]
            self._have(event["channel"], copy, event["version"], event["data"])
        elif event["type"] == "patch":
            if event["version"] == copy.version + 1 and not copy.waits:
                value = merge_patch(copy.value, event["patch"])
                self._have(event["channel"], copy, event["version"], value)
        else:
            return False
        return True

    def _have(self, document: str, copy: Copy, version: int, value: Any) -> None:
        copy.version, copy.value = version, value
        self.positions[document] = (copy.epoch, version)
        self.log.append(had(self.heard_at, document, copy.epoch, version, value))

    def heard(self, wire: Wire, message: bytes) -> None:
        if wire is self.transport:
            self.heard_at = time.monotonic()
            event = msgspec.json.decode(message)
            if not self.take_raw(event):
                ChaosClient.heard(self, wire, message)

    def _take_answer(self, kind: str, channel: str, event: Any) -> None:
        if kind != "update":
            super()._take_answer(kind, channel, event)
            return
        document, change = next(((d, c) for d, c in self._changes.items() if c.text == channel), ("", None))
        if change is None:
            return
        code = event.code if event.type == "error" else ""
        if code and code not in _DEFINITE:
            return  # it is asked again
        if not code:
            self._good_at = self.heard_at
        del self._changes[document]
        self.log.append(
            Updated(
                at=self.heard_at, message=change.text, channel=document, epoch=event.epoch,
                version=event.version, code=code,
            )
        )  # fmt: skip

    def _stand(self, channel: str, epoch: str, offset: int, recovered: bool | None) -> None:
        before = self.positions.get(channel)
        super()._stand(channel, epoch, offset, recovered)
        if channel in self.copies:
            self.copies[channel].waits = not recovered
            if before is not None:
                self.positions[channel] = before  # it moves by a state, which follows

    def _unsubscribed(self, channel: str) -> None:
        super()._unsubscribed(channel)
        if channel in self.copies:
            self.copies[channel] = Copy()


def had(at: float, document: str, epoch: str, version: int, value: Any) -> Had:
    """Return a record of a value: its text, with the names in order, and what it says of itself."""
    said = value if isinstance(value, dict) else {}
    return Had(
        at=at, channel=document, epoch=epoch, version=version,
        text=msgspec.json.encode(value, order="deterministic").decode(),
        last=said.get("last", ""), marks=said.get("marks", {}),
    )  # fmt: skip
