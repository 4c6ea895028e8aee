"""The reader of upstreams' answers: what it refuses, and its bound.  Held to h11 in `tests/property`."""

from __future__ import annotations

import pytest

from gateway.passthrough.answer import MOST_BYTES, AnswerHead, AnswerReader, BadAnswerError


def read(data: bytes, step: int) -> tuple[AnswerHead, bytes] | None:
    """Read bytes that come in pieces, up to the end of a head."""
    reader = AnswerReader()
    for at in range(0, len(data), step):
        found = reader.receive(data[at : at + step])
        if found is not None:
            return found
    return None


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.0 101 x\r\n\r\n",
        b"HTTP/2 101\r\n\r\n",
        b"HTTP/1.1 101 x\n\n",
        b"HTTP/1.1 101 x\nA: b\r\n\r\n",
        b"HTTP/1.1 101 x\rA: b\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA: b\r\n c\r\n\r\n",  # folded
        b"HTTP/1.1 101 x\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA: b\r\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA b\r\n\r\n",
        b"HTTP/1.1 101 x\r\nA : b\r\n\r\n",
        b"HTTP/1.1 101 x\r\n: b\r\n\r\n",
        b"HTTP/1.1 101x\r\n\r\n",
        b"HTTP/1.1 11\r\n\r\n",
        b"HTTP/1.1 001 x\r\n\r\n",
        b"\r\nHTTP/1.1 101 x\r\n\r\n",
        b"HTTP/1.1 100\r\n\r\njunk",
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_what_could_be_read_in_two_ways_is_refused_however_it_comes(data: bytes, step: int) -> None:
    with pytest.raises(BadAnswerError):
        read(data, step)


@pytest.mark.parametrize("step", [1, 1000, MOST_BYTES * 2])
@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 x\r\n\r\n" * 100])
def test_a_head_has_a_bound_that_counts_what_came_before_it(step: int, over: int, interim: bytes) -> None:
    head = b"HTTP/1.1 101 x\r\nA: \r\n\r\n"
    filler = b"a" * (MOST_BYTES - len(interim) - len(head) + over)
    data = interim + head[:-4] + filler + head[-4:] + b"rest"
    if over:
        with pytest.raises(BadAnswerError):
            read(data, step)
    else:
        found = read(data, step)
        assert found is not None
        assert found[0].fields == [(b"a", filler)]
