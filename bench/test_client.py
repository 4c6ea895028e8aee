"""What a message costs the Python client, in each encoding: decoded, placed in its channel, handed on.

The same messages in the encodings of a gateway, without a socket; frames are measured in `test_frames`.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.client.channels import Channels
from gateway.client.codecs import EncodingName, codec_for
from gateway.client.requests import Requests
from gateway.client.results import ChannelEvent, Message
from gateway.message.codec import Codec
from gateway.message.json import JsonCodec
from gateway.message.msgpack import MsgpackCodec
from gateway.message.protobuf import ProtobufCodec
from gateway.message.publication import Publication
from tests.support.client_engine import FakeTimers

GATEWAYS: dict[EncodingName, Codec] = {
    "json": JsonCodec(),
    "msgpack": MsgpackCodec(),
    "protobuf": ProtobufCodec(),
}
CHAT = b'{"text":"shall we meet at eight?","room":7,"mentions":["ada","bob"]}'


class Ear:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard = 0

    def tell(self, event: ChannelEvent) -> None:
        """Count a message."""
        self.heard += isinstance(event, Message)


@pytest.mark.parametrize("encoding", GATEWAYS)
def test_message_reaches_its_listener(benchmark: BenchmarkFixture, encoding: EncodingName) -> None:
    benchmark.group = "Python client: a chat message, from its frame's payload to the callback"
    codec, ear = codec_for(encoding), Ear()
    channels = Channels(Requests(codec, lambda _: None), codec, FakeTimers(), lambda: 0.5, lambda _: None)
    channel = channels.add("chat:17", ear)
    channels.open([])
    channels._input(channel, "granted")
    publication = Publication(id="UOlpxzDk-1", data=CHAT, time_ms=1_795_426_675_119, client="c1", user="ada")
    payload = GATEWAYS[encoding].encode_publication("chat:17", publication)

    def receive() -> None:
        event = codec.decode(payload)
        assert event is not None
        channels._recent._new.clear()  # it has no offset, so that it may come again and again
        channels.event(event)

    benchmark(receive)
    assert ear.heard >= 1
