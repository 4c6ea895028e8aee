"""Payloads of publications as clients get them that do not know the protocol: bare, with nothing around them.

What always holds: text that was made a payload by `payload_of_text` comes out of `bare_payload` as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .commands import Command
from .events import Event
from .publication import Member, Publication

_text = msgspec.json.Decoder(str)


def payload_of_text(text: str) -> bytes:
    """Return the payload of a publication that is a text: a JSON string."""
    return msgspec.json.encode(text)


def bare_payload(publication: Publication) -> tuple[bool, bytes]:
    """Return whether it goes out as bytes, and what: of a JSON string its text, of all else the JSON text."""
    data = publication.data
    if not publication.binary and data.lstrip(b" \t\r\n")[:1] == b'"':
        return False, _text.decode(data).encode()
    return publication.binary, data


class BareCodec:
    """See `codec.Codec`.  Nothing is said in this encoding, and only publications are told."""

    subprotocol = ""
    opcode = 1

    def decode(self, payload: bytes, *, most: int) -> Sequence[Command]:
        """Return nothing."""
        return ()

    def encode(self, event: Event) -> bytes:
        """Return nothing."""
        return b""

    def encode_placed(self, number: int, channel: str, epoch: str, offset: int, duplicate: bool) -> bytes:
        """Return nothing."""
        return b""

    def encode_publication(self, channel: str, publication: Publication) -> bytes:
        """Return the payload."""
        return bare_payload(publication)[1]

    def encode_join(self, channel: str, member: Member) -> bytes:
        """Return nothing."""
        return b""

    def encode_leave(self, channel: str, member: Member) -> bytes:
        """Return nothing."""
        return b""
