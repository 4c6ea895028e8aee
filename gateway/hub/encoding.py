"""What a ring holds: one codec's events, deflated once for all of its subscribers or not at all.

It knows codecs and compressors, but neither rings nor connections.  A shared compressor keeps no
context from message to message (RFC 7692 section 7.1.1), so that what it makes can be
read by everybody who agreed on its window.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..deflate import Deflater
from ..message.bare import BareCodec, bare_payload
from ..message.codec import Codec
from ..message.events import Event
from ..message.publication import Member, Publication

RSV1: Final = 0x40
"""Added to the opcode of a frame that is deflated (RFC 7692 section 6)."""
_TEXT: Final = 1
_BINARY: Final = 2
_PONG: Final = 10


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

    @property
    def straight(self) -> bool:
        """Whether a publication's frame is the codec's opcode and its payload as the codec makes it."""
        return self.deflater is None

    def publication(self, channel: str, publication: Publication) -> tuple[int, bytes]:
        """Return a publication's frame: opcode and payload."""
        codec, deflater, _ = self
        payload = codec.encode_publication(channel, publication)
        return (codec.opcode, payload) if deflater is None else self.pack(payload)

    def presence(self, channel: str, member: Member, *, joined: bool) -> tuple[int, bytes]:
        """Return the frame that says that a member came or went."""
        encode = self.codec.encode_join if joined else self.codec.encode_leave
        return self.pack(encode(channel, member))

    def event(self, event: Event) -> tuple[int, bytes]:
        """Return any other event's frame."""
        return self.pack(self.codec.encode(event))


class BareEncoding(Encoding):
    """Payloads without anything around them, for clients that do not know the protocol.

    They can be told of nothing else: in the place of any other event stands an empty pong, to which nobody
    has to do anything (RFC 6455 section 5.5.3).
    """

    __slots__ = ()

    @property
    def straight(self) -> bool:
        """The opcode is another one for bytes."""
        return False

    def publication(self, channel: str, publication: Publication) -> tuple[int, bytes]:
        """Return a publication's frame: binary for bytes, text for all else."""
        binary, payload = bare_payload(publication)
        opcode = _BINARY if binary else _TEXT
        if self.deflater is None or len(payload) < self.threshold_bytes:
            return opcode, payload
        return opcode | RSV1, self.deflater.deflate(payload)

    def presence(self, channel: str, member: Member, *, joined: bool) -> tuple[int, bytes]:
        """Return an empty pong."""
        return _PONG, b""

    def event(self, event: Event) -> tuple[int, bytes]:
        """Return an empty pong."""
        return _PONG, b""


def make_bare_encoding(deflater: Deflater | None, threshold_bytes: int) -> BareEncoding:
    """Return the encoding of bare frames with a compressor, or none; equal for the same."""
    return BareEncoding(_BARE, deflater, threshold_bytes)


_BARE: Final = BareCodec()
