"""What the application is told: messages, members, what was lost, and how the connection is.

Payloads are Python values here: what JSON can hold, or bytes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from .errors import RinggateError


class Position(NamedTuple):
    """A place in a channel: an epoch, and the offset of the last message at or before it."""

    epoch: str
    offset: int


class Message(NamedTuple):
    """One publication.

    `offset` is 0 for a message to this client alone.  `data` is a value, or bytes if bytes were published.
    `client` and `user` say who published; both are empty for an app service.  `time` is in milliseconds
    since 1970.
    """

    channel: str
    offset: int
    id: str
    data: Any
    client: str
    user: str
    time: int


class Member(NamedTuple):
    """One client that is subscribed to a channel."""

    client: str
    user: str = ""
    info: Any = None


class Joined(NamedTuple):
    """A client subscribed to the channel."""

    channel: str
    member: Member


class Left(NamedTuple):
    """A client unsubscribed from the channel, or is gone."""

    channel: str
    member: Member


class Subscribed(NamedTuple):
    """The channel is subscribed: for the first time, or again after the connection was lost.

    `recovered`: None where nothing had to be recovered; True: all that was missed follows; False: it does
    not, and a Lost came before this.
    """

    channel: str
    position: Position | None
    recovered: bool | None


class Lost(NamedTuple):
    """Messages of the channel are missing here.  The application should load what it shows anew.

    `reason`: `slow` (this client read too slowly), `lost` (they did not reach the gateway), `resume` (they
    are older than what the gateway keeps, or the count began anew).  `first` and `last` are their offsets,
    0 where not known.
    """

    channel: str
    reason: str
    first: int = 0
    last: int = 0


class StateSet(NamedTuple):
    """The whole state of a state channel came; `Client.state` follows it."""

    channel: str
    position: Position
    value: Any


class Patched(NamedTuple):
    """The state of a state channel was changed by a JSON Merge Patch, which made this version."""

    channel: str
    position: Position
    patch: Any
    client: str


class Ended(NamedTuple):
    """The gateway refused the subscription, or ended it; `error.code` says why.  Nothing follows."""

    channel: str
    error: RinggateError


ChannelEvent = Message | StateSet | Patched | Joined | Left | Subscribed | Lost | Ended
"""What can happen in a channel."""


class Published(NamedTuple):
    """Where a publication stands.  `duplicate`: its key was known, and it stands there since then."""

    epoch: str
    offset: int
    duplicate: bool = False


class HistoryPage(NamedTuple):
    """What a channel keeps, oldest first.  `position` is the newest; `complete`: nothing older is kept."""

    messages: list[Message]
    position: Position
    complete: bool


class Status(NamedTuple):
    """How the connection is; as text it is what a person may be shown.

    `seconds`: until the next attempt, rounded up, while `reconnecting`.  `client` and `user`: who one is,
    while `online`.  `code` and `reason` say why the last connection or attempt ended; a code below 1000 is
    an HTTP status.
    """

    state: Literal["connecting", "online", "reconnecting", "offline"]
    seconds: int = 0
    client: str = ""
    user: str = ""
    code: int = 0
    reason: str = ""

    def __str__(self) -> str:
        return f"reconnecting in {self.seconds} s" if self.state == "reconnecting" else self.state
