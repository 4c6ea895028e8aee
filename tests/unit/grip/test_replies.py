"""What services answer: headers, and the first answer of all."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.grip.events import CONTENT_TYPE, Event, Kind
from gateway.grip.replies import NonsenseError, read_opened, read_reply, remember
from gateway.upstreams.http import Response


def answer(body: bytes = b"", status: int = 200, **headers: Any) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"content-type": CONTENT_TYPE, **named}, body)


def test_events_and_headers_are_read() -> None:
    reply = read_reply(answer(b"PING\r\n", keep_alive_interval=" 30 ", set_meta_user="ada", set_meta_x=""))
    assert reply == ([Event(Kind.PING)], 30.0, {"user": "ada", "x": ""}, None)
    assert read_reply(answer()) == ([], None, {}, None)
    assert read_reply(answer(content_bytes_accepted=" 12 ")).taken_bytes == 12


@pytest.mark.parametrize(
    ("said", "s"), [("0", 0.0), ("-1", 0.0), ("1", 1.0), ("20", 20.0), ("999999999", 86400.0)]
)
def test_intervals_are_bounded(said: str, s: float) -> None:
    assert read_reply(answer(keep_alive_interval=said)).keep_alive_s == s


SPACED: dict[str, Any] = {"set_meta_a b": "x"}


@pytest.mark.parametrize(
    "said",
    [
        answer(status=201), answer(status=500), answer(content_type="text/html"), answer(content_type=""),
        answer(b"nonsense"), answer(keep_alive_interval="soon"), answer(keep_alive_interval="1e9"),
        answer(**SPACED), answer(set_meta_a="x\r\ny"), answer(set_meta_="x"),
    ],
)  # fmt: skip
def test_nonsense_is_none(said: Response) -> None:
    with pytest.raises(NonsenseError):
        read_reply(said)


def test_content_type_may_have_parameters() -> None:
    assert read_reply(answer(content_type="Application/WebSocket-Events; charset=utf-8")).events == []


def test_what_is_remembered_is_bounded_and_can_be_forgotten() -> None:
    assert remember({"a": "1", "b": "2"}, {"b": "", "c": "3"}) == {"a": "1", "c": "3"}
    with pytest.raises(NonsenseError):
        remember({}, {str(n): "x" for n in range(65)})
    with pytest.raises(NonsenseError):
        remember({"a": "x" * 5000}, {"b": "x" * 5000})


@pytest.mark.parametrize(
    ("extensions", "prefix"),
    [
        ("", None),
        ("permessage-deflate", None),
        ("grip", b"m:"),
        ("GRIP", b"m:"),
        ('grip; message-prefix=""', b""),
        ('grip; message-prefix="x-"', b"x-"),
        ("grip;message-prefix=m:", b"m:"),
        ("other; a=b, grip; message-prefix=y", b"y"),
    ],
)
def test_prefix_of_messages(extensions: str, prefix: bytes | None) -> None:
    opening = answer(b"OPEN\r\nTEXT 1\r\nx\r\n", sec_websocket_extensions=extensions)
    opened = read_opened(read_reply(opening), opening.headers, frozenset())
    assert (opened.prefix, opened.subprotocol) == (prefix, "")
    assert opened.reply.events == [Event(Kind.TEXT, b"x")]


@pytest.mark.parametrize(
    "opening",
    [
        answer(), answer(b"TEXT 1\r\nx\r\n"), answer(b"TEXT 1\r\nx\r\nOPEN\r\n"), answer(b"DISCONNECT\r\n"),
        answer(b"OPEN\r\n", sec_websocket_protocol="other"), answer(b"OPEN\r\n",
        sec_websocket_protocol="a, b"),
        answer(b"OPEN\r\n", sec_websocket_extensions='grip; message-prefix="x'),
    ],
)  # fmt: skip
def test_a_first_answer_that_lets_nobody_in(opening: Response) -> None:
    with pytest.raises(NonsenseError):
        read_opened(read_reply(opening), opening.headers, frozenset({"a", "b"}))


def test_an_offered_subprotocol_is_chosen() -> None:
    opening = answer(b"OPEN\r\n", sec_websocket_protocol="b")
    assert read_opened(read_reply(opening), opening.headers, frozenset({"a", "b"})).subprotocol == "b"
