"""The decoder with permessage-deflate: bounds on inflation, control frames between fragments, bad data."""

import hashlib
import zlib

import pytest

from gateway._frames import BINARY, CLOSE, FAILED, PING, PONG, TEXT, Event
from tests.support.frames import Peer, cuts, events_of, failure_of, frame

CONTINUATION = 0
PEER = Peer(window_bits=15)
HELLO = bytes.fromhex("f248cdc9c90700")


def deflated(payload: bytes, *, flushes: int = 1) -> bytes:
    """By zlib itself, with a flush after each of `flushes` equal parts."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = -(-len(payload) // flushes)
    out = b""
    for i in range(flushes):
        out += stream.compress(payload[i * size : (i + 1) * size]) + stream.flush(zlib.Z_SYNC_FLUSH)
    return out[:-4]


def fragments(opcode: int, payload: bytes, count: int) -> list[bytes]:
    size = -(-len(payload) // count)
    return [
        frame(
            CONTINUATION if i else opcode,
            payload[i * size : (i + 1) * size],
            fin=i == count - 1,
            rsv=0 if i else 4,
        )
        for i in range(count)
    ]


def test_compressed_and_plain_messages_mix() -> None:
    data = (
        frame(TEXT, HELLO, rsv=4)
        + frame(TEXT, b"plain")
        + frame(BINARY, bytes.fromhex("f200110000"), rsv=4)  # refers to the first one
        + frame(TEXT, b"\x00", rsv=4)
        + frame(TEXT, b"", rsv=4)
        + frame(TEXT, HELLO, rsv=4)
    )
    payloads = [
        (TEXT, b"Hello"),
        (TEXT, b"plain"),
        (BINARY, b"Hello"),
        (TEXT, b""),
        (TEXT, b""),
        (TEXT, b"Hello"),
    ]
    assert events_of(data, PEER) == [Event(*pair) for pair in payloads]


def test_client_reads_compressed_messages() -> None:
    peer = Peer(client=True, window_bits=15)
    assert events_of(frame(TEXT, HELLO, rsv=4, mask=None), peer) == [Event(TEXT, b"Hello")]


def test_without_takeover_a_message_that_refers_to_an_earlier_one_fails() -> None:
    data = frame(TEXT, HELLO, rsv=4) + frame(TEXT, bytes.fromhex("f200110000"), rsv=4)
    events = events_of(data, Peer(window_bits=15, takeover=False))
    assert [(event.kind, event.close_code) for event in events] == [(TEXT, 0), (FAILED, 1007)]


@pytest.mark.parametrize("opcode", [CONTINUATION, CLOSE, PING, PONG])
def test_rsv1_is_refused_anywhere_but_on_the_first_frame_of_a_message(opcode: int) -> None:
    assert failure_of(frame(opcode, HELLO, rsv=4), PEER) == 1002
    assert (
        failure_of(frame(TEXT, HELLO[:2], rsv=4, fin=False) + frame(opcode, HELLO[2:], rsv=4), PEER) == 1002
    )
    assert failure_of(frame(TEXT, b"a", fin=False) + frame(opcode, b"b", rsv=4), PEER) == 1002


@pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
def test_other_reserved_bits_are_refused_with_the_extension_too(rsv: int) -> None:
    assert failure_of(frame(TEXT, HELLO, rsv=rsv), PEER) == 1002


@pytest.mark.parametrize("control", [PING, PONG, CLOSE])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("flushes", [1, 3])
def test_control_frame_at_every_place_in_a_compressed_message_leaves_it_alone(
    control: int, count: int, flushes: int
) -> None:
    text = "compressed, in fragments; ünï¢ode ".encode() * 5
    parts = fragments(TEXT, deflated(text, flushes=flushes), count)
    for place in range(count + 1):
        data = b"".join(parts[:place]) + frame(control, b"\x03\xe8ok") + b"".join(parts[place:])
        events = PEER.run([data])
        assert [PEER.run(cut) for cut in cuts(data)] == [events] * (len(data) + 1)
        kinds = [event.kind for event in events]
        if control == CLOSE:
            assert kinds == ([TEXT, CLOSE] if place == count else [CLOSE])
        else:
            assert kinds == ([TEXT, control] if place == count else [control, TEXT])
            assert Event(TEXT, text) in events


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("source", ["zeros", "noise", "stored"])
@pytest.mark.parametrize("bound", [1, 100, 65535, 65536, 65537, 200_000])
def test_inflated_size_of_exactly_the_bound_passes_and_one_byte_more_fails(
    count: int, source: str, bound: int
) -> None:
    peer = Peer(window_bits=15, max_message_bytes=bound)
    noise = hashlib.shake_128(b"noise").digest(bound + 1)
    for size, passes in ((bound - 1, True), (bound, True), (bound + 1, False)):
        payload = noise[:size] if source == "noise" else bytes(size)
        if source == "stored":
            stream = zlib.compressobj(0, zlib.DEFLATED, -15)
            wire = (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        else:
            wire = deflated(payload)
        data = b"".join(fragments(BINARY, wire, count))
        if passes:
            assert peer.run([data]) == [Event(BINARY, payload)]
            assert peer.run(data[i : i + 999] for i in range(0, len(data), 999)) == [Event(BINARY, payload)]
        else:
            assert failure_of(data[:3000], peer) in {0, 1009}
            assert [(event.kind, event.close_code) for event in peer.run([data])] == [(FAILED, 1009)]


def test_bomb_fails_at_the_bound_and_holds_no_more_than_it() -> None:
    bound = 100_000
    peer = Peer(window_bits=15, max_message_bytes=bound)
    wire = deflated(bytes(1 << 26))
    assert len(wire) * 1000 < 1 << 26
    assert failure_of(frame(TEXT, wire, rsv=4), peer) == 1009
    decoder = peer.decoder()
    data = frame(TEXT, wire, rsv=4)
    for i in range(len(data)):
        events = decoder.receive(data[i : i + 1])
        assert decoder.held_bytes <= bound
        if events:
            break
    assert events == [Event(FAILED, b"", 1009, b"message too big")]
    assert i < 1000
    assert decoder.held_bytes == 0


def test_bomb_in_fragments_fails_too() -> None:
    peer = Peer(window_bits=15, max_message_bytes=1 << 16)
    data = b"".join(fragments(BINARY, deflated(bytes(1 << 20)), 50))
    assert failure_of(data, peer) == 1009


def test_bound_is_for_each_compressed_message_not_for_the_connection() -> None:
    noise = hashlib.shake_128(b"noise").digest(1000)
    data = frame(BINARY, deflated(noise), rsv=4) * 3 + b"".join(fragments(BINARY, deflated(noise), 4)) * 3
    peer = Peer(window_bits=15, takeover=False, max_message_bytes=1000, max_fragments=4)
    assert events_of(data, peer) == [Event(BINARY, noise)] * 6


def test_padding_that_inflates_to_nothing_is_bounded() -> None:
    peer = Peer(window_bits=15, max_message_bytes=1000, max_fragments=10)
    nothing = b"\x00\x00\x00\xff\xff"
    assert peer.run([frame(BINARY, nothing * 20 + b"\x00", rsv=4)]) == [Event(BINARY, b"")]
    assert failure_of(frame(BINARY, nothing * 1000 + b"\x00", rsv=4), peer) == 1009
    data = frame(BINARY, nothing * 100, rsv=4, fin=False) + frame(CONTINUATION, nothing * 200, fin=False)
    assert failure_of(data, peer) == 1009


@pytest.mark.parametrize(
    "wire",
    [
        b"\xff" * 10,
        b"\x07",
        b"\x01\x02\x03\x04\x05\x06",
        HELLO[:-1] + b"\xff\xff",
    ],
)
def test_data_that_does_not_inflate_fails_with_1007(wire: bytes) -> None:
    assert failure_of(frame(BINARY, wire, rsv=4), PEER) == 1007


@pytest.mark.parametrize("bad", [b"\xff", b"ok \xed\xa0\x80", b"\xc3", b"x" * 70_000 + b"\xc0"])
def test_text_that_is_not_utf8_after_inflation_fails_with_1007(bad: bytes) -> None:
    assert failure_of(frame(TEXT, deflated(bad), rsv=4), PEER) == 1007
    assert failure_of(b"".join(fragments(TEXT, deflated(bad), 3)), PEER) == 1007
    assert events_of(frame(BINARY, deflated(bad), rsv=4), PEER) == [Event(BINARY, bad)]


def test_text_that_is_not_utf8_fails_before_the_message_is_whole() -> None:
    decoder = PEER.decoder()
    wire = deflated(b"\xff" + b"x" * 10, flushes=2)
    (event,) = decoder.receive(frame(TEXT, wire[:12], rsv=4, declared=1000))
    assert (event.kind, event.close_code) == (FAILED, 1007)


def test_bad_text_before_the_bound_and_too_much_after_it_is_the_same_failure_at_every_cut() -> None:
    peer = Peer(window_bits=15, max_message_bytes=100)
    assert failure_of(frame(TEXT, deflated(b"x" * 50 + b"\xff" + b"x" * 200), rsv=4), peer) == 1007
    assert failure_of(frame(TEXT, deflated(b"x" * 150 + b"\xff"), rsv=4), peer) == 1009


class BrokenInflater:
    """An inflater with an error of its own."""

    def feed(self, data: bytes) -> None:
        raise RuntimeError(data)

    def end_message(self) -> None:
        raise RuntimeError

    def read(self, limit: int) -> bytes:
        raise RuntimeError(limit)


def test_error_inside_the_inflater_fails_with_1011_and_raises_nothing() -> None:
    from gateway._frames import Decoder

    decoder = Decoder(max_message_bytes=100, max_fragments=1, inflater=BrokenInflater())  # type: ignore[arg-type]
    (event,) = decoder.receive(frame(TEXT, HELLO, rsv=4))
    assert (event.kind, event.close_code) == (FAILED, 1011)
