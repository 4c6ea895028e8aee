"""What a client can say: one record per command, the same for every encoding.

The records know nothing of who carries them out.  `id` is 0 when the client wants
no answer; `MalformedCommand` stands for one that could not be understood, so that it
is answered in its place among its neighbours.  What always holds: a number in a record is one
that every encoding and every client can give back (JavaScript counts exactly up to 2**53 - 1).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

MAX_NUMBER: Final = 2**53 - 1
MAX_KEY_CHARS: Final = 200
MAX_METHOD_CHARS: Final = 200
MAX_EARLIER_CLIENTS: Final = 16
NO_DATA: Final = msgspec.Raw()
"""No payload: one object, so that records leave the field out when a client writes them."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""A number that is not negative and that every client can hold."""


class Since(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The position up to which a client has everything of a channel.

    `clients` are the ids of the connections that it had; what excluded one of them is not for it.
    `id` is that of the publication at the position, where the client had it, and `mark` what the answer to
    its subscription said: by these it can be told that the position is one of a count that was lost.
    """

    epoch: str
    offset: Count
    clients: Annotated[list[str], msgspec.Meta(max_length=MAX_EARLIER_CLIENTS)] = []
    id: str = ""
    mark: str = ""


class Command(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=str.lower):
    """Base of all commands.  `id`: a positive integer if the command is to be answered, else 0."""

    id: Count = 0


class Identified(msgspec.Struct):
    """The only thing that is read of a command that is not understood: what to answer it by."""

    id: Count = 0


class Connect(Command, kw_only=True, frozen=True):
    """Show credentials, or resume what a lost connection was subscribed to."""

    token: str = ""
    session: str = ""
    since: dict[str, Since] = {}


class Subscribe(Command, kw_only=True, frozen=True):
    """Hear a channel from now on, or from `since` on; `token` is one for this channel."""

    channel: str
    since: Since | None = None
    token: str = ""


class Unsubscribe(Command, kw_only=True, frozen=True):
    """Hear a channel no longer."""

    channel: str


class Publish(Command, kw_only=True, frozen=True):
    """Publish a payload: either `data`, JSON text as it came, or the bytes `data64` (base64 in JSON)."""

    channel: str
    data: msgspec.Raw = NO_DATA
    data64: bytes | None = None
    key: Annotated[str, msgspec.Meta(max_length=MAX_KEY_CHARS)] = ""


class Update(Command, kw_only=True, frozen=True):
    """Change the state of a channel: apply `patch`, a JSON Merge Patch as it came, to the version `base`.

    `epoch` names the life of the channel in which that version was; empty: the current one.
    """

    channel: str
    base: Count
    patch: msgspec.Raw
    epoch: str = ""
    key: Annotated[str, msgspec.Meta(max_length=MAX_KEY_CHARS)] = ""


class Presence(Command, kw_only=True, frozen=True):
    """Ask who is in a channel."""

    channel: str


class History(Command, kw_only=True, frozen=True):
    """Ask for the newest publications below the offset `before` (0: of all)."""

    channel: str
    limit: Count = 50
    before: Count = 0


class Call(Command, kw_only=True, frozen=True):
    """Ask the app service: a method, and a payload or none; `timeout` in milliseconds, 0 for the usual."""

    method: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_METHOD_CHARS)]
    payload: msgspec.Raw = NO_DATA
    payload64: bytes | None = None
    timeout: Count = 0


class Send(Command, kw_only=True, frozen=True):
    """Say something to the app service: either `data`, JSON text, or the bytes `data64`."""

    data: msgspec.Raw = NO_DATA
    data64: bytes | None = None


class Ping(Command, frozen=True):
    """Ask for a `pong`: for browsers, which cannot send WebSocket pings."""


class RefusedCommand(Command, frozen=True):
    """In place of a command that came too soon after others."""


class MalformedCommand(Command, kw_only=True, frozen=True):
    """Something that was no command.  `message` says to the client what is wrong with it."""

    message: str


AnyCommand = Connect | Subscribe | Unsubscribe | Publish | Update | Presence | History | Call | Send | Ping
"""Every command that a client may send."""
