"""Events as they reach a client: the records of `gateway.message.events`, made for reading.

They have the same names and fields; a test compares.  What is different: payloads are `msgspec.Raw` in the
encoding of the connection, empty where there is none, since a record that is read cannot have `Raw | None`.
What is not known here is ignored: fields, and events (see `gateway.client.codecs`).
"""

from __future__ import annotations

import msgspec

from ..message import events
from ..message.commands import NO_DATA
from ..message.events import From


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=str.lower):
    """Base of all events."""


class Hello(Event, frozen=True, kw_only=True):
    """The client is let in.  `ping` is in seconds, `expires` in seconds since 1970 (0: never)."""

    client: str
    session: str
    user: str = ""
    ping: float
    expires: int = 0


class MemberView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member in the answer to `presence`."""

    client: str
    user: str = ""
    info: msgspec.Raw = NO_DATA


class PublicationView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One publication in the answer to `history`."""

    offset: int
    id: str
    time: int
    data: msgspec.Raw = NO_DATA
    data64: bytes | None = None
    patch: msgspec.Raw = NO_DATA
    from_: From | None = msgspec.field(default=None, name="from")


class Reply(Event, frozen=True, kw_only=True):
    """A command was carried out.  Only the fields that belong to the command are set."""

    id: int
    channel: str | None = None
    epoch: str | None = None
    offset: int | None = None
    version: int | None = None
    recovered: bool | None = None
    duplicate: bool = False
    session: str | None = None
    subscriptions: list[events.Resumed] | None = None
    members: list[MemberView] | None = None
    publications: list[PublicationView] | None = None
    complete: bool | None = None
    payload: msgspec.Raw = NO_DATA
    payload64: bytes | None = None
    expires: int | None = None
    mark: str | None = None


class Error(Event, frozen=True, kw_only=True):
    """A command was not carried out.  `id` is 0 if it had none; the last three come with `stale_version`."""

    id: int = 0
    code: str
    message: str
    retry: bool
    epoch: str | None = None
    version: int | None = None
    data: msgspec.Raw = NO_DATA


class Message(Event, frozen=True, kw_only=True):
    """One publication.  Exactly one of `data` and `data64` is there; in MessagePack `data` is either."""

    channel: str
    offset: int = 0
    id: str
    data: msgspec.Raw = NO_DATA
    data64: bytes | None = None
    from_: From | None = msgspec.field(default=None, name="from")
    time: int


class State(Event, frozen=True, kw_only=True):
    """The whole state of a state channel, at a version."""

    channel: str
    epoch: str
    version: int
    data: msgspec.Raw


class Patch(Event, frozen=True, kw_only=True):
    """A change of a channel's state: `patch` made `version` of the version before."""

    channel: str
    version: int
    id: str
    patch: msgspec.Raw
    from_: From | None = msgspec.field(default=None, name="from")
    time: int


class Join(Event, frozen=True, kw_only=True):
    """A member came."""

    channel: str
    client: str
    user: str = ""
    info: msgspec.Raw = NO_DATA


class Leave(Event, frozen=True, kw_only=True):
    """A member went."""

    channel: str
    client: str
    user: str = ""
    info: msgspec.Raw = NO_DATA


class Gap(Event, frozen=True, kw_only=True):
    """Messages were dropped: those from offset `from` to `to`, or ones without offsets; see the gateway's."""

    channel: str
    from_: int = msgspec.field(default=0, name="from")
    to: int = 0
    epoch: str = ""
    reason: str


class Unsubscribed(Event, frozen=True, kw_only=True):
    """The gateway ended a subscription."""

    channel: str
    code: str


class Subscribed(Event, frozen=True, kw_only=True):
    """The gateway made a subscription that the client did not ask for."""

    channel: str
    epoch: str
    offset: int
    mark: str | None = None


class Pong(Event, frozen=True, kw_only=True):
    """The answer to a `ping` command that has no id."""


class Reconnect(Event, frozen=True, kw_only=True):
    """Please connect again after a random time between the two of `after`, in milliseconds."""

    after: tuple[int, int]
    reason: str


AnyEvent = (
    Hello
    | Reply
    | Error
    | Message
    | State
    | Patch
    | Join
    | Leave
    | Gap
    | Subscribed
    | Unsubscribed
    | Pong
    | Reconnect
)
"""Every event that is known here."""
