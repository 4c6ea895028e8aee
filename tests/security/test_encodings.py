"""What is no MessagePack or Protobuf, or hardly, sent to a running gateway: refused clearly and forgotten."""

from __future__ import annotations

import pytest

from tests.security.client import BINARY, Client
from tests.security.conftest import Launch, Watch
from tests.security.target import Target
from tests.security.test_memory import MIB, peak_below
from tests.support.codecs import CASES
from tests.support.frames import frame

LARGEST = 65_536
MESSAGES: dict[str, list[bytes]] = {
    "msgpack": [
        *(
            b"",
            b"\xc1",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\x81\x01\x01",
        ),
        *(
            b"\x91" * LARGEST,
            b"\x81\xa1k" * 20_000,
            b"\xdd\xff\xff\xff\xff" * 13_000,
            b"\xdc\xff\xff" * 20_000,
        ),
        b"\x82\xa4type\xa7publish\xa4data" + b"\x91" * 60_000,
        b"\x82\xa4type\xa7connect\xa5since\xdf\xff\xff\xff\xff",
        b"\xdd\x00\x00\xff\x00" + b"\x80" * 0xFF00,
    ],
    "protobuf": [
        *(b"", b"\x00", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * LARGEST, b"\x80" * LARGEST),
        *(b"\x0b" * LARGEST, b"\x0b" * 32_768 + b"\x0c" * 32_768, b"\x0a\x00" * 32_768),
        b"\x0a\x00" * 32_000 + b"\x0a\x05\x1a\x03\x0a\x01\xff",
        b"\xa2\x06\x00" * 21_000,
    ],
}


def client_of(target: Target, encoding: str) -> Client:
    """Return a client of an encoding that was let in."""
    case = CASES[encoding]
    client = Client(target.port, headers={"Sec-WebSocket-Protocol": case.codec.subprotocol})
    assert case.read(client.frame().payload)["type"] == "hello"
    return client


@pytest.mark.parametrize("encoding", MESSAGES)
def test_hostile_messages_are_bad_requests_and_the_session_goes_on(
    shared: Target, bystander: Watch, encoding: str
) -> None:
    case = CASES[encoding]
    with bystander(shared):
        for message in MESSAGES[encoding]:
            with client_of(shared, encoding) as client:
                client.send(frame(BINARY, message))
                event = case.read(client.frame().payload)
                assert (event["type"], event["code"], event.get("id")) == ("error", "bad_request", None)
                client.send(frame(BINARY, case.write({"type": "ping", "id": 99})))
                assert case.read(client.frame().payload) == {"type": "reply", "id": 99}


@pytest.mark.parametrize("encoding", MESSAGES)
def test_hostile_messages_again_and_again_take_no_memory(launch: Launch, encoding: str) -> None:
    target = launch()
    with peak_below(target, 16 * MIB):
        for _ in range(2):
            for message in MESSAGES[encoding]:
                with client_of(target, encoding) as client:
                    for _ in range(9):
                        client.send(frame(BINARY, message))
                        client.frame()
