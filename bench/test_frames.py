"""What frames cost: decode, encode and unmask, against wsproto, websockets and picows in the same run.

Decoding is measured in three ways.  `ringgate` is what the gateway pays: its caller is Cython, so the loop
over events is too (`count_events`, which copies its input first, as a read would have).  `ringgate, events
in Python` is what the Python client pays.  picows has no decoder apart from its protocol class, which is
driven here through `get_buffer` and `buffer_updated`, with a listener in Python, as its users write it.
All decoders are given the same bytes; picows does not check that text is UTF-8, the others do.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import picows
import pytest
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # its stubs leave it out
from pytest_benchmark.fixture import BenchmarkFixture
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask
from wsproto.frame_protocol import FrameProtocol

from gateway._encode import copy_rounds, encode_frame, mask_rounds
from gateway._frames import TEXT, Decoder, count_events

MASK: Final = b"\x37\xfa\x21\x3d"
BATCH_FRAMES: Final = 900
BATCH: Final = encode_frame(TEXT, b"x" * 64, mask=MASK) * BATCH_FRAMES
LARGE_BYTES: Final = 65536
LARGE: Final = encode_frame(TEXT, b"x" * LARGE_BYTES, mask=MASK)

# (what comes in, how many messages it is)
WORK: Final = {"900 frames of 64 B": (BATCH, BATCH_FRAMES), "one frame of 64 KB": (LARGE, 1)}


def ringgate_decoder() -> Callable[[bytes], int]:
    decoder = Decoder(max_message_bytes=1 << 20, max_fragments=1000)
    return lambda data: count_events(decoder, data)


def ringgate_events_decoder() -> Callable[[bytes], int]:
    decoder = Decoder(max_message_bytes=1 << 20, max_fragments=1000)
    return lambda data: len(decoder.receive(data))


def wsproto_decoder() -> Callable[[bytes], int]:
    protocol = FrameProtocol(client=False, extensions=[])

    def decode(data: bytes) -> int:
        protocol.receive_bytes(data)
        return sum(part.message_finished for part in protocol.received_frames())

    return decode


def websockets_decoder() -> Callable[[bytes], int]:
    protocol = ServerProtocol(state=State.OPEN, max_size=1 << 20)

    def decode(data: bytes) -> int:
        protocol.receive_data(data)
        return sum(frame.data.decode() != "" for frame in protocol.events_received())  # type: ignore[union-attr]

    return decode


class _Counter(picows.WSListener):
    frames = 0

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self.frames += 1


class _NoTransport(asyncio.Transport):
    def write(self, data: Any) -> None:
        """Send nothing."""


UPGRADE: Final = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def picows_decoder() -> Callable[[bytes], int]:
    listener = _Counter()
    logger = logging.getLogger("picows.bench")

    async def build() -> Any:
        # no host, path or handshake time, no pings; frames of at most 1 MiB; its own default read buffer
        ping: Any = (False, 10.0, 10.0, picows.WSAutoPingStrategy.PING_WHEN_IDLE)
        return WSProtocol(
            None, None, False, lambda _: listener, logger, True, None, *ping, True, 1 << 20, None, 16 * 1024
        )

    loop = asyncio.new_event_loop()
    protocol = loop.run_until_complete(build())
    loop.close()
    with socket.socket() as unconnected:
        protocol.connection_made(_NoTransport({"socket": unconnected}))

    def decode(data: bytes) -> int:
        before, done = listener.frames, 0
        while done < len(data):
            buffer = protocol.get_buffer(-1)
            n = min(len(buffer), len(data) - done)
            buffer[:n] = data[done : done + n]
            protocol.buffer_updated(n)
            done += n
        return listener.frames - before

    decode(UPGRADE)
    return decode


DECODERS: Final = {
    "ringgate": ringgate_decoder,
    "ringgate, events in Python": ringgate_events_decoder,
    "picows": picows_decoder,
    "websockets": websockets_decoder,
    "wsproto": wsproto_decoder,
}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("work", WORK)
def test_decode(benchmark: BenchmarkFixture, work: str, decoder: str) -> None:
    data, messages = WORK[work]
    decode = DECODERS[decoder]()
    assert decode(data) == messages
    benchmark.group = f"decode {work}"
    assert benchmark(decode, data) == messages


def _wsproto_encode(payload: bytes) -> bytes:
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(payload))


ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "ringgate": lambda payload: encode_frame(2, payload),
    "ringgate, masked": lambda payload: encode_frame(2, payload, mask=MASK),
    "websockets": lambda payload: Frame(Opcode.BINARY, payload).serialize(mask=False),
    "wsproto": _wsproto_encode,
}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("size", [64, LARGE_BYTES])
def test_encode(benchmark: BenchmarkFixture, size: int, encoder: str) -> None:
    encode = ENCODERS[encoder]
    benchmark.group = f"encode one frame of {size} B"
    assert len(benchmark(encode, bytes(size))) >= size + 2


@pytest.mark.parametrize("masker", ["ringgate, in place", "websockets, to new bytes", "memcpy"])
def test_unmask(benchmark: BenchmarkFixture, masker: str) -> None:
    data, other = bytearray(LARGE_BYTES), bytearray(LARGE_BYTES)
    benchmark.group = "unmask 64 KB, ten times"
    work: dict[str, Callable[[], object]] = {
        "ringgate, in place": lambda: mask_rounds(data, MASK, 10),
        "websockets, to new bytes": lambda: [apply_mask(data, MASK) for _ in range(10)],
        "memcpy": lambda: copy_rounds(other, data, 10),
    }
    benchmark(work[masker])


def _best(work: Callable[[], object], other: Callable[[], object], rounds: int = 30) -> tuple[float, float]:
    """The shortest times of both in seconds, measured in turn."""
    best, best_other = float("inf"), float("inf")
    for _ in range(rounds):
        start = perf_counter()
        work()
        middle = perf_counter()
        other()
        best = min(best, middle - start)
        best_other = min(best_other, perf_counter() - middle)
    return best, best_other


def test_target_unmasking_takes_at_most_one_and_a_half_times_memcpy(benchmark: BenchmarkFixture) -> None:
    data, other = bytearray(LARGE_BYTES), bytearray(LARGE_BYTES)
    unmask, copy = _best(lambda: mask_rounds(data, MASK, 100), lambda: copy_rounds(other, data, 100))
    benchmark.extra_info["times_memcpy"] = round(unmask / copy, 3)
    benchmark.group = "targets"
    benchmark.pedantic(mask_rounds, (data, MASK, 1))  # type: ignore[no-untyped-call]
    if benchmark.enabled:
        assert unmask <= 1.5 * copy


def test_target_small_frames_take_at_most_60_ns_and_a_fiftieth_of_wsproto(
    benchmark: BenchmarkFixture,
) -> None:
    ours, theirs = ringgate_decoder(), wsproto_decoder()
    fast, slow = _best(lambda: ours(BATCH), lambda: theirs(BATCH), rounds=10)
    benchmark.extra_info["ns_a_frame"] = round(fast / BATCH_FRAMES * 1e9, 1)
    benchmark.extra_info["times_faster_than_wsproto"] = round(slow / fast)
    benchmark.group = "targets"
    benchmark.pedantic(ours, (BATCH,))  # type: ignore[no-untyped-call]
    if benchmark.enabled:
        assert fast / BATCH_FRAMES <= 60e-9
        assert slow >= 50 * fast
