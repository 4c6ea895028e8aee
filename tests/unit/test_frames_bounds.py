"""Bounds of the decoder: lengths near overflow, messages too big, too many fragments, memory held."""

import os
from itertools import product

import pytest

from gateway._frames import BINARY, FAILED, PING, TEXT, Event
from tests.support.frames import SERVER, Peer, events_of, failure_of, frame

CONTINUATION = 0
LENGTHS = [2**power + near for power in (7, 16, 31, 32, 63) for near in (-2, -1, 0, 1, 2)]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("held", [0, 1, 500, 1000])
@pytest.mark.parametrize("bound", [1000, 2**16 + 500, 2**32, 2**60])
def test_length_near_overflow_is_judged_at_every_cut_and_costs_no_memory(
    length: int, held: int, bound: int
) -> None:
    peer = Peer(max_message_bytes=bound)
    before = frame(BINARY, bytes(held), fin=False) if held else b""
    opcode = CONTINUATION if held else BINARY
    data = before + frame(opcode, b"", declared=length)
    if length >= 2**63:
        wanted = 1002
    elif length > bound - held:
        wanted = 1009
    else:
        wanted = 0
    assert failure_of(data, peer) == wanted
    decoder = peer.decoder()
    decoder.receive(data)
    assert decoder.held_bytes <= max(64, 2 * held)


@pytest.mark.parametrize("length", [2**63 + near for near in (0, 1, 2)] + [2**64 - 1, 2**64 - 1000])
def test_length_that_would_wrap_the_sum_is_refused(length: int) -> None:
    for held in (1, 500, 1000):
        data = frame(BINARY, bytes(held), fin=False) + frame(CONTINUATION, b"x" * 50, declared=length)
        assert failure_of(data, Peer(max_message_bytes=2**60)) == 1002


@pytest.mark.parametrize("parts", [[1000], [999, 1], [1, 999], [500, 0, 500], [0, 1000]])
def test_message_of_exactly_the_bound_passes_and_one_byte_more_fails(parts: list[int]) -> None:
    peer = Peer(max_message_bytes=1000)

    def message(sizes: list[int]) -> bytes:
        frames = [
            frame(CONTINUATION if i else BINARY, b"x" * size, fin=i == len(sizes) - 1)
            for i, size in enumerate(sizes)
        ]
        return b"".join(frames)

    assert events_of(message(parts), peer) == [Event(BINARY, b"x" * 1000)]
    more = [*parts[:-1], parts[-1] + 1]
    assert failure_of(message(more), peer) == 1009
    less = [*parts[:-1], parts[-1] - 1]
    assert events_of(message(less), peer) == [Event(BINARY, b"x" * 999)]


def test_too_big_is_told_at_the_header_before_any_payload() -> None:
    decoder = Peer(max_message_bytes=1000).decoder()
    assert decoder.receive(frame(BINARY, b"", declared=1001)[:4]) == [
        Event(FAILED, b"", 1009, b"message too big")
    ]
    assert decoder.held_bytes == 0


def test_bound_is_for_each_message_not_for_the_connection() -> None:
    data = (
        frame(BINARY, bytes(1000)) * 5 + frame(TEXT, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 400)
    )
    assert len(events_of(data, Peer(max_message_bytes=1000))) == 6


def test_control_frames_do_not_count_for_the_bounds() -> None:
    peer = Peer(max_message_bytes=10, max_fragments=2)
    ping = frame(PING, bytes(125))
    data = ping + frame(TEXT, b"x" * 5, fin=False) + ping * 5 + frame(CONTINUATION, b"x" * 5)
    assert events_of(data, peer)[-1] == Event(TEXT, b"x" * 10)


def test_bound_of_zero_lets_only_empty_messages_pass() -> None:
    peer = Peer(max_message_bytes=0)
    assert events_of(frame(TEXT), peer) == [Event(TEXT, b"")]
    assert failure_of(frame(TEXT, b"x"), peer) == 1009


def test_fragments_up_to_the_bound_pass_and_one_more_fails() -> None:
    peer = Peer(max_fragments=3)
    first, middle, last = (
        frame(TEXT, b"a", fin=False),
        frame(CONTINUATION, b"b", fin=False),
        frame(CONTINUATION, b"c"),
    )
    assert events_of(first + middle + last, peer) == [Event(TEXT, b"abc")]
    assert events_of((first + middle + last) * 3, peer) == [Event(TEXT, b"abc")] * 3
    assert failure_of(first + middle + middle + last, peer) == 1008
    assert failure_of(first + last, Peer(max_fragments=1)) == 1008


def test_empty_fragments_count() -> None:
    data = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 1000
    assert failure_of(data, Peer(max_fragments=100)) == 1008


def test_fragments_and_reads_of_a_byte_that_never_end_hold_little_memory() -> None:
    decoder = Peer(max_message_bytes=2**20, max_fragments=2**31).decoder()
    assert decoder.receive(frame(TEXT, fin=False)) == []
    piece = frame(CONTINUATION, b"x", fin=False)
    for i in range(1, 20_001):
        for byte in piece:
            decoder.receive(bytes([byte]))
        assert decoder.held_bytes <= max(64, 2 * i)
    assert decoder.in_message


@pytest.mark.parametrize("piece", [1, 7, 1000, 65536])
def test_memory_held_follows_what_came_not_what_was_declared(piece: int) -> None:
    decoder = Peer(max_message_bytes=2**40).decoder()
    decoder.receive(frame(BINARY, b"", declared=2**40))
    received = 0
    while received < 300 * piece:
        decoder.receive(bytes(piece))
        received += piece
        assert decoder.held_bytes <= max(64, 2 * received)


def test_memory_of_a_whole_message_is_no_more_than_the_message() -> None:
    decoder = SERVER.decoder()
    data = frame(BINARY, bytes(100_000))
    decoder.receive(data[:60_000])
    decoder.receive(data[60_000:-1])
    assert decoder.held_bytes == 100_000
    assert decoder.receive(data[-1:]) == [Event(BINARY, bytes(100_000))]
    assert decoder.held_bytes == 0


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux' /proc")
def test_ten_thousand_peers_that_declare_the_maximum_cost_little() -> None:
    peer = Peer(max_message_bytes=2**24)
    data = frame(BINARY, bytes(1000), declared=2**24)
    before = _resident_bytes()
    decoders = []
    for _ in range(10_000):
        decoder = peer.decoder()
        decoder.receive(data)
        decoders.append(decoder)
    assert sum(decoder.held_bytes for decoder in decoders) <= 10_000 * 2000
    assert _resident_bytes() - before < 10_000 * 4096


def test_whole_messages_hold_nothing_between_them() -> None:
    decoder = SERVER.decoder()
    for size, fin in product((0, 10, 70_000), (True, False)):
        decoder.receive(frame(BINARY, bytes(size), fin=fin))
        if not fin:
            decoder.receive(frame(CONTINUATION))
        assert (decoder.held_bytes, decoder.in_message) == (0, False)
