"""The reader of upstreams' answers held to h11: what it takes h11 takes, too, and reads the same in it.

It refuses more than h11 does (lines that end with a line feed alone, folded lines, control characters); those
differences have tests of their own in `tests/unit/passthrough/test_answer.py`.
"""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.answers import check_against_h11, ours

PIECES = st.sampled_from(
    [
        *(b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 200 OK", b"HTTP/1.1 103", b"HTTP/1.0 101 x"),
        *(b"HTTP/1.1  101 x", b"HTTP/1.1 1010 x", b"HTTP/1.1 0101", b"HTTP/1.1 100 ", b"http/1.1 101 x"),
        *(b"Upgrade: websocket", b"Connection: Upgrade", b"A:b", b"A : b", b": b", b" folded", b"A:\tb \t"),
        *(b"Sec-WebSocket-Accept: x=", b"Content-Length: 5", b"X: \x80\xff", b"X: \x00", b"X\x80: y"),
        *(b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"", b"\x81\x02hi"),
    ]
)
ANSWERS = st.lists(PIECES, max_size=14).map(b"".join)
WHOLE = st.builds(
    lambda interim, status, fields, rest: b"".join(
        [
            *interim,
            b"HTTP/1.1 %d Text\r\n" % status,
            *(b"%s: %s\r\n" % field for field in fields),
            b"\r\n",
            rest,
        ]
    ),
    st.lists(
        st.sampled_from([b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100\r\n\r\n"]), max_size=2
    ),
    st.sampled_from([101, 200, 204, 302, 403, 500, 599]),
    st.lists(
        st.tuples(
            st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,8}", fullmatch=True),
            st.from_regex(rb"(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]{0,9}[!-~\x80-\xff])?)?", fullmatch=True),
        ).filter(lambda field: field[0].lower() not in {b"content-length", b"transfer-encoding"}),
        max_size=5,
    ),
    st.binary(max_size=20),
)


@given(ANSWERS | WHOLE, st.lists(st.integers(0, 200), max_size=6))
@example(b"HTTP/1.1 101 x\r\nA: b\nB: c\r\n\r\n", [])
def test_what_is_taken_h11_takes_and_reads_the_same(data: bytes, cuts: list[int]) -> None:
    check_against_h11(data, cuts)


@given(WHOLE)
def test_every_proper_answer_is_taken(data: bytes) -> None:
    assert isinstance(ours(data, []), tuple)
