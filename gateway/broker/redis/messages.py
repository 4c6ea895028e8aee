"""What goes through Redis' pub/sub, as msgpack arrays that begin with a number.

The first three are put together by the Lua scripts, around publications and members that a node packed; the
others are packed by nodes.  Nodes of one cluster may be of different versions: fields are only ever added at
the end, and a message with an unknown number is nothing to them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ...message.publication import Member, Publication


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Anything that nodes tell each other."""


class Published(Message, frozen=True, array_like=True, gc=False, tag=1):
    """New publications of a channel; `first` is the offset of the first, and each has the one after."""

    epoch: str
    first: int
    publications: list[Publication]


class PresenceMoved(Message, frozen=True, array_like=True, gc=False, tag=2):
    """A member came or went."""

    joined: bool
    member: Member


class Renewed(Message, frozen=True, array_like=True, gc=False, tag=3):
    """A channel's life ended; the next one's first offset is still to come."""

    epoch: str


class Asked(Message, frozen=True, array_like=True, gc=False, tag=4):
    """A node asks all nodes; `number` is the asking node's."""

    node: str
    number: int
    what: str
    data: bytes


class Answered(Message, frozen=True, array_like=True, gc=False, tag=5):
    """A node answers a question."""

    node: str
    number: int
    data: bytes


class Probed(Message, frozen=True, array_like=True, gc=False, tag=6):
    """A probe, on its way back to the node that sent it."""

    number: int


class Marked(Message, frozen=True, array_like=True, gc=False, tag=7):
    """A mark among a channel's messages: for the node that knows it, what was published before has come."""

    mark: str


Any = Published | PresenceMoved | Renewed | Asked | Answered | Probed | Marked

pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder(Any).decode
unpack_publications: Final = msgspec.msgpack.Decoder(list[Publication]).decode
unpack_member: Final = msgspec.msgpack.Decoder(Member).decode


def number(publications: list[Publication], first: int) -> list[Publication]:
    """Set the offsets of publications that were just unpacked, and are nobody else's yet; return them."""
    for offset, publication in enumerate(publications, first):
        msgspec.structs.force_setattr(publication, "offset", offset)
    return publications
