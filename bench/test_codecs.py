"""What each encoding costs: commands of one publish and of a hundred, the `message` event of a broadcast.

An event is encoded once for each encoding in use, however many its subscribers are, so the cost of a
broadcast in three encodings is the sum of three; what a command costs is paid for each.  `published`
is all that becomes of a payload before it is handed to the broker: decoded, and checked to be
what every client can read.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.message.commands import Publish
from gateway.message.events import PublicationView, Reply
from gateway.message.json import check_json
from gateway.message.publication import Publication
from gateway.message.views import view_publication
from tests.support.codecs import CASES, Case

CHAT: Final = {"text": "shall we meet at eight?", "room": 7, "mentions": ["ada", "bob"]}
TABLE: Final = {
    "rows": [
        {"id": n, "name": f"row {n}", "price": n * 1.25, "tags": ["a", "b"], "open": True} for n in range(120)
    ]
}
BYTES: Final = bytes(range(256)) * 32
PAYLOADS: Final[dict[str, object]] = {"chat, 68 B": CHAT, "table, 8 KB": TABLE, "bytes, 8 KiB": BYTES}


def command(payload: object) -> dict[str, Any]:
    fields = {"data64": b64encode(payload).decode()} if isinstance(payload, bytes) else {"data": payload}
    return {"type": "publish", "id": 17, "channel": "chat:17", **fields}


def publication(payload: object) -> Publication:
    binary = isinstance(payload, bytes)
    data = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return Publication(
        id="UOlpxzDk-1",
        data=data,
        time_ms=1795426675119,
        offset=7,
        binary=binary,
        client="nXoqO_AS0OHOIfRc",
        user="ada",
    )


def published(case: Case, message: bytes) -> int:
    """Decode a message, and check its payloads as the session does; return the number of commands."""
    commands = case.codec.decode(message, most=100)
    for one in commands:
        assert isinstance(one, Publish)
        if one.data64 is None:
            check_json(bytes(one.data))
    return len(commands)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("encoding", CASES)
def test_publish_command(benchmark: BenchmarkFixture, encoding: str, payload: str) -> None:
    case = CASES[encoding]
    message = case.write(command(PAYLOADS[payload]))
    benchmark.group = f"decode and check a publish: {payload}"
    benchmark.extra_info["message_bytes"] = len(message)
    assert benchmark(published, case, message) == 1


@pytest.mark.parametrize("encoding", CASES)
def test_hundred_publish_commands(benchmark: BenchmarkFixture, encoding: str) -> None:
    case = CASES[encoding]
    message = case.write([command(CHAT)] * 100)
    benchmark.group = "decode and check 100 publishes in one message"
    benchmark.extra_info["message_bytes"] = len(message)
    assert benchmark(published, case, message) == 100


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("encoding", CASES)
def test_message_event(benchmark: BenchmarkFixture, encoding: str, payload: str) -> None:
    codec = CASES[encoding].codec
    benchmark.group = f"encode a broadcast: {payload}"
    event = benchmark(codec.encode_publication, "chat:17", publication(PAYLOADS[payload]))
    benchmark.extra_info["message_bytes"] = len(event)
    assert len(event) > 80


@pytest.mark.parametrize("encoding", CASES)
def test_reply_to_a_publish(benchmark: BenchmarkFixture, encoding: str) -> None:
    codec = CASES[encoding].codec
    benchmark.group = "encode the reply to a publish"
    reply = Reply(id=17, channel="chat:17", epoch="c592f021bcf156a5", offset=7)
    assert len(benchmark(codec.encode, reply)) > 20


@pytest.mark.parametrize("encoding", CASES)
def test_page_of_history(benchmark: BenchmarkFixture, encoding: str) -> None:
    codec = CASES[encoding].codec
    benchmark.group = "encode a history of 100"
    views: list[PublicationView] = [view_publication(publication(CHAT))] * 100
    reply = Reply(id=17, channel="chat:17", epoch="e", offset=7, publications=views, complete=True)
    assert len(benchmark(codec.encode, reply)) > 10_000
