"""Broadcasts that are deflated: once for all who share, readable by each, and not below the threshold."""

from __future__ import annotations

from gateway._frames import TEXT, Decoder
from gateway._sink import ScriptedSink
from gateway.deflate import Deflater, Inflater
from gateway.hub._ring import Flusher, HubStats
from gateway.hub.channel import Channel, RingOptions
from gateway.hub.encoding import RSV1, Encoding
from gateway.message.json import JsonCodec
from gateway.message.publication import Member, Position, Publication

CODEC = JsonCodec()
LONG = b'{"text":"' + b"again and " * 100 + b'"}'


class CountingDeflater(Deflater):
    """Counts what it is asked to do."""

    def __init__(self) -> None:
        super().__init__(window_bits=12, takeover=False)
        self.messages = 0

    def deflate(self, payload: bytes) -> bytes:
        self.messages += 1
        return super().deflate(payload)


class Stage:
    """A channel whose turns of the loop the test takes."""

    def __init__(self) -> None:
        self.turns: list[object] = []
        self.flusher = Flusher(self.turns.append)
        self.channel = Channel(
            "news", Position("e", 0), RingOptions(), now=0.0, flusher=self.flusher, stats=HubStats()
        )

    def attach(self, client: str, encoding: Encoding) -> ScriptedSink:
        sink = ScriptedSink()
        self.channel.attach(client, sink, encoding)
        return sink

    def publish(self, offset: int, data: bytes) -> None:
        self.channel.deliver("e", [Publication(id="1", data=data, time_ms=1, offset=offset)], 0.0)
        self.flusher.run()


def messages(sink: ScriptedSink, *, takeover: bool = False) -> list[bytes]:
    """Decode what a client received, with an inflater as it would have it."""
    inflater = Inflater(window_bits=12, takeover=takeover)
    decoder = Decoder(client=True, max_message_bytes=1 << 20, max_fragments=1, inflater=inflater)
    events = decoder.receive(bytes(sink.received))
    assert all(event.kind == TEXT for event in events)
    return [event.payload for event in events]


def test_broadcast_is_deflated_once_for_all_who_share_the_compressor() -> None:
    stage, deflater = Stage(), CountingDeflater()
    sinks = [stage.attach(f"c{i}", Encoding(CODEC, deflater, 0)) for i in range(50)]
    stage.publish(1, LONG)
    assert deflater.messages == 1
    assert all(LONG in messages(sink)[0] for sink in sinks)
    assert len(sinks[0].received) < len(LONG) // 5


def test_who_did_not_negotiate_it_gets_plain_text() -> None:
    stage, deflater = Stage(), CountingDeflater()
    plain = stage.attach("plain", Encoding(CODEC))
    small = stage.attach("small", Encoding(CODEC, deflater, 0))
    stage.publish(1, LONG)
    assert plain.received[0] == 0x81
    assert small.received[0] == 0x81 | RSV1
    assert messages(small) == [bytes(plain.received[4:])]


def test_message_below_the_threshold_goes_out_as_it_is() -> None:
    deflater = CountingDeflater()
    encoding = Encoding(CODEC, deflater, 256)
    assert encoding.pack(b"x" * 255) == (1, b"x" * 255)
    assert encoding.pack(b"x" * 256)[0] == 1 | RSV1


def test_message_can_be_read_by_who_joined_late_and_by_who_keeps_a_context() -> None:
    stage, deflater = Stage(), CountingDeflater()
    early = stage.attach("early", Encoding(CODEC, deflater, 0))
    stage.publish(1, LONG)
    late = stage.attach("late", Encoding(CODEC, deflater, 0))
    stage.publish(2, LONG)
    assert LONG in messages(late)[0]
    assert [LONG in m for m in messages(early, takeover=True)] == [True, True]


def test_history_put_in_front_is_deflated_too() -> None:
    stage, deflater = Stage(), CountingDeflater()
    stage.channel.position = Position("e", 2)
    encoding = Encoding(CODEC, deflater, 0)
    sink = stage.attach("back", encoding)
    older = [Publication(id=str(o), data=LONG, time_ms=1, offset=o) for o in (1, 2)]
    assert stage.channel.backfill(encoding, older)
    assert stage.channel.resume("back", Position("e", 0))
    stage.flusher.run()
    assert [LONG in m for m in messages(sink)] == [True, True]
    assert sink.received[0] == 0x81 | RSV1


def test_joins_are_events_like_others() -> None:
    stage, deflater = Stage(), CountingDeflater()
    sink = stage.attach("a", Encoding(CODEC, deflater, 0))
    stage.channel.deliver_presence(Member(client="b", user="u"), joined=True, now=0.0)
    stage.flusher.run()
    assert messages(sink) == [b'{"type":"join","channel":"news","client":"b","user":"u"}']
