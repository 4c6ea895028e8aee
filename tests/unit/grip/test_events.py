"""Events as bytes: what is written is read, and whatever comes is read or refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import closecodes
from gateway.grip.events import (
    MOST_EVENTS,
    Event,
    Kind,
    MalformedEventsError,
    close_event,
    code_and_reason,
    content_bytes,
    not_taken,
    parse,
    serialise,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
SMALL = st.binary(max_size=125)
CODES = st.sampled_from([1000, 1001, 1011, 1014, 3000, 4999]).map(lambda code: code.to_bytes(2))
REASONS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda t: t.encode())
EVENTS = st.one_of(
    st.just(Event(Kind.OPEN)),
    st.just(Event(Kind.DISCONNECT)),
    st.builds(Event, st.just(Kind.TEXT), TEXTS),
    st.builds(Event, st.just(Kind.BINARY), st.binary()),
    st.builds(Event, st.sampled_from([Kind.PING, Kind.PONG]), SMALL),
    st.builds(Event, st.just(Kind.CLOSE), st.one_of(st.just(b""), st.builds(bytes.__add__, CODES, REASONS))),
)
PIECES = st.sampled_from(
    [
        b"TEXT",
        b"OPEN",
        b"CLOSE",
        b" ",
        b"\r\n",
        b"\r",
        b"\n",
        b"0",
        b"5",
        b"FFFFFFFF",
        b"hello",
        b"\xff",
        b"-1",
    ]
)


@given(st.lists(EVENTS))
def test_what_is_written_is_read(events: list[Event]) -> None:
    assert parse(serialise(events)) == events


@given(st.one_of(st.binary(), st.lists(PIECES).map(b"".join)))
def test_any_bytes_are_events_or_refused(body: bytes) -> None:
    try:
        events = parse(body)
    except MalformedEventsError:
        return
    assert parse(serialise(events)) == events


@given(st.lists(EVENTS, min_size=1), st.data())
def test_a_body_that_ends_early_is_refused_or_is_fewer_events(
    events: list[Event], data: st.DataObject
) -> None:
    body = serialise(events)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    with contextlib.suppress(MalformedEventsError):
        assert parse(cut) == events[: len(parse(cut))]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", []),
        (b"OPEN\r\n", [Event(Kind.OPEN)]),
        (b"OPEN 0\r\n\r\n", [Event(Kind.OPEN)]),
        (b"OPEN 3\r\nabc\r\n", [Event(Kind.OPEN)]),
        (b"TEXT B\r\nhello world\r\n", [Event(Kind.TEXT, b"hello world")]),
        (b"TEXT b\r\nhello world\r\n", [Event(Kind.TEXT, b"hello world")]),
        (b"TEXT 0000000b\r\nhello world\r\n", [Event(Kind.TEXT, b"hello world")]),
        (b"TEXT 4\r\n\r\n\r\n\r\nPING\r\n", [Event(Kind.TEXT, b"\r\n\r\n"), Event(Kind.PING)]),
        (b"TEXT\r\n", [Event(Kind.TEXT)]),
        (b"CLOSE\r\n", [Event(Kind.CLOSE)]),
        (b"CLOSE 2\r\n\x03\xe8\r\n", [Event(Kind.CLOSE, b"\x03\xe8")]),
        (b"DISCONNECT\r\n", [Event(Kind.DISCONNECT)]),
    ],
)
def test_events_of_the_specification(body: bytes, events: list[Event]) -> None:
    assert parse(body) == events


@pytest.mark.parametrize(
    "body",
    [
        b"OPEN", b"OPEN\n", b"open\r\n", b"OPEN \r\n", b"HELLO\r\n", b"\r\n", b" OPEN\r\n", b"OPENING\r\n",
        b"TEXT 5\r\nhell\r\n", b"TEXT 5\r\nhello", b"TEXT 4\r\nhello\r\n", b"TEXT 6\r\nhello\r\n",
        b"TEXT -5\r\nhello\r\n", b"TEXT 0x5\r\nhello\r\n", b"TEXT +5\r\nhello\r\n", b"TEXT 5 \r\nhello\r\n",
        b"TEXT 5g\r\nhello\r\n", b"TEXT FFFFFFFF\r\nhello\r\n", b"TEXT 100000005\r\nhello\r\n",
        b"TEXT \xd9\xa5\r\nhello\r\n",
        b"TEXT 1\r\n\xff\r\n", b"TEXT 3\r\n\xed\xa0\x80\r\n",
        b"CLOSE 1\r\n\x03\r\n", b"CLOSE 2\r\n\x03\xed\r\n", b"CLOSE 2\r\n\x00\x00\r\n",
        b"CLOSE 3\r\n\x03\xe8\xff\r\n", b"CLOSE 7E\r\n\x03\xe8" + b"a" * 124 + b"\r\n",
        b"PING 7E\r\n" + b"a" * 126 + b"\r\n",
        b"OPEN\r\n" * (MOST_EVENTS + 1),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedEventsError):
        parse(body)


def test_close_says_code_and_reason() -> None:
    assert code_and_reason(close_event(4321, b"because")) == (4321, "because")
    assert code_and_reason(close_event(closecodes.NO_STATUS)) == (1000, "")
    assert serialise([close_event(1000, b"x")]) == b"CLOSE 3\r\n\x03\xe8x\r\n"


@given(st.lists(st.binary(max_size=3)), st.integers(0, 30))
def test_what_was_not_taken_is_the_rest_of_the_content(contents: list[bytes], taken_bytes: int) -> None:
    events = [Event(Kind.BINARY, content) for content in contents]
    rest = not_taken(events, taken_bytes)
    assert b"".join(event.content for event in rest) == b"".join(contents)[taken_bytes:]
    assert content_bytes(rest) == max(content_bytes(events) - taken_bytes, 0)
    assert len(rest) <= len(events)
    assert not rest or rest[0].content
