"""What every encoding of commands and events offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .commands import Command
from .events import Event
from .publication import Member, Publication


class Codec(Protocol):
    """One encoding, negotiated by its WebSocket subprotocol.  Stateless; one for all connections."""

    @property
    def subprotocol(self) -> str:
        """The name in `Sec-WebSocket-Protocol`."""

    @property
    def opcode(self) -> int:
        """1 when its messages are text, 2 when they are binary (RFC 6455 section 5.2)."""

    def decode(self, payload: bytes, *, most: int) -> Sequence[Command]:
        """Return the commands of one message, in order; those not understood as MalformedCommand.

        Never raises.  More than `most` commands in one message give one MalformedCommand.
        """

    def encode(self, event: Event) -> bytes:
        """Return an event's payload."""

    def encode_placed(self, number: int, channel: str, epoch: str, offset: int, duplicate: bool) -> bytes:
        """Return the payload of the `reply` to a publish."""

    def encode_publication(self, channel: str, publication: Publication) -> bytes:
        """Return the payload of the `message` event of a publication, or of its `patch` event."""

    def encode_join(self, channel: str, member: Member) -> bytes:
        """Return the payload of a `join` event."""

    def encode_leave(self, channel: str, member: Member) -> bytes:
        """Return the payload of a `leave` event."""
