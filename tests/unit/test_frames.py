"""The decoder: messages, fragments, control frames, close frames and text."""

import pytest

from gateway._frames import BINARY, CLOSE, FAILED, NEED_DATA, PING, PONG, TEXT, Decoder, Event
from gateway.closecodes import may_receive
from gateway.errors import UsageError
from tests.support.frames import SERVER, Peer, events_of, failure_of, frame

CLIENT = Peer(client=True)
CONTINUATION = 0


def test_constants_are_the_values_on_the_wire() -> None:
    assert (FAILED, NEED_DATA, TEXT, BINARY, CLOSE, PING, PONG) == (-1, 0, 1, 2, 8, 9, 10)


@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 125, 126, 127, 255, 256, 257, 65535, 65536, 70000]
)
@pytest.mark.parametrize("mask", [b"\x37\xfa\x21\x3d", b"\x00\x00\x00\x00", b"\xff\x00\x80\x7f"])
def test_message_of_one_frame_of_any_size_is_told_unmasked(size: int, mask: bytes) -> None:
    payload = bytes((7 * i + i // 256) % 256 for i in range(size))
    assert events_of(frame(BINARY, payload, mask=mask)) == [Event(BINARY, payload)]


def test_text_and_binary_are_told_apart_and_in_order() -> None:
    data = frame(TEXT, b"one") + frame(BINARY, b"\xff\xfe") + frame(TEXT, "zwei ü €".encode()) + frame(TEXT)
    assert events_of(data) == [
        Event(TEXT, b"one"),
        Event(BINARY, b"\xff\xfe"),
        Event(TEXT, "zwei ü €".encode()),
        Event(TEXT, b""),
    ]


def test_client_reads_frames_without_mask() -> None:
    data = (
        frame(TEXT, b"hello", mask=None) + frame(PING, b"!", mask=None) + frame(BINARY, bytes(300), mask=None)
    )
    assert events_of(data, CLIENT) == [Event(TEXT, b"hello"), Event(PING, b"!"), Event(BINARY, bytes(300))]


def test_client_gathers_a_fragmented_message() -> None:
    data = frame(TEXT, b"hel", mask=None, fin=False) + frame(CONTINUATION, b"lo", mask=None)
    assert events_of(data, CLIENT) == [Event(TEXT, b"hello")]


@pytest.mark.parametrize(("peer", "mask"), [(SERVER, None), (CLIENT, b"abcd")])
def test_wrong_masking_fails(peer: Peer, mask: bytes | None) -> None:
    assert failure_of(frame(TEXT, b"hello", mask=mask), peer) == 1002


def test_fragments_are_told_as_one_message() -> None:
    data = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION, b"bc")
    assert events_of(data + frame(BINARY, b"next")) == [Event(TEXT, b"abc"), Event(BINARY, b"next")]


def test_empty_message_in_empty_fragments_is_told() -> None:
    data = frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION)
    assert events_of(data) == [Event(BINARY, b"")]


@pytest.mark.parametrize("control", [PING, PONG])
@pytest.mark.parametrize("size", [0, 1, 125])
def test_control_frame_at_every_place_in_a_message_leaves_it_alone(control: int, size: int) -> None:
    parts = [
        frame(TEXT, b"on", fin=False),
        frame(CONTINUATION, b"e me", fin=False),
        frame(CONTINUATION, b"ssage"),
    ]
    expected = Event(control, b"x" * size)
    for place in range(4):
        data = b"".join(parts[:place]) + frame(control, b"x" * size) + b"".join(parts[place:])
        events = events_of(data)
        assert sorted(events) == sorted([expected, Event(TEXT, b"one message")])
        assert events[0 if place < 3 else 1] == expected


def test_continuation_of_nothing_fails() -> None:
    assert failure_of(frame(CONTINUATION, b"x")) == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_inside_a_message_fails(opcode: int) -> None:
    assert failure_of(frame(TEXT, b"x", fin=False) + frame(opcode, b"y")) == 1002


