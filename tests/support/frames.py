"""Building frames by hand, and running a decoder over them in every way they can be cut.

Nothing here uses the encoder that is under test: `frame` can break every rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway._frames import CLOSE, FAILED, Decoder, Event
from gateway.deflate import Inflater

MASK: Final = b"\x37\xfa\x21\x3d"


def xor(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    declared: int | None = None,
    form: int | None = None,
) -> bytes:
    """A frame; `rsv` 4 is RSV1; `declared` replaces the true length; `form` is 7, 16 or 64 bits of length."""
    length = len(payload) if declared is None else declared
    if form is None:
        form = 7 if length < 126 else 16 if length < 65536 else 64
    masked = 0x80 if mask else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        head += bytes([masked | length])
    elif form == 16:
        head += bytes([masked | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + length.to_bytes(8, "big")
    return head + (mask + xor(payload, mask) if mask else payload)


@dataclass(frozen=True)
class Peer:
    """How a decoder is made; every run gets a new one."""

    client: bool = False
    max_message_bytes: int = 1 << 20
    max_fragments: int = 1000
    window_bits: int = 0
    """Above 0: permessage-deflate was negotiated."""
    takeover: bool = True

    def decoder(self) -> Decoder:
        inflater = (
            Inflater(window_bits=self.window_bits, takeover=self.takeover) if self.window_bits else None
        )
        return Decoder(
            client=self.client,
            max_message_bytes=self.max_message_bytes,
            max_fragments=self.max_fragments,
            inflater=inflater,
        )

    def run(self, pieces: Iterable[bytes]) -> list[Event]:
        """The events of `pieces`; nothing is read after the end of the connection."""
        decoder = self.decoder()
        events: list[Event] = []
        for piece in pieces:
            events += decoder.receive(piece)
            if events and events[-1].kind in {FAILED, CLOSE}:
                break
        return events


SERVER: Final = Peer()


def cuts(data: bytes, most: int = 400) -> Iterable[tuple[bytes, bytes]]:
    """Every way to cut `data` in two; where it is long, at both ends and at some places between."""
    places = range(len(data) + 1)
    if len(data) > most:
        places_of_long = {
            *places[: most // 2],
            *places[-most // 4 :],
            *places[:: max(1, len(data) * 4 // most)],
        }
        return ((data[:i], data[i:]) for i in sorted(places_of_long))
    return ((data[:i], data[i:]) for i in places)


def events_of(data: bytes, peer: Peer = SERVER) -> list[Event]:
    """The events of `data`: the same whole, byte by byte, cut in two, and with bytes after its end."""
    whole = peer.run([data])
    if len(data) <= 20_000:
        assert peer.run(data[i : i + 1] for i in range(len(data))) == whole, "byte by byte"
    for before, after in cuts(data):
        assert peer.run([before, after]) == whole, f"cut at {len(before)}"
    if whole and whole[-1].kind in {FAILED, CLOSE}:
        assert peer.run([data + b"\x81\x00trailing"]) == whole, "with trailing bytes"
    return whole


def failure_of(data: bytes, peer: Peer = SERVER) -> int:
    """The close code `data` ends with; 0 when it does not fail.  Nothing may have been told before."""
    events = events_of(data, peer)
    if not events:
        return 0
    assert [event.kind for event in events] == [FAILED]
    return events[0].close_code
