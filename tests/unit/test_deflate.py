"""permessage-deflate without frames: Inflater and Deflater (RFC 7692 section 7)."""

import hashlib
import zlib

import pytest

from gateway.deflate import MAX_RESTARTS, TAIL, Deflater, Inflater
from gateway.errors import UsageError


def inflate(inflater: Inflater, *pieces: bytes, limit: int = 1 << 16) -> bytes:
    out = b""
    for piece in pieces:
        inflater.feed(piece)
        out += read(inflater, limit)
    inflater.end_message()
    return out + read(inflater, limit)


def read(inflater: Inflater, limit: int) -> bytes:
    out = b""
    while piece := inflater.read(limit):
        assert len(piece) <= limit
        out += piece
    return out


# RFC 7692 section 7.2.3, word for word
EXAMPLES = {
    "7.2.3.1 one compressed DEFLATE block": "f248cdc9c90700",
    "7.2.3.3 a block with no compression": "000500faff48656c6c6f00",
    "7.2.3.4 a block with BFINAL": "f348cdc9c9070000",
    "7.2.3.5 two blocks in one message": "f248050000 00ffff cac9c90700",
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 100])
def test_examples_of_the_rfc_say_hello_again_and_again(name: str, takeover: bool, limit: int) -> None:
    payload = bytes.fromhex(EXAMPLES[name])
    inflater = Inflater(window_bits=15, takeover=takeover)
    for _ in range(3):
        assert inflate(inflater, payload, limit=limit) == b"Hello"
        assert inflate(inflater, *(payload[i : i + 1] for i in range(len(payload)))) == b"Hello"


def test_sharing_the_window_gives_hello_again() -> None:
    # section 7.2.3.2
    first, second = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
    inflater = Inflater(takeover=True)
    assert (inflate(inflater, first), inflate(inflater, second)) == (b"Hello", b"Hello")
    inflater = Inflater(takeover=False)
    assert inflate(inflater, first) == b"Hello"
    with pytest.raises(zlib.error):
        inflate(inflater, second)


@pytest.mark.parametrize("empty", [b"\x00", b"", b"\x02\x00", b"\x03\x00", b"\x03\x00\x00"])
@pytest.mark.parametrize("takeover", [True, False])
def test_empty_messages_leave_the_next_ones_alone(empty: bytes, takeover: bool) -> None:
    # 7.2.3.6, zlib's second flush in a row, zlib's first flush, and blocks with BFINAL
    inflater = Inflater(takeover=takeover)
    for _ in range(3):
        assert inflate(inflater, empty) == b""
        assert inflate(inflater, bytes.fromhex("f248cdc9c90700")) == b"Hello"


@pytest.mark.parametrize("window_bits", range(9, 16))
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_what_is_deflated_inflates(window_bits: int, takeover: bool, level: int) -> None:
    deflater = Deflater(window_bits=window_bits, takeover=takeover, level=level, mem_level=4)
    inflater = Inflater(window_bits=window_bits, takeover=takeover)
    text = b"".join(b"%d bottles of beer on the wall, " % i for i in range(3000))
    for message in (text, b"", b"x", b"", b"", text[:5000], bytes(100_000), text):
        assert inflate(inflater, deflater.deflate(message)) == message


def test_deflater_without_takeover_never_refers_to_earlier_messages() -> None:
    deflater = Deflater(takeover=False)
    text = b"the same again and again, " * 4
    first, second = deflater.deflate(text), deflater.deflate(text)
    assert zlib.decompressobj(-15).decompress(second + TAIL) == text
    assert len(second) >= len(first)
    keeping = Deflater(takeover=True)
    keeping.deflate(text)
    assert len(keeping.deflate(text)) < len(second)


def test_deflater_keeps_to_its_window() -> None:
    noise = hashlib.shake_128(b"noise").digest(2000)
    message = noise + noise
    narrow = Deflater(window_bits=9, level=9).deflate(message)
    assert zlib.decompressobj(-9).decompress(narrow + TAIL) == message


def test_inflater_remembers_no_more_than_its_window_from_one_read_to_the_next() -> None:
    noise = hashlib.shake_128(b"noise").digest(2000)
    payload = Deflater(window_bits=15, level=9).deflate(noise + noise)
    assert inflate(Inflater(window_bits=15), payload, limit=100) == noise + noise
    with pytest.raises(zlib.error):
        inflate(Inflater(window_bits=9), payload, limit=100)


def test_window_of_8_reads_what_zlib_makes_for_it() -> None:
    # asked for 8, zlib writes with a window of 512
    message = hashlib.shake_128(b"noise").digest(250) * 3
    payload = Deflater(window_bits=9, level=9).deflate(message)
    assert inflate(Inflater(window_bits=8), payload) == message


def test_final_blocks_are_bounded_in_number() -> None:
    assert inflate(Inflater(), b"\x03\x00" * MAX_RESTARTS) == b""
    with pytest.raises(zlib.error):
        inflate(Inflater(), b"\x03\x00" * (MAX_RESTARTS + 1))
    inflater = Inflater()
    for _ in range(5):
        assert inflate(inflater, b"\x03\x00" * MAX_RESTARTS) == b""


def test_output_is_bounded_whatever_comes_in() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = bomb.compress(bytes(1 << 24)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    inflater = Inflater()
    inflater.feed(payload)
    assert len(inflater.read(1000)) == 1000
    assert len(inflater.read(1)) == 1
    assert len(payload) < 20_000


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(UsageError):
        Inflater().read(limit)


@pytest.mark.parametrize("window_bits", [7, 16, -9])
def test_window_bits_out_of_range_are_refused(window_bits: int) -> None:
    with pytest.raises(UsageError):
        Inflater(window_bits=window_bits)
    with pytest.raises(UsageError):
        Deflater(window_bits=window_bits)


def test_deflater_refuses_what_zlib_cannot_do() -> None:
    with pytest.raises(UsageError):
        Deflater(window_bits=8)
    with pytest.raises(UsageError):
        Deflater(level=10)
    with pytest.raises(UsageError):
        Deflater(mem_level=0)
