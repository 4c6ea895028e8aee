"""What publishers say: items in the format of WebSocket, and those that mean nothing here."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CommandError
from gateway.grip.items import Close, Publish, read_items
from gateway.message.filters import Terms, read_terms


def read(*items: Any, prefix: str = "grip:") -> list[Publish | Close]:
    return read_items(json.dumps({"items": list(items)}).encode(), prefix)


def item(**message: Any) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in message.items()}
    return {"channel": "a", "formats": {"ws-message": named}}


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({"content": "hé"}, Publish("grip:a", False, '"hé"'.encode(), "")),
        ({"content": "hé", "type": "binary"}, Publish("grip:a", True, "hé".encode(), "")),
        ({"content_bin": "AP8="}, Publish("grip:a", True, b"\x00\xff", "")),
        ({"content_bin": "aGk=", "type": "text"}, Publish("grip:a", False, b'"hi"', "")),
        ({"content": "", "action": "send"}, Publish("grip:a", False, b'""', "")),
        ({"action": "close"}, Close("grip:a", 1000, "")),
        ({"action": "close", "code": 4001, "reason": "so"}, Close("grip:a", 4001, "so")),
    ],
)
def test_formats(message: dict[str, Any], what: Publish | Close) -> None:
    assert read(item(**message)) == [what]


def test_both_places_of_a_format_and_ids() -> None:
    inside = {"channel": "a", "id": "7", "prev-id": "6", "formats": {"ws-message": {"content": "x"}}}
    beside = {"channel": "b", "ws-message": {"content": "x"}, "meta": {"a": "b"}}
    assert read(inside, beside) == [
        Publish("grip:a", False, b'"x"', "grip:7"),
        Publish("grip:b", False, b'"x"', ""),
    ]


def test_other_transports_beside_ours_and_hints_are_passed_over() -> None:
    both = item(content="x")
    both["formats"] |= {"http-stream": {"content": 7}, "http-response": None, "more": 1}
    assert read(both, item(action="hint")) == [Publish("grip:a", False, b'"x"', "")]


@pytest.mark.parametrize("transport", ["http-stream", "http-response"])
@pytest.mark.parametrize("inside", [True, False], ids=["in formats", "beside the rest"])
def test_an_item_for_other_transports_alone_is_refused_by_name(transport: str, inside: bool) -> None:
    there = {transport: {"content": "x"}}
    with pytest.raises(CommandError, match="`ws-message`"):
        read(item(content="x"), {"channel": "a", **({"formats": there} if inside else there)})


@pytest.mark.parametrize(
    ("meta", "terms"),
    [
        ({}, Terms()),
        ({"id_format": "x"}, Terms()),
        ({"sender": "ada"}, Terms(sender="ada")),
        ({"skip_users": " ada,, bob ,"}, Terms(skip_users=("ada", "bob"))),
        ({"require_sub": "vip"}, Terms(require_sub="grip:vip")),
    ],
)
def test_what_filters_compare_goes_along(meta: dict[str, str], terms: Terms) -> None:
    message, close = read(item(content="x") | {"meta": meta}, item(action="close") | {"meta": meta})
    assert message.exclude == close.exclude == terms.written()
    assert read_terms(message.exclude) == terms


def test_without_a_prefix_every_channel_is_reached_but_personal_ones() -> None:
    assert read(item(content="x") | {"channel": "team:1"}, prefix="")[0].channel == "team:1"
    with pytest.raises(CommandError):
        read(item(content="x") | {"channel": "@ada"}, prefix="")


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"channel": ""}, {"channel": 7}, item() | {"channel": "no such"},
        item(content="x") | {"channel": "ä"},
        item(), item(content=7), item(content="x", action="shout"), item(content_bin="?"),
        item(content_bin="AP8"),
        item(content_bin="/w==", type="text"), item(content="x", type="ping"), item(action="close",
        code=1006),
        item(action="close", code="1000"), item(action="close", reason="é" * 62), item(content="x",
        content_filters=["y"]),
        item(content="x") | {"meta": {"sender": 7}}, item(content="x") | {"meta": {"skip_users": "a" * 4097}},
        item(action="refresh"), {"channel": "a"}, {"channel": "a", "formats": {}},
        item(content="x") | {"id": "x" * 191}, item(content="x") | {"channel": "a" * 196},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        read(item(content="good"), wrong)


@given(st.binary())
def test_any_bytes_are_items_or_refused(body: bytes) -> None:
    with contextlib.suppress(CommandError):
        read_items(body, "")
