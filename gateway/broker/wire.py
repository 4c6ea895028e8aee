"""What worker processes and the broker in their supervisor say to each other, and how it is framed.

A record is a length of 4 bytes (big-endian) and a msgpack array that begins with the record's tag.  Both ends
are the same build of the same program, started together, so there is no version.  This module
knows nothing of sockets, brokers' state or processes.

What always holds: a `call` is answered by exactly one reply with its number, unless the link is lost;
so is a `question`, in the other direction.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from ..errors import BrokerError
from ..message.publication import Member, Publication
from .interface import ChannelOptions, Control

_LENGTH_BYTES: Final = 4


class WireError(BrokerError):
    """The other end sent what is no record."""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Anything that crosses the link."""


class Call(Record, frozen=True, array_like=True, gc=False):
    """What a worker asks of the broker.  `call` is the worker's number for it, for the reply."""

    call: int


class Publish(Call, frozen=True, array_like=True, gc=False, tag=1):
    """`Broker.publish`; the reply is Placed."""

    channel: str
    publication: Publication
    options: ChannelOptions
    key: str


class Subscribe(Call, frozen=True, array_like=True, gc=False, tag=2):
    """`Broker.subscribe`; the reply is Placed."""

    channel: str
    options: ChannelOptions


class Unsubscribe(Call, frozen=True, array_like=True, gc=False, tag=3):
    """`Broker.unsubscribe`; the reply is Counted."""

    channel: str


class ReadSince(Call, frozen=True, array_like=True, gc=False, tag=4):
    """`Broker.history`; the reply is Page."""

    channel: str
    options: ChannelOptions
    epoch: str
    offset: int
    limit: int


class ReadBefore(Call, frozen=True, array_like=True, gc=False, tag=5):
    """`Broker.history_before`; the reply is Page."""

    channel: str
    options: ChannelOptions
    before: int
    limit: int


class Join(Call, frozen=True, array_like=True, gc=False, tag=6):
    """`Broker.join`; the reply is Counted."""

    channel: str
    member: Member
    options: ChannelOptions


class Leave(Call, frozen=True, array_like=True, gc=False, tag=7):
    """`Broker.leave`; the reply is Counted."""

    channel: str
    client: str
    options: ChannelOptions


class ListMembers(Call, frozen=True, array_like=True, gc=False, tag=8):
    """`Broker.presence`; the reply is Members."""

    channel: str
    options: ChannelOptions


class SendControl(Call, frozen=True, array_like=True, gc=False, tag=9):
    """`Broker.control`; the reply is Counted."""

    control: Control


class SaveSession(Call, frozen=True, array_like=True, gc=False, tag=10):
    """`Broker.save_session`; the reply is Counted."""

    session: str
    record: bytes
    ttl_s: float


class TakeSession(Call, frozen=True, array_like=True, gc=False, tag=11):
    """`Broker.take_session`; the reply is Taken."""

    session: str


class Probe(Call, frozen=True, array_like=True, gc=False, tag=12):
    """`Broker.probe`; the reply is Counted."""


class HoldSession(Record, frozen=True, array_like=True, gc=False, tag=13):
    """Should this worker be lost: keep this session of its client, as SaveSession would.  No reply."""

    client: str
    session: str
    record: bytes
    ttl_s: float


class ReleaseSession(Record, frozen=True, array_like=True, gc=False, tag=14):
    """The client is gone in good order; what was held for it is not needed.  No reply."""

    client: str


class Answer(Record, frozen=True, array_like=True, gc=False, tag=15):
    """The reply to a Question: `data`, or the number of connections that a Controlled reached."""

    question: int
    data: bytes
    count: int


class Notice(Record, frozen=True, array_like=True, gc=False, tag=16):
    """The worker says something about itself.  No reply."""

    what: str
    data: bytes


class Update(Call, frozen=True, array_like=True, gc=False, tag=17):
    """`Broker.update`; the reply is Placed, Stale or Declined."""

    channel: str
    publication: Publication
    options: ChannelOptions
    epoch: str
    base: int
    key: str


class ReadState(Call, frozen=True, array_like=True, gc=False, tag=18):
    """`Broker.state`; the reply is StateIs."""

    channel: str
    options: ChannelOptions