def test_continuation_after_a_finished_message_fails() -> None:
    events = events_of(frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"y") + frame(CONTINUATION, b"z"))
    assert [event.kind for event in events] == [TEXT, FAILED]
    assert events[1].close_code == 1002


@pytest.mark.parametrize("rsv", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits_fail_without_an_extension(opcode: int, rsv: int) -> None:
    assert failure_of(frame(opcode, b"", rsv=rsv)) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frame_in_fragments_or_too_long_fails(opcode: int) -> None:
    assert failure_of(frame(opcode, b"", fin=False)) == 1002
    assert failure_of(frame(opcode, bytes(126))) == 1002
    assert failure_of(frame(opcode, b"x", form=16)) == 1002


@pytest.mark.parametrize(("length", "form"), [(0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)])
def test_length_that_is_not_minimal_fails(length: int, form: int) -> None:
    assert failure_of(frame(BINARY, bytes(length), form=form)) == 1002


def test_failure_is_sticky_and_reads_nothing_more() -> None:
    decoder = SERVER.decoder()
    first = decoder.receive(frame(3) + frame(TEXT, b"x"))
    assert first == [Event(FAILED, b"", 1002, b"unknown opcode")]
    assert decoder.receive(frame(TEXT, b"y")) == first
    assert (decoder.close_code, decoder.in_message, decoder.held_bytes) == (1002, False, 0)


def test_messages_before_a_failure_are_told() -> None:
    events = events_of(frame(TEXT, b"ok") + frame(PING, b"p") + frame(15))
    assert [event.kind for event in events] == [TEXT, PING, FAILED]


# close frames (RFC 6455 sections 5.5.1 and 7.4)


def test_close_without_a_code_tells_1005() -> None:
    assert events_of(frame(CLOSE)) == [Event(CLOSE, b"", 1005, b"")]


def test_close_tells_code_and_reason() -> None:
    payload = b"\x03\xe9" + "auf Wiedersehen ü".encode()
    assert events_of(frame(CLOSE, payload)) == [Event(CLOSE, payload, 1001, payload[2:])]


def test_after_close_nothing_is_read() -> None:
    decoder = SERVER.decoder()
    assert [event.kind for event in decoder.receive(frame(CLOSE) + frame(TEXT, b"x"))] == [CLOSE]
    assert decoder.receive(frame(TEXT, b"y")) == []
    assert decoder.receive(b"\xff\xff") == []


def test_close_in_the_middle_of_a_message_forgets_it() -> None:
    decoder = SERVER.decoder()
    decoder.receive(frame(TEXT, b"x" * 1000, fin=False))
    assert decoder.held_bytes >= 1000
    assert [event.kind for event in decoder.receive(frame(CLOSE))] == [CLOSE]
    assert (decoder.held_bytes, decoder.in_message) == (0, False)


def test_close_frame_of_one_byte_fails() -> None:
    assert failure_of(frame(CLOSE, b"\x03")) == 1002


def test_every_close_code_has_the_verdict_of_the_table() -> None:
    for code in range(65536):
        (event,) = SERVER.run([frame(CLOSE, code.to_bytes(2, "big"))])
        assert (event.kind, event.close_code) == ((CLOSE, code) if may_receive(code) else (FAILED, 1002)), (
            code
        )


@pytest.mark.parametrize("reason", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"x" * 122 + b"\xe2"])
def test_close_reason_that_is_not_utf8_fails(reason: bytes) -> None:
    assert failure_of(frame(CLOSE, b"\x03\xe8" + reason)) == 1007


# text (RFC 3629)

VALID = [
    "κόσμε",
    "\x00\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff",
    "x" * 100 + "ü" * 100,
    "€" * 50,
]
INVALID = [
    b"\x80",
    b"\xbf",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x82\x28",
    b"\xf0\x90\x28\xbc",
    b"\xf0\x90\x8d\x28",
    b"\xc3\xc3",
]
TRUNCATED = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x90", b"\xf0\x90\x8d"]


