"""All 65,536 two-byte headers in every state of the parser, against a model written from the RFC's text."""

import zlib
from dataclasses import dataclass

import pytest

from gateway._frames import BINARY, CLOSE, FAILED, TEXT, Event
from tests.support.frames import Peer, frame

WAIT = "wait"  # for more bytes
FAIL = "fail"  # with 1002


@dataclass(frozen=True)
class State:
    """What came before the header: `before` on the wire, and what of it a model has to know."""

    peer: Peer
    before: bytes = b""
    open_kind: int = 0
    open_text: bytes = b""


def _deflated(payload: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


SERVER, CLIENT = Peer(), Peer(client=True)
SERVER_DEFLATE, CLIENT_DEFLATE = Peer(window_bits=15), Peer(client=True, window_bits=15)
PART = _deflated(b"part")

STATES = {
    "server": State(SERVER),
    "server, text open": State(SERVER, frame(TEXT, b"part", fin=False), TEXT, b"part"),
    "server, in the middle of a character": State(SERVER, frame(TEXT, b"\xc3", fin=False), TEXT, b"\xc3"),
    "server, after a whole message": State(SERVER, frame(TEXT, b"x", fin=False) + frame(0, b"y")),
    "server, after a ping inside a message": State(
        SERVER, frame(BINARY, b"part", fin=False) + frame(9, b"p"), BINARY, b"part"
    ),
    "server, deflate": State(SERVER_DEFLATE),
    "server, deflate, text open": State(SERVER_DEFLATE, frame(TEXT, PART, fin=False, rsv=4), TEXT, b"part"),
    "server, deflate, plain text open": State(SERVER_DEFLATE, frame(TEXT, b"part", fin=False), TEXT, b"part"),
    "client": State(CLIENT),
    "client, binary open": State(CLIENT, frame(BINARY, b"part", fin=False, mask=None), BINARY, b"part"),
    "client, deflate": State(CLIENT_DEFLATE),
    "client, deflate, binary open": State(
        CLIENT_DEFLATE, frame(BINARY, PART, fin=False, rsv=4, mask=None), BINARY, b"part"
    ),
}


def breaks_a_rule(state: State, first: int, second: int) -> bool:
    fin, rsv1, rsv2, rsv3, opcode = first >> 7, first >> 6 & 1, first >> 5 & 1, first >> 4 & 1, first & 15
    return any(
        (
            # 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values"
            rsv2 or rsv3,
            # RFC 7692 6.1: "MUST NOT set [it] on control frames and non-first fragments of a data message"
            rsv1 and not (state.peer.window_bits and opcode in {1, 2}),
            # 5.2: "If an unknown opcode is received, [...] MUST _Fail the WebSocket Connection_"
            opcode not in {0, 1, 2, 8, 9, 10},
            # 5.1: a client masks all frames, a server none
            (second >> 7 == 1) is state.peer.client,
            # 5.5: "a payload length of 125 bytes or less and MUST NOT be fragmented"
            opcode >= 8 and not fin,
            opcode >= 8 and second & 127 > 125,
            # 5.4: fragments of a message follow its first, and those of two messages are not mixed
            opcode == 0 and not state.open_kind,
            opcode in {1, 2} and state.open_kind,
        )
    )


def expected(state: State, first: int, second: int) -> str | Event:
    if breaks_a_rule(state, first, second):
        return FAIL
    if not state.peer.client or second & 127:
        return WAIT  # for a mask, a length or a payload
    opcode, fin = first & 15, first & 0x80
    if opcode == CLOSE:
        return Event(CLOSE, b"", 1005, b"")
    if not fin:
        return WAIT
    if opcode > CLOSE:
        return Event(opcode, b"")
    return Event(opcode or state.open_kind, state.open_text)


@pytest.mark.parametrize("name", STATES)
def test_every_two_byte_header_has_the_models_verdict(name: str) -> None:
    state = STATES[name]
    before, deflate = state.before, state.peer.window_bits
    passed = 0
    for first in range(256):
        for second in range(256):
            decoder = state.peer.decoder()
            if before:
                decoder.receive(before)
            events = decoder.receive(bytes([first, second]))
            wanted = expected(state, first, second)
            if wanted is FAIL:
                assert [(event.kind, event.close_code) for event in events] == [(FAILED, 1002)], (
                    first,
                    second,
                )
            elif wanted is WAIT:
                assert events == [], (first, second)
                assert decoder.in_message
                passed += 1
            else:
                assert events == [wanted], (first, second)
                passed += 1
    # 3 control frames of 126 lengths; and 128 lengths of what is allowed of text, binary, continuation
    data = 2 if state.open_kind else 4 * (2 if deflate else 1)
    assert passed == 3 * 126 + data * 128


@pytest.mark.parametrize("first", range(256))
def test_after_failure_and_after_close_no_header_is_read(first: int) -> None:
    for end, told in ((frame(15), [FAILED]), (frame(CLOSE), [])):
        decoder = SERVER.decoder()
        decoder.receive(end)
        assert [event.kind for event in decoder.receive(bytes([first, 0x80, 0, 0, 0, 0]))] == told
