"""The encoder: headers in their shortest form, masks, close frames, and what it refuses."""

import pytest

from gateway._encode import encode_close, encode_frame
from gateway._frames import BINARY, CLOSE, PING, PONG, TEXT, Event
from gateway.closecodes import may_receive
from gateway.errors import UsageError
from tests.support.frames import SERVER, Peer, frame

CONTINUATION = 0
CLIENT = Peer(client=True)
SIZES = [0, 1, 3, 4, 7, 8, 63, 64, 125, 126, 127, 255, 256, 65535, 65536, 65537, 100_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mask", [None, b"\x00\x00\x00\x00", b"\x01\x02\xff\x80"])
def test_frame_is_what_the_rfc_says_for_every_form_of_length(size: int, mask: bytes | None) -> None:
    payload = bytes(i * 31 % 256 for i in range(size))
    encoded = encode_frame(BINARY, payload, mask=mask)
    assert encoded == frame(BINARY, payload, mask=mask)
    peer = SERVER if mask else CLIENT
    assert peer.run([encoded]) == [Event(BINARY, payload)]


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("rsv1", [True, False])
def test_bits_of_the_first_byte(opcode: int, fin: bool, rsv1: bool) -> None:
    assert encode_frame(opcode, b"x", fin, rsv1) == frame(opcode, b"x", fin=fin, rsv=4 * rsv1, mask=None)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_have_at_most_125_bytes_and_are_whole(opcode: int) -> None:
    assert encode_frame(opcode, bytes(125)) == frame(opcode, bytes(125), mask=None)
    for payload, fin, rsv1 in ((bytes(126), True, False), (b"", False, False), (b"", True, True)):
        with pytest.raises(UsageError):
            encode_frame(opcode, payload, fin, rsv1)


@pytest.mark.parametrize("opcode", [-1, 3, 7, 11, 15, 16, 129])
def test_unknown_opcodes_are_refused(opcode: int) -> None:
    with pytest.raises(UsageError):
        encode_frame(opcode, b"")


@pytest.mark.parametrize("mask", [b"", b"abc", b"abcde"])
def test_mask_that_is_not_four_bytes_is_refused(mask: bytes) -> None:
    with pytest.raises(UsageError):
        encode_frame(TEXT, b"x", mask=mask)


def test_payload_may_be_any_bytes_but_not_text() -> None:
    assert encode_frame(TEXT, bytearray(b"ab")) == encode_frame(TEXT, memoryview(b"ab")) == b"\x81\x02ab"
    with pytest.raises(TypeError):
        encode_frame(TEXT, "ab")  # type: ignore[arg-type]


def test_every_close_code_that_may_be_sent_is_encoded_and_no_other() -> None:
    for code in range(-2, 65540):
        if may_receive(code):
            assert encode_close(code) == b"\x88\x02" + code.to_bytes(2, "big")
        elif code != 1005:
            with pytest.raises(UsageError):
                encode_close(code)


def test_close_without_a_code_is_empty() -> None:
    assert encode_close(1005) == b"\x88\x00"
    assert encode_close(1005, mask=b"abcd") == b"\x88\x80abcd"
    with pytest.raises(UsageError):
        encode_close(1005, "reason")


def test_close_with_reason_and_mask_is_read_by_the_decoder() -> None:
    reason = "tschüß"
    payload = b"\x03\xe8" + reason.encode()
    assert CLIENT.run([encode_close(1000, reason)]) == [Event(CLOSE, payload, 1000, reason.encode())]
    assert SERVER.run([encode_close(1000, reason.encode(), b"abcd")]) == [
        Event(CLOSE, payload, 1000, reason.encode())
    ]


@pytest.mark.parametrize("character", ["x", "ü", "€", "\U0001f600"])
@pytest.mark.parametrize("shift", range(4))
def test_long_reason_is_cut_between_characters(character: str, shift: int) -> None:
    reason = ("a" * shift + character * 200).encode()
    (event,) = CLIENT.run([encode_close(1000, reason)])
    assert reason.startswith(event.close_reason)
    assert 123 - len(character.encode()) < len(event.close_reason) <= 123
    assert event.close_reason.decode()


def test_reason_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UsageError):
        encode_close(1000, b"\xff")