@pytest.mark.parametrize("text", VALID)
def test_valid_text_passes_in_one_frame_and_in_fragments_of_a_byte(text: str) -> None:
    payload = text.encode()
    assert events_of(frame(TEXT, payload)) == [Event(TEXT, payload)]
    fragments = [frame(TEXT, fin=False)]
    fragments += [frame(CONTINUATION, payload[i : i + 1], fin=False) for i in range(len(payload))]
    assert SERVER.run([*fragments, frame(CONTINUATION)]) == [Event(TEXT, payload)]


@pytest.mark.parametrize("bad", INVALID + TRUNCATED)
@pytest.mark.parametrize("before", [b"", b"x", b"x" * 7, b"x" * 40, "€".encode()])
def test_invalid_text_fails_wherever_it_lies(bad: bytes, before: bytes) -> None:
    assert failure_of(frame(TEXT, before + bad)) == 1007
    assert failure_of(frame(TEXT, before, fin=False) + frame(CONTINUATION, bad)) == 1007


@pytest.mark.parametrize("bad", INVALID)
@pytest.mark.parametrize("declared", [200, 70000])
def test_invalid_text_fails_at_its_first_bad_byte_in_the_middle_of_a_frame(bad: bytes, declared: int) -> None:
    text = b"abc" + bad
    good = next(n for n in range(len(text)) if not _may_begin(text[: n + 1]))
    decoder = SERVER.decoder()
    data = frame(TEXT, text, declared=declared)
    head = len(data) - len(text)
    assert decoder.receive(data[: head + good]) == []
    assert decoder.receive(data[head + good : head + good + 1]) == [
        Event(FAILED, b"", 1007, b"text is not UTF-8")
    ]


def _may_begin(text: bytes) -> bool:
    # by trying every way to go on after what Python's own decoder calls an unexpected end
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def test_every_pair_and_triple_of_lead_bytes_has_pythons_verdict() -> None:
    # 128 x 128 x 6: second bytes are where overlong forms, surrogates and too large ones differ
    for lead in range(0x80, 0x100):
        for second in range(0x70, 0x100):
            for rest in (b"", b"\x80", b"\xbf\x80"):
                payload = bytes([lead, second]) + rest
                (event,) = SERVER.run([frame(TEXT, payload, mask=b"\0\0\0\0")])
                try:
                    payload.decode()
                except UnicodeDecodeError:
                    assert event.close_code == 1007, payload
                else:
                    assert event == Event(TEXT, payload), payload


def test_binary_is_not_validated() -> None:
    assert events_of(frame(BINARY, b"\xff\xfe\x80")) == [Event(BINARY, b"\xff\xfe\x80")]


# what is kept between reads


def test_in_message_tells_whether_anything_came_in_part() -> None:
    decoder = SERVER.decoder()
    seen = []
    for piece in (
        b"",
        frame(TEXT, b"x", fin=False),
        frame(PING),
        frame(CONTINUATION, b"y"),
        frame(TEXT, b"z")[:1],
    ):
        decoder.receive(piece)
        seen.append(decoder.in_message)
    assert seen == [False, True, True, False, True]


def test_control_frame_in_part_counts_as_in_message() -> None:
    decoder = SERVER.decoder()
    data = frame(PING, b"hello")
    decoder.receive(data[:-1])
    assert decoder.in_message
    assert decoder.receive(data[-1:]) == [Event(PING, b"hello")]
    assert not decoder.in_message


def test_input_is_not_changed() -> None:
    data = bytearray(frame(TEXT, b"hello"))
    before = bytes(data)
    assert SERVER.decoder().receive(data) == [Event(TEXT, b"hello")]
    assert data == before
    assert SERVER.decoder().receive(memoryview(data)) == [Event(TEXT, b"hello")]


@pytest.mark.parametrize(
    ("max_message_bytes", "max_fragments"), [(-1, 1), (2**60 + 1, 1), (1, 0), (1, 2**31 + 1)]
)
def test_bounds_out_of_range_are_refused(max_message_bytes: int, max_fragments: int) -> None:
    with pytest.raises(UsageError):
        Decoder(max_message_bytes=max_message_bytes, max_fragments=max_fragments)
