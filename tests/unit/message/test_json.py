"""What is particular to JSON text: payloads byte for byte, what is no JSON, what every client can parse."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import CommandError
from gateway.message.commands import MalformedCommand, Ping, Publish
from gateway.message.json import MAX_DEPTH, JsonCodec, check_json
from gateway.message.publication import Publication

JSON = JsonCodec()


def publication(**fields: Any) -> Publication:
    return Publication(**{"id": "i", "data": b"1", "time_ms": 5, "offset": 7, **fields})


@pytest.mark.parametrize(
    "data",
    [b'{"b" : 1.50, "a":\t[1e400, 1E2],"b":2}', b'"\\u00e9\\/"', b"null", b"12345678901234567890123", b'""'],
)
def test_json_data_goes_out_byte_for_byte(data: bytes) -> None:
    (command,) = JSON.decode(b'{"type":"publish","channel":"c","data":%s}' % data, most=1)
    assert isinstance(command, Publish)
    assert bytes(command.data) == data
    assert b'"data":' + data + b"," in JSON.encode_publication("c", publication(data=data))


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"\x00\xff", "AP8="), (b"abc", "YWJj")])
def test_bytes_go_out_as_base64(data: bytes, text: str) -> None:
    event = orjson.loads(JSON.encode_publication("c", publication(data=data, binary=True)))
    assert event["data64"] == text
    assert "data" not in event


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b'{"type":"ping"',
        b'{"type":"ping"}}',
        b'{"type":"ping"}{"type":"ping"}',
        b'[{"type":"ping"},]',
        b"{'type':'ping'}",
        b'{"type":"ping","id":01}',
        b'{"type":"ping","id":NaN}',
        b'{"type":"ping","id":"\xff"}',
        b'\xef\xbb\xbf{"type":"ping"}',
        b'{"type":"ping","x":"\\ud800"}',
        b"\x00",
        b"[" * 60_000,
        b'{"type":"ping","x":' + b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
    ],
)
def test_text_that_is_no_json_is_one_malformed_command(text: bytes) -> None:
    (command,) = JSON.decode(text, most=100)
    assert isinstance(command, MalformedCommand)
    assert command.id == 0


def test_blanks_around_commands_do_not_matter() -> None:
    assert JSON.decode(b' \n\t{"type" : "ping" , "id" : 1 } ', most=1) == (Ping(id=1),)
    first, second = JSON.decode(b' \r\n[ {"type":"ping"} , {"type":"fly","id":2} ] ', most=2)
    assert first == Ping()
    assert (type(second), second.id) == (MalformedCommand, 2)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (b"1", True),
        (b'{"a":[{}]}', True),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, True),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), False),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), False),
        (b"[" + b"[]," * 500 + b"1]", True),
        (b'"' + b"[" * 500 + b'"', True),
        (b"[" * 100_000, False),
        (b"", False),
        (b"NaN", False),
        (b"Infinity", False),
        (b'"\\ud800"', False),
        (b'"\xed\xa0\x80"', False),
        (b'"\xff"', False),
        (b"'x'", False),
        (b"1 2", False),
        (b"// x\n1", False),
    ],
)
def test_check_json_takes_what_every_client_can_parse(text: bytes, good: bool) -> None:
    if good:
        assert check_json(memoryview(text)) == text
    else:
        with pytest.raises(CommandError, match="bad_request"):
            check_json(text)
