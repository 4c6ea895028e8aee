"""Request bodies: whatever is wrong with one ends in `bad_request`, and the node hears nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import CommandError
from gateway.http.bodies import (
    BatchBody,
    BroadcastBody,
    DisconnectBody,
    PublishBody,
    SendBody,
    SubscribeBody,
    decode_body,
)
from gateway.message.json import MAX_DEPTH


def refused(body: bytes, kind: type[msgspec.Struct] = PublishBody) -> str:
    with pytest.raises(CommandError) as caught:
        decode_body(body, kind)
    assert caught.value.code == "bad_request"
    return caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"publish"',
        b"{",
        b'{"channel":"a","data":1} x',
        b'\xef\xbb\xbf{"channel":"a","data":1}',
        b'{"data":1}',
        b'{"channel":1,"data":1}',
        b'{"channel":null,"data":1}',
        b'{"channel":"","data":1}',
        b'{"channel":"' + b"a" * 201 + b'","data":1}',
        b'{"channel":"a"}',
        b'{"channel":"a","data":1,"data64":""}',
        b'{"channel":"a","data":1,"colour":"red"}',
        b'{"channel":"a","data":1,"\xff":1}',
        b'{"channel":"\xff","data":1}',
        b'{"channel":"\\ud800","data":1}',
        b'{"channel":"a","data64":1}',
        b'{"channel":"a","data64":"a"}',
        b'{"channel":"a","data64":"YQ"}',
        b'{"channel":"a","data64":"YQ==="}',
        b'{"channel":"a","data64":"Y Q=="}',
        '{"channel":"a","data64":"é==="}'.encode(),
        b'{"channel":"a","data":1,"key":"' + b"k" * 201 + b'"}',
    ],
)
def test_a_malformed_body_is_refused(body: bytes) -> None:
    assert refused(body)


@pytest.mark.parametrize(
    "text",
    [
        b"NaN", b"Infinity", b"-Infinity", b"1e400", b"01", b"+1", b".5", b"1.", b"'a'", b"{a:1}",
        b"[1,]", b'{"a":1,}', b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"',
        b'"\\ud800"',        b'"\\udc00\\ud800"',
        b'"\\x41"', b'"\x01"', b"// a\n1", b"undefined", b"tru",
    ],
)  # fmt: skip
def test_data_that_some_client_could_not_read_is_refused(text: bytes) -> None:
    assert refused(b'{"channel":"a","data":' + text + b"}")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("inner", [b"1", b"[]", b"{}"])
def test_depth_is_bounded_exactly(opening: bytes, closing: bytes, inner: bytes) -> None:
    outer = MAX_DEPTH - (inner != b"1")
    good = opening * outer + inner + closing * outer
    # brackets in strings and beside each other do not count
    wide = b'{"channel":"a","data":[' + b'"[[[[{{{{",{},' * 100 + b"1]}"
    assert decode_body(b'{"channel":"a","data":' + good + b"}", PublishBody).payload() == good
    assert decode_body(wide, PublishBody).channel == "a"
    assert "64" in refused(b'{"channel":"a","data":' + opening + good + closing + b"}")


@pytest.mark.parametrize("levels", [1_000, 100_000, 1_000_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_million_levels_are_refused_without_harm(levels: int, opening: bytes) -> None:
    assert refused(b'{"channel":"a","data":' + opening * levels)
    assert refused(opening * levels)
    assert refused(b'{"unknown":' + opening * levels)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SendBody, b'{"data":1}'),
        (SendBody, b'{"user":"a","client":"b","data":1}'),
        (SendBody, b'{"user":"a"}'),
        (SendBody, b'{"user":"' + b"a" * 200 + b'","data":1}'),
        (SubscribeBody, b'{"channel":"a"}'),
        (SubscribeBody, b'{"user":"a"}'),
        (BroadcastBody, b'{"channels":[],"data":1}'),
        (BroadcastBody, b'{"channels":["a",""],"data":1}'),
        (BroadcastBody, b'{"channels":["a"]}'),
        (DisconnectBody, b'{"user":"a","code":1005}'),
        (DisconnectBody, b'{"user":"a","code":1002}'),
        (DisconnectBody, b'{"user":"a","code":5000}'),
        (DisconnectBody, b'{"user":"a","code":-1}'),
        (DisconnectBody, b'{"user":"a","reason":"' + "é".encode() * 62 + b'"}'),
        (BatchBody, b'{"commands":[]}'),
        (BatchBody, b'{"commands":[{"method":"batch","commands":[]}]}'),
        (BatchBody, b'{"commands":[{"channel":"a","data":1}]}'),
        (BatchBody, b'{"commands":[{"method":"publish","channel":"a","data":NaN}]}'),
        (BatchBody, b'{"commands":[' + b",".join([b'{"method":"disconnect","user":"a"}'] * 1001) + b"]}"),
    ],
)
def test_a_rule_of_an_operation_is_kept(kind: type[msgspec.Struct], body: bytes) -> None:
    assert refused(body, kind)


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_no_bytes_raise_anything_else(noise: bytes) -> None:
    for body in (noise, b'{"channel":"a","data":' + noise + b"}", b'{"channel":"' + noise + b'","data":1}'):
        try:
            payload = decode_body(body, PublishBody).payload()
        except CommandError as error:
            assert error.code == "bad_request"  # noqa: PT017 - the other outcome is fine as well
        else:
            assert payload in body