class Published(Record, frozen=True, array_like=True, gc=False, tag=32):
    """A new publication of a channel in which the worker is interested."""

    channel: str
    epoch: str
    publication: Publication


class PresenceChanged(Record, frozen=True, array_like=True, gc=False, tag=33):
    """A member came or went in a channel in which the worker is interested."""

    channel: str
    joined: bool
    member: Member


class Lost(Record, frozen=True, array_like=True, gc=False, tag=36):
    """`Relay.on_position` of a channel in which the worker is interested."""

    channel: str
    epoch: str
    offset: int


class Controlled(Record, frozen=True, array_like=True, gc=False, tag=34):
    """A control message; the worker answers with the number of connections reached."""

    question: int
    control: Control


class Question(Record, frozen=True, array_like=True, gc=False, tag=35):
    """The supervisor asks the worker about itself, or for something; the worker answers."""

    question: int
    what: str
    data: bytes


class Placed(Call, frozen=True, array_like=True, gc=False, tag=40):
    """A position: of what was published, or from which on the worker hears of a channel."""

    epoch: str
    offset: int
    duplicate: bool


class Counted(Call, frozen=True, array_like=True, gc=False, tag=41):
    """It is done; `count` are the connections reached, or 0."""

    count: int


class Page(Call, frozen=True, array_like=True, gc=False, tag=42):
    """A page of history."""

    publications: list[Publication]
    epoch: str
    offset: int
    complete: bool


class Members(Call, frozen=True, array_like=True, gc=False, tag=43):
    """Who is present."""

    members: list[Member]


class Taken(Call, frozen=True, array_like=True, gc=False, tag=44):
    """A session's record, or None."""

    record: bytes | None


class Refused(Call, frozen=True, array_like=True, gc=False, tag=45):
    """BrokerUnavailableError: nothing happened."""

    message: str


class StateIs(Call, frozen=True, array_like=True, gc=False, tag=46):
    """A channel's state."""

    epoch: str
    version: int
    data: bytes


class Stale(Call, frozen=True, array_like=True, gc=False, tag=47):
    """StaleVersionError: nothing happened, and this is the state."""

    epoch: str
    version: int
    data: bytes


class Declined(Call, frozen=True, array_like=True, gc=False, tag=48):
    """Any other CommandError: nothing happened."""

    code: str
    message: str


FromWorker = (
    Publish
    | Subscribe
    | Unsubscribe
    | ReadSince
    | ReadBefore
    | Join
    | Leave
    | ListMembers
    | SendControl
    | SaveSession
    | TakeSession
    | Probe
    | HoldSession
    | ReleaseSession
    | Answer
    | Notice
    | Update
    | ReadState
)
Reply = Placed | Counted | Page | Members | Taken | Refused | StateIs | Stale | Declined
FromSupervisor = Published | Lost | PresenceChanged | Controlled | Question | Reply

_encode: Final = msgspec.msgpack.Encoder().encode


def pack(record: Record) -> bytes:
    """Return a record with its length in front."""
    data = _encode(record)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class Unpacker:
    """Cuts a stream of bytes into records of one of the two unions."""

    def __init__(self, records: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(records).decode
        self._rest = bytearray()

    def feed(self, data: bytes) -> Generator[Any, None, None]:
        """Yield every record that is whole now; to be run to its end.  Raises WireError."""
        if self._rest:
            self._rest += data
            taken = yield from self._cut(bytes(self._rest) if self._is_whole() else b"")
            del self._rest[:taken]
        else:
            taken = yield from self._cut(data)
            self._rest += data[taken:]

    def _is_whole(self) -> bool:
        """Tell whether the first record is there, so that a long one is not copied again and again."""
        rest = self._rest
        if len(rest) < _LENGTH_BYTES:
            return False
        return len(rest) >= _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "big")

    def _cut(self, data: bytes) -> Generator[Any, None, int]:
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= _LENGTH_BYTES:
            start = at + _LENGTH_BYTES
            stop = start + int.from_bytes(view[at:start], "big")
            if stop > end:
                break
            try:
                record = self._decode(view[start:stop])
            except msgspec.MsgspecError as problem:
                raise WireError(f"not a record: {problem}") from None
            at = stop
            yield record
        return at
