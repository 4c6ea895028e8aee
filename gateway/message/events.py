"""What the gateway says to a client: one record per event, the same for every encoding.

In the records a payload is what the broker has: JSON text (`data`, `info`) or bytes (`data64`).  How each
of them looks to a client is the codec's affair.
"""

from __future__ import annotations

import msgspec


class From(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Who published."""

    client: str = ""
    user: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=str.lower):
    """Base of all events."""


class Hello(Event, frozen=True, kw_only=True):
    """The client is let in.  `ping` is in seconds, `expires` in seconds since 1970 (0: never)."""

    client: str
    session: str
    user: str = ""
    ping: float
    expires: int = 0


class Reply(Event, frozen=True, kw_only=True):
    """A command was carried out.  Only the fields that belong to the command are set."""

    id: int
    channel: str | None = None
    epoch: str | None = None
    offset: int | None = None
    recovered: bool | None = None
    duplicate: bool = False
    session: str | None = None
    subscriptions: list[Resumed] | None = None
    members: list[MemberView] | None = None
    publications: list[PublicationView] | None = None
    complete: bool | None = None
    expires: int | None = None
    payload: msgspec.Raw | None = None
    payload64: bytes | None = None
    version: int | None = None
    mark: str | None = None


class Error(Event, frozen=True, kw_only=True):
    """A command was not carried out.  `id` is absent when the command had none.

    With `stale_version` come the current state: `epoch`, `version` and `data` (JSON text).
    """

    id: int = 0
    code: str
    message: str
    retry: bool  # no default, so that clients always find it
    epoch: str | None = None
    version: int | None = None
    data: msgspec.Raw | None = None


class Message(Event, frozen=True, kw_only=True):
    """One publication.  Exactly one of `data` (JSON text) and `data64` (bytes; base64 in JSON) is present."""

    channel: str
    offset: int = 0
    id: str
    data: msgspec.Raw | None = None
    data64: bytes | None = None
    from_: From | None = msgspec.field(default=None, name="from")
    time: int


class State(Event, frozen=True, kw_only=True):
    """The whole state of a state channel, as JSON text, at a version."""

    channel: str
    epoch: str
    version: int
    data: msgspec.Raw


class Patch(Event, frozen=True, kw_only=True):
    """A change of a channel's state: `patch` (JSON text) made `version` of the version before."""

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
    info: msgspec.Raw | None = None


class Leave(Event, frozen=True, kw_only=True):
    """A member went."""

    channel: str
    client: str
    user: str = ""
    info: msgspec.Raw | None = None


class Gap(Event, frozen=True, kw_only=True):
    """Messages were dropped: those from offset `from` to `to`, or ones without offsets.

    `epoch` is there when the channel's count begins anew: it is the new one, and what follows counts in it.
    """

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


class MemberView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member in the answer to `presence`."""

    client: str
    user: str = ""
    info: msgspec.Raw | None = None


class PublicationView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One publication in the answer to `history`; one of `data`, `data64` and `patch` is present."""

    offset: int
    id: str
    time: int
    data: msgspec.Raw | None = None
    data64: bytes | None = None
    from_: From | None = msgspec.field(default=None, name="from")
    patch: msgspec.Raw | None = None


class Resumed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subscription in the answer to `connect`."""

    channel: str
    epoch: str
    offset: int
    recovered: bool | None = None
    mark: str | None = None
