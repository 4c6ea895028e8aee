"""Control messages: those that there are, and everything else refused."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.grip.control import (
    Detach,
    FlushDelayed,
    KeepAlive,
    MalformedControlError,
    SendDelayed,
    Session,
    SetMeta,
    Subscribe,
    Unsubscribe,
    read_control,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"subscribe","channel":"a"}', Subscribe("a")),
        ('{"type": "subscribe", "channel": "a", "filters": [], "more": 1}', Subscribe("a")),
        ('{"channel":"a","type":"unsubscribe"}', Unsubscribe("a")),
        ('{"type":"detach"}', Detach()),
        ('{"type":"set-meta","name":"user","value":"ada"}', SetMeta("user", "ada")),
        ('{"type":"set-meta","name":"user"}', SetMeta("user")),
        ('{"type":"set-meta","name":"user","value":null}', SetMeta("user")),
        (
            '{"type":"subscribe","channel":"a","filters":["skip-self","skip-users","require-sub"]}',
            Subscribe("a", ["skip-self", "skip-users", "require-sub"]),
        ),
        ('{"type":"session","id":"x"}', Session("x")),
        ('{"type":"keep-alive"}', KeepAlive()),
        ('{"type":"send-delayed","content":"x"}', SendDelayed(content="x", timeout=1)),
        ('{"type":"send-delayed","content":"x","timeout":0}', SendDelayed(content="x", timeout=0)),
        ('{"type":"flush-delayed"}', FlushDelayed()),
        ('{"type":"keep-alive","content":"x","timeout":20}', KeepAlive(content="x", timeout=20)),
    ],
)
def test_messages_of_the_specification(text: str, message: object) -> None:
    assert read_control(text.encode()) == message


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "x", '{"type":"subscribe"}', '{"type":"subscribe","channel":""}',
        '{"type":"subscribe","channel":1}', '{"type":"subscribe","channel":"a","filters":["var-subst"]}',
        '{"type":"subscribe","channel":"a","filters":["skip-self","build-id"]}',
        '{"type":"subscribe","channel":"a","filters":"skip-self"}', '{"type":"set-meta","value":"x"}',
        '{"type":"subscribe","channel":"%s"}' % ("a" * 201), '{"type":"refresh"}',
        '{"type":"SUBSCRIBE","channel":"a"}',
        '{"type":"keep-alive","content":"x","timeout":-1}', '{"type":"send-delayed","content-bin":"?"}',
        '{"type":"keep-alive","content":"x","timeout":86401}',
        '{"type":"keep-alive","content":"x","mode":"never"}', '{"type":"keep-alive","content-bin":"?"}',
        '{"type":"keep-alive","content":"x","message-type":"close"}',
        '{"type":"keep-alive","content":"%s","message-type":"ping"}' % ("a" * 126),
        '{"type":"keep-alive","content-bin":"/w==","message-type":"text"}',
        '{"type":' * 5000,
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(MalformedControlError):
        read_control(text.encode())


@given(st.binary())
def test_any_bytes_are_a_message_or_refused(text: bytes) -> None:
    with contextlib.suppress(MalformedControlError):
        read_control(text)


@pytest.mark.parametrize("kind", ["keep-alive", "send-delayed"])
@pytest.mark.parametrize(
    ("said", "opcode", "payload"),
    [
        ({"content": "\u00e9"}, 1, "\u00e9".encode()),
        ({"content": "x", "message-type": "binary"}, 2, b"x"),
        ({"content": "x", "message-type": "ping"}, 9, b"x"),
        ({"content": "", "message-type": "pong"}, 10, b""),
        ({"content-bin": base64.b64encode(b"hi").decode()}, 1, b"hi"),
        ({"content-bin": base64.b64encode(b"\xff").decode()}, 2, b"\xff"),
        ({"content-bin": base64.b64encode(b"hi").decode(), "message-type": "binary"}, 2, b"hi"),
        ({}, 1, None),
    ],
)
def test_what_is_to_be_sent_later(
    kind: str, said: dict[str, str], opcode: int, payload: bytes | None
) -> None:
    message = read_control(json.dumps({"type": kind, **said}).encode())
    assert isinstance(message, KeepAlive | SendDelayed)
    assert (message.opcode, message.payload()) == (opcode, payload)


def test_no_time_is_the_usual_time() -> None:
    assert (KeepAlive(timeout=0).timeout_s, SendDelayed(timeout=0).timeout_s) == (55, 1)
