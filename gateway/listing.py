"""Lists of what there is, a page at a time: what one process answers is bounded, however much it has.

Knows nothing of processes or HTTP.  How it works: entries are in the order of their names.  Each process
gives the first of its own behind a name; the first of all are among these.  What always holds: of an answer
no more is made than was asked for, so that it fits into what carries it between processes (4 MiB for 10,000
entries).
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Any, Final, NamedTuple

import msgspec

MOST: Final = 10_000


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """Which page: at most `limit` entries behind the name `after`, of names that begin with `prefix`."""

    limit: int = MOST
    after: str = ""
    prefix: str = ""

    def question(self, what: str) -> str:
        """Return this as a question to another process."""
        return f"{what} {msgspec.json.encode(self).decode()}"


class Listing(NamedTuple):
    """A page in the order of names, and how many entries there are on all pages."""

    items: list[dict[str, Any]]
    total: int


def read_question(text: str) -> tuple[str, Asked]:
    """Return what is asked for, and which page of it.  Raises msgspec.MsgspecError."""
    what, _, asked = text.partition(" ")
    return what, msgspec.json.decode(asked, type=Asked) if asked else Asked()


def merge_connections(told: Iterable[Any], asked: Asked) -> Listing:
    """Return one page of several processes' connections."""
    pages = [Listing(*page) for page in told]
    found = (item for page in pages for item in page.items)
    return Listing(
        nsmallest(asked.limit, found, key=lambda item: item["client"]), sum(page.total for page in pages)
    )


def merge_channels(told: Iterable[Any], asked: Asked) -> Listing:
    """Return one page of several processes' channels, each once, with all subscribers and the newest offset.

    `total` is exact where every process told all that it has; else channels may count once for each process.
    """
    pages = [Listing(*page) for page in told]
    merged: dict[str, dict[str, Any]] = {}
    for page in pages:
        for channel in page.items:
            known = merged.setdefault(channel["name"], channel)
            if known is not channel:
                known["subscribers"] += channel["subscribers"]
                if channel["offset"] > known["offset"]:
                    known["epoch"], known["offset"] = channel["epoch"], channel["offset"]
    untold = sum(page.total - len(page.items) for page in pages)
    first = nsmallest(asked.limit, merged.values(), key=lambda channel: channel["name"])
    return Listing(first, len(merged) + untold)
