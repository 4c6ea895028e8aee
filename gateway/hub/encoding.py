"""What a ring holds: one codec's events, deflated once for all of its subscribers or not at all.

It knows codecs and compressors, but neither rings nor connections.  A shared compressor keeps no
context from message to message (RFC 7692 section 7.1.1), so that what it makes can be
read by everybody who agreed on its window.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..deflate import Deflater
from ..message.codec import Codec
from ..message.events import Event
from ..message.publication import Member, Publication

RSV1: Final = 0x40
"""Added to the opcode of a frame that is deflated (RFC 7692 section 6)."""


class Encoding(NamedTuple):
    """A codec and a compressor; equal for all subscribers that can share a ring.

    `deflater` is None where nothing is deflated.  Payloads of less than `threshold_bytes` go out
    as they are: deflating them gains nothing.
    """

    codec: Codec
    deflater: Deflater | None = None
    threshold_bytes: int = 0

    def pack(self, payload: bytes) -> tuple[int, bytes]:
        """Return the opcode, with RSV1 if it is deflated, and the payload of a frame."""
        if self.deflater is None or len(payload) < self.threshold_bytes:
            return self.codec.opcode, payload
        return self.codec.opcode | RSV1, self.deflater.deflate(payload)

    def publication(self, channel: str, publication: Publication) -> tuple[int, bytes]:
        """Return a publication's frame: opcode and payload."""
        return self.pack(self.codec.encode_publication(channel, publication))

    def presence(self, channel: str, member: Member, *, joined: bool) -> tuple[int, bytes]:
        """Return the frame that says that a member came or went."""
        encode = self.codec.encode_join if joined else self.codec.encode_leave
        return self.pack(encode(channel, member))

    def event(self, event: Event) -> tuple[int, bytes]:
        """Return any other event's frame."""
        return self.pack(self.codec.encode(event))
