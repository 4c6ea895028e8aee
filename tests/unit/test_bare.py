"""Clients that hear channels bare, as the node has them, in simulated time."""

from __future__ import annotations

import pytest

from gateway.asking import Caller
from gateway.bare import BareClient, close_channel
from gateway.broker import ChannelOptions, Control, ControlKind
from gateway.errors import CommandError
from gateway.hub.encoding import make_bare_encoding
from gateway.message.bare import bare_payload, payload_of_text
from gateway.message.publication import Publication
from gateway.options import Namespace
from tests.support.sessions import FakeConnection, World, world
from tests.support.simulated import settle


def client(w: World, name: str = "bare") -> tuple[BareClient, FakeConnection]:
    connection = FakeConnection()
    return BareClient(
        w.node, connection, make_bare_encoding(None, 0), Caller(client=name, session="")
    ), connection


@pytest.mark.parametrize("text", ["", "x", "é", '"', "\\", "\x00", "\u2028", '{"a":1}', "0", "𝄞"])
def test_a_text_is_the_same_behind_its_payload(text: str) -> None:
    made = Publication(id="1", data=payload_of_text(text), time_ms=0)
    assert bare_payload(made) == (False, text.encode())


@pytest.mark.parametrize(
    ("data", "binary", "payload"),
    [
        (b'"\\u00e9"', False, "é".encode()), (b' "x" ', False, b"x"), (b'{"a": 1.0}', False, b'{"a": 1.0}'),
        (b"1", False, b"1"), (b"null", False, b"null"), (b'"x"', True, b'"x"'), (b"", True, b""),
    ],
)  # fmt: skip
def test_other_payloads_are_bare_as_they_are(data: bytes, binary: bool, payload: bytes) -> None:
    made = Publication(id="1", data=data, time_ms=0, binary=binary)
    assert bare_payload(made) == (binary, payload)


async def test_states_and_personal_channels_are_not_heard() -> None:
    board = Namespace(broker=ChannelOptions(max_state_bytes=1000))
    async with world(namespaces={"board": board}) as w:
        bare, _ = client(w)
        for channel in ("board:1", "@ada", "no such", ""):
            with pytest.raises(CommandError):
                await bare.subscribe(channel)
        assert len(bare) == 0
        await w.check_nothing_is_left()


async def test_a_close_waits_until_the_channel_has_come_so_far() -> None:
    async with world() as w:
        bare, connection = client(w)
        await bare.subscribe("room")
        here = w.node.hub.get("room")
        assert here is not None
        at = here.position
        marker = Publication(id=at.epoch, offset=at.offset + 1, data=b"", time_ms=0)
        control = Control(kind=ControlKind.CLOSE_BARE, channel="room", close_code=4000, publication=marker)
        assert w.node.on_control(control) == 1
        w.time.advance(1.0)
        assert connection.closes == []
        await w.publish("room", "the last")
        w.time.advance(0.1)
        assert connection.closes == [4000]


async def test_a_close_does_not_wait_for_ever_for_what_never_comes() -> None:
    async with world() as w:
        bare, connection = client(w)
        await bare.subscribe("room")
        here = w.node.hub.get("room")
        assert here is not None
        marker = Publication(id=here.position.epoch, offset=99, data=b"", time_ms=0)
        control = Control(kind=ControlKind.CLOSE_BARE, channel="room", close_code=4000, publication=marker)
        assert w.node.on_control(control) == 1
        for _ in range(49):
            w.time.advance(0.1)
        assert connection.closes == []
        for _ in range(3):
            w.time.advance(0.1)
        assert connection.closes == [4000]


async def test_a_close_where_nobody_is_reaches_nobody() -> None:
    async with world() as w:
        assert await close_channel(w.node, "room", 4000, "over") == 0
        with pytest.raises(CommandError):
            await close_channel(w.node, "no such", 4000, "over")


async def test_a_slow_client_that_is_skipped_forward_gets_no_frame_of_the_protocol() -> None:
    async with world() as w:
        bare, connection = client(w)
        await bare.subscribe("tiny:1")
        connection.take = lambda n: 0  # nothing goes out
        for number in range(100):
            await w.publish("tiny:1", f"{number:050}")
            await settle()
        connection.take, connection.blocked = None, False
        bare.catch_up()
        await settle()
        frames = [bytes(frame) for frame in heard(connection)]
        assert frames[-1] == f"{99:050}".encode()
        assert len(frames) < 30
        assert all(len(frame) == 50 for frame in frames if frame)
        bare.leave()


def heard(connection: FakeConnection) -> list[bytes]:
    """Return the payloads of the frames that were sent."""
    data, found = bytes(connection.received), []
    while data:
        assert data[0] in {0x81, 0x8A}
        size = data[1]
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found
