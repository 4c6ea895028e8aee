"""Message filters of GRIP: what keeps a publication from some of those who hear a channel bare.

Pure.  A subscription names filters, a publication has terms; whether it reaches the subscriber is decided
where that is.  How it works: terms travel in the place of the client that a publication excludes
(`Publication.exclude`), behind a mark that no client's id begins with: they cost nothing where none are.

What always holds: a subscription without filters gets everything; text that is no terms keeps nothing
from anybody.
Source: the filters of Pushpin, by their names there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, get_args

import msgspec
from msgspec import Struct

MARK: Final = "?"
Filter = Literal["skip-self", "skip-users", "require-sub"]
FILTERS: Final[tuple[Filter, ...]] = get_args(Filter)


class Terms(Struct, frozen=True, array_like=True):
    """What filters compare: who said it, users who do not want it, a channel that has to be heard as well.

    Each is empty where nothing is said of it.
    """

    sender: str = ""
    skip_users: tuple[str, ...] = ()
    require_sub: str = ""

    def written(self) -> str:
        """Return them as they travel; "" where they say nothing."""
        if not (self.sender or self.skip_users or self.require_sub):
            return ""
        return MARK + msgspec.json.encode(self).decode()


_decoder: Final = msgspec.json.Decoder(Terms)
_NO_TERMS: Final = Terms()


def read_terms(written: str) -> Terms:
    """Return what `Terms.written` made a text of; of any other, terms that say nothing."""
    if not written.startswith(MARK):
        return _NO_TERMS
    try:
        return _decoder.decode(written[len(MARK) :])
    except (msgspec.DecodeError, RecursionError):
        return _NO_TERMS


def keep_away(filters: Collection[Filter], terms: Terms, user: str, hears: Collection[str]) -> bool:
    """Tell whether filters keep a publication from a subscriber: `user`, or "", who hears `hears`."""
    if user and "skip-self" in filters and user == terms.sender:
        return True
    if user and "skip-users" in filters and user in terms.skip_users:
        return True
    return "require-sub" in filters and bool(terms.require_sub) and terms.require_sub not in hears
