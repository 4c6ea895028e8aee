"""Frames that break RFC 6455, sent to the running gateway: close codes, counters, and nobody else harmed."""

from __future__ import annotations

import zlib

import pytest

from tests.security.client import BINARY, CLOSE, PING, TEXT
from tests.security.conftest import Watch
from tests.security.target import Target
from tests.support.frames import frame

BAD_FRAMES = [
    pytest.param(frame(TEXT, b"hi", mask=None), 1002, id="unmasked"),
    pytest.param(frame(CLOSE, b"", mask=None), 1002, id="unmasked-close"),
    pytest.param(frame(TEXT, b"hi", rsv=4), 1002, id="rsv1"),
    pytest.param(frame(TEXT, b"hi", rsv=2), 1002, id="rsv2"),
    pytest.param(frame(TEXT, b"hi", rsv=1), 1002, id="rsv3"),
    *(pytest.param(frame(code), 1002, id=f"opcode-{code}") for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    pytest.param(frame(0, b"hi"), 1002, id="continuation-of-nothing"),
    pytest.param(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002, id="message-inside-a-message"),
    pytest.param(frame(PING, b"", fin=False), 1002, id="fragmented-ping"),
    pytest.param(frame(PING, b"x" * 126), 1002, id="long-ping"),
    pytest.param(frame(CLOSE, b"x" * 126), 1002, id="long-close"),
    pytest.param(frame(CLOSE, b"\x03"), 1002, id="close-of-one-byte"),
    *(
        pytest.param(frame(CLOSE, code.to_bytes(2, "big")), 1002, id=f"close-{code}")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ),
    pytest.param(frame(CLOSE, b"\x03\xe8\xff"), 1007, id="close-reason-not-utf-8"),
    pytest.param(frame(TEXT, b"x" * 5, form=16), 1002, id="length-in-16-bits-that-fits-7"),
    pytest.param(frame(TEXT, b"x" * 200, form=64), 1002, id="length-in-64-bits-that-fits-16"),
    pytest.param(frame(BINARY, b"", declared=1 << 63, form=64), 1002, id="length-with-the-high-bit"),
    pytest.param(frame(BINARY, b"", declared=(1 << 64) - 1, form=64), 1002, id="length-of-all-ones"),
    pytest.param(frame(BINARY, b"", declared=(1 << 63) - 1, form=64), 1009, id="length-2-to-the-63-less-1"),
    pytest.param(frame(BINARY, b"", declared=1 << 32, form=64), 1009, id="length-2-to-the-32"),
    pytest.param(frame(BINARY, b"", declared=65537, form=64), 1009, id="one-byte-too-many"),
    pytest.param(
        frame(BINARY, b"x" * 65536, fin=False, form=64) + frame(0, b"x"), 1009, id="one-fragment-too-big"
    ),
    pytest.param(frame(BINARY, b"", fin=False) * 2 , 1002, id="two-beginnings"),
    pytest.param(frame(BINARY, b"", fin=False) + frame(0, b"", fin=False) * 2000, 1008, id="fragments"),
    pytest.param(frame(TEXT, b"\xff"), 1007, id="text-not-utf-8"),
    pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="text-with-a-surrogate"),
    pytest.param(frame(TEXT, b"\xc3", fin=False) + frame(0, b"\x28", fin=False), 1007, id="split-character"),
    pytest.param(frame(TEXT, b"\xf4\x90", fin=False), 1007, id="beyond-unicode-at-once"),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/ws", "/echo"])
@pytest.mark.parametrize(("data", "code"), BAD_FRAMES)
def test_a_bad_frame_is_answered_with_its_code_and_the_connection_ends(
    every: Target, path: str, data: bytes, code: int
) -> None:
    with every.closes(code), every.client(path) as client:
        client.send(data)
        assert client.closed_with() == code
        assert client.hangs_up()


def test_a_bad_frame_that_comes_in_single_bytes_has_the_same_end(every: Target) -> None:
    for data, code in ((frame(TEXT, b"ok") + frame(11), 1002), (frame(BINARY, declared=1 << 40), 1009)):
        with every.client("/echo") as client:
            for byte in data:
                client.send(bytes([byte]))
            assert client.closed_with() == code


def test_what_follows_a_bad_frame_is_not_looked_at(every: Target) -> None:
    with every.client() as client:
        before = every.metric("ringgate_messages_in_total")
        client.send(frame(TEXT, b"x", rsv=1) + frame(TEXT, b'{"type":"ping","id":1}') * 50)
        assert client.frame().opcode == CLOSE
        assert client.hangs_up()
        assert every.metric("ringgate_messages_in_total") == before


def test_a_binary_message_to_a_json_session_is_1003(every: Target) -> None:
    with every.closes(1003), every.client() as client:
        client.send(frame(BINARY, b"{}"))
        assert client.closed_with() == 1003


def test_deflate_that_was_not_negotiated_is_1002(every: Target) -> None:
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(b"hello") + packer.flush(zlib.Z_SYNC_FLUSH)
    with every.client(headers={"Sec-WebSocket-Extensions": "permessage-deflate"}) as client:
        assert b"permessage-deflate" not in client.response
        client.send(frame(TEXT, data[:-4], rsv=4))
        assert client.closed_with() == 1002


def test_a_thousand_bad_peers_harm_nobody(every: Target, bystander: Watch) -> None:
    with bystander(every), every.closes(1002, by=700):
        for _ in range(20):
            for parameters in BAD_FRAMES:
                data, code = parameters.values
                assert isinstance(data, bytes)
                with every.client() as client:
                    client.send(data)
                    assert client.closed_with() == code
