"""The records that every layer shares: a publication, a position in a channel, a member.

They know nothing of who carries them: codecs turn them into events, brokers keep them,
rings hold their encoded frames.  Between processes of a gateway they are arrays of their fields, in
the order in which they stand here.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Position(NamedTuple):
    """A place in one life of a channel.

    `epoch` names the life of the count; `offset` is the number of the last publication
    at or before this place, 0 before the first.
    """

    epoch: str
    offset: int


class Proof(NamedTuple):
    """How a client knows a position: the id of the publication there, and the mark it was answered with.

    Either may be empty.  See `gateway.broker.interface.Proving`.
    """

    id: str
    mark: str


class Publication(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One message of a channel, as the broker numbered it.

    `offset` counts from 1 within an epoch (0: the channel is not counted).  `data` is the
    payload as it came: JSON text in UTF-8, or arbitrary bytes when `binary`.  `time_ms` is
    wall-clock milliseconds since 1970.  `client` and `user` say who published, empty for a
    service.  `exclude` is a client id that must not be sent this publication, or empty, or terms of filters
    (`filters.Terms`).  With `patch` the data changes the state of the channel (a JSON Merge Patch), and the
    offset is the state's new version.
    """

    id: str
    data: bytes
    time_ms: int
    offset: int = 0
    binary: bool = False
    client: str = ""
    user: str = ""
    exclude: str = ""
    patch: bool = False


class Draft(NamedTuple):
    """What an app service wants published: a checked payload, JSON text or bytes (`binary`).

    With `key` it happens once; `exclude` is a client id that must not be sent it, or empty.
    """

    channel: str
    data: bytes
    binary: bool = False
    key: str = ""
    exclude: str = ""


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One client that is present in a channel.  `info` is JSON text, or empty."""

    client: str
    user: str = ""
    info: bytes = b""
