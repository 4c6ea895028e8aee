"""Answers of app services: what each means, and that nothing that is not understood is a yes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.asking import (
    Admission,
    Announced,
    CallVerdict,
    MessageVerdict,
    PublishVerdict,
    Refusal,
    Said,
    SubscribeVerdict,
)
from gateway.hooks import bodies
from gateway.hooks.bodies import NonsenseError

READERS: list[Callable[[bytes], object]] = [
    bodies.read_connect, bodies.read_subscribe, bodies.read_publish, bodies.read_call, bodies.read_message,
]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "body", "verdict"),
    [
        (bodies.read_connect, b"{}", Admission()),
        (bodies.read_connect, b"", Admission()),
        (
            bodies.read_connect,
            b'{"user":"ada","info":{"a": 1},"channels":["news","news"],"expires":9,"claims":{"role":"x"}}',
            Admission(user="ada", info=b'{"a": 1}', channels=("news",), expires=9, claims={"role": "x"}),
        ),
        (bodies.read_subscribe, b"{}", SubscribeVerdict()),
        (bodies.read_subscribe, b'{"info":[1]}', SubscribeVerdict(info=b"[1]")),
        (bodies.read_publish, b" \n", PublishVerdict()),
        (bodies.read_publish, b'{"data":{"a": 1}}', PublishVerdict(data=b'{"a": 1}')),
        (bodies.read_publish, b'{"data":null}', PublishVerdict(data=b"null")),
        (bodies.read_publish, b'{"data64":"AP8="}', PublishVerdict(data=b"\0\xff", binary=True)),
        (bodies.read_publish, b'{"data64":""}', PublishVerdict(data=b"", binary=True)),
        (bodies.read_call, b"{}", CallVerdict()),
        (bodies.read_call, b'{"payload":3}', CallVerdict(data=b"3")),
        (bodies.read_call, b'{"payload64":"AA=="}', CallVerdict(data=b"\0", binary=True)),
        (
            bodies.read_message,
            b'{"messages":[{"data":"\xc3\xbc"},{"data64":"AA=="}],"payload":null}',
            MessageVerdict(messages=(Said('"ü"'.encode()), Said(b"\0", binary=True)), answer=Said(b"null")),
        ),
        (
            bodies.read_message,
            b'{"publish":[{"channel":"@bob","data":{"a": 1},"key":"k","exclude":"c"}],"payload64":"AA=="}',
            MessageVerdict(
                publish=(Announced(channel="@bob", said=Said(b'{"a": 1}'), key="k", exclude="c"),),
                answer=Said(b"\0", binary=True),
            ),
        ),
        (
            bodies.read_message,
            b'{"subscribe":["a","a"],"unsubscribe":["b"],"disconnect":{}}',
            MessageVerdict(subscribe=("a",), unsubscribe=("b",), close_code=4004, reason="disconnected"),
        ),
        (bodies.read_message, b"", MessageVerdict()),
    ],
)
def test_answer_means(read: Callable[[bytes], object], body: bytes, verdict: object) -> None:
    assert read(body) == verdict


@pytest.mark.parametrize("read", READERS)
def test_any_question_can_be_refused(read: Callable[[bytes], object]) -> None:
    assert read(b'{"refuse":{}}') == Refusal()
    assert read(b'{"refuse":{"code":"rate_limited","message":"slowly","close_code":4100}}') == Refusal(
        code="rate_limited", message="slowly", close_code=4100
    )


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"null",
        b"false",
        b'{"allow":false}',
        b'{"refused":{}}',
        b'{"refuse":true}',
        b'{"refuse":{"code":"no"}}',
        b'{"refuse":{"code":5}}',
        b'{"refuse":{"close_code":1000}}',
        b'{"refuse":{"close_code":5000}}',
        b'{"refuse":{"message":"' + b"m" * 201 + b'"}}',
        b'{"refuse":{"message":"' + ("ü" * 62).encode() + b'"}}',
        b'{"user":"ada","unknown":1}',
        b"{" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_not_understood_is_no_verdict(read: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(NonsenseError):
        read(body)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (bodies.read_connect, b'{"user":"a b"}'),
        (bodies.read_connect, b'{"channels":["a b"]}'),
        (bodies.read_connect, b'{"channels":["@bob"]}'),
        (bodies.read_connect, b'{"expires":-1}'),
        (bodies.read_connect, b'{"info":' + b"[" * 65 + b"]" * 65 + b"}"),
        (bodies.read_publish, b'{"data":1,"data64":"AA=="}'),
        (bodies.read_publish, b'{"data":"\\ud800"}'),
        (bodies.read_publish, b'{"data64":"?"}'),
        (bodies.read_call, b'{"data":1}'),
        (bodies.read_message, b'{"messages":[{}]}'),
        (bodies.read_message, b'{"messages":[{"data":"a","data64":"AA=="}]}'),
        (bodies.read_message, b'{"publish":[{"channel":"a b","data":1}]}'),
        (bodies.read_message, b'{"publish":[{"channel":"a"}]}'),
        (bodies.read_message, b'{"publish":[' + b",".join([b'{"channel":"a","data":1}'] * 101) + b"]}"),
        (bodies.read_message, b'{"subscribe":["@bob"]}'),
        (bodies.read_message, b'{"unsubscribe":["a b"]}'),
        (bodies.read_message, b'{"disconnect":{"code":1006}}'),
        (bodies.read_message, b'{"disconnect":{"reason":"' + b"r" * 124 + b'"}}'),
        (bodies.read_message, b'{"messages":["a"]}'),
    ],
)
def test_what_clients_could_not_read_is_no_verdict(read: Callable[[bytes], Any], body: bytes) -> None:
    with pytest.raises(NonsenseError):
        read(body)
