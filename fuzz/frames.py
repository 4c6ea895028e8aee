"""Fuzz the decoder: nothing may crash, and where the input is cut must not change what it comes to.

    python fuzz/frames.py [libFuzzer's options]

The first three bytes of an input choose role, bounds, compression and where to cut.  The rest is the stream
itself, or what frames are built from: random bytes alone seldom get past a second header, and the decoder is
an extension module, whose branches atheris does not see.
"""

import sys

import atheris

with atheris.instrument_imports():
    from gateway.deflate import Deflater, Inflater

from gateway._frames import CLOSE, FAILED, Decoder, Event


def decoder(flags: int, bound: int) -> Decoder:
    """Return a decoder as the flags say: 1 client, 2 compression, 4 no takeover, 8 a window of 9 bits."""
    window_bits = 9 if flags & 8 else 15
    inflater = Inflater(window_bits=window_bits, takeover=not flags & 4) if flags & 2 else None
    return Decoder(
        client=bool(flags & 1), max_message_bytes=bound * bound, max_fragments=8, inflater=inflater
    )


def built(flags: int, choices: bytes) -> bytes:
    """Build a stream of frames that are mostly in order from random choices."""
    provider = atheris.FuzzedDataProvider(choices)
    deflater = Deflater(window_bits=9, takeover=not flags & 4, level=1, mem_level=1)
    stream, opened = b"", False
    while provider.remaining_bytes() and len(stream) < 4096:
        first = provider.PickValueInList([0x80, 0, 0x80, 0, 0x88, 0x89, 0x8A, provider.ConsumeUInt(1)])
        payload = provider.PickValueInList([b"", b"x" * provider.ConsumeUInt(1), "ü€".encode() * 20])
        payload += provider.ConsumeBytes(provider.ConsumeIntInRange(0, 30))
        if first & 15 == 0 and not opened:
            first |= provider.PickValueInList([1, 2])
            if flags & 2 and provider.ConsumeBool():
                first |= 0x40
                payload = deflater.deflate(payload) if provider.ConsumeBool() else payload
        elif first & 8:
            payload = payload[:125]
        opened = not first & 0x80 if not first & 8 else opened
        length = len(payload)
        size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
        if flags & 1:
            stream += bytes([first]) + size + payload
        else:
            key = provider.ConsumeBytes(4).ljust(4, b"\0")
            masked = bytes(byte ^ key[i & 3] for i, byte in enumerate(payload))
            stream += bytes([first, size[0] | 0x80]) + size[1:] + key + masked
    return stream


def run(reader: Decoder, pieces: list[bytes], bound: int) -> list[Event]:
    """Read all pieces, and check the memory held and the size of every message on the way."""
    events: list[Event] = []
    for piece in pieces:
        events += reader.receive(piece)
        if reader.held_bytes > max(64, bound):
            raise AssertionError(f"{reader.held_bytes} bytes held")
        if events and events[-1].kind in {FAILED, CLOSE}:
            break
    if any(len(event.payload) > max(125, bound) for event in events):
        raise AssertionError("a message is larger than the bound")
    return events


def outcome(events: list[Event]) -> list[Event]:
    """Return the events with 1009 and 1007 of compressed messages as one failure.

    zlib looks at the next code before it sees that the output is full: where the first byte too many is
    followed at once by data that is wrong, it depends on the cut which of the two is found.
    """
    both = (b"message too big", b"compressed message is not valid")
    return [Event(FAILED, b"", 1007, both[1]) if event.close_reason in both else event for event in events]


def test_one_input(data: bytes) -> None:
    """Run one input whole, cut in two, and byte by byte."""
    if len(data) < 3:
        return
    flags, bound, cut = data[0], data[1], data[2]
    stream = built(flags, data[3:]) if flags & 16 else data[3:]
    whole = run(decoder(flags, bound), [stream], bound * bound)
    at = cut * len(stream) // 255
    ways = [[stream[:at], stream[at:]], [stream[i : i + 1] for i in range(len(stream))]]
    if flags & 10 == 10:
        return  # a peer that exceeds its small window is found out only when zlib has forgotten
    for pieces in ways:
        events = run(decoder(flags, bound), pieces, bound * bound)
        if outcome(events) != outcome(whole):
            raise AssertionError(f"{events} is not {whole}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
