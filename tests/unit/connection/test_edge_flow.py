"""Peers that do not read: nothing is lost or reordered, and memory stays bounded."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway import closecodes
from gateway._frames import CLOSE, PONG, TEXT
from gateway._sink import Sink
from gateway.connection._connection import Connection as EdgeConnection
from gateway.hub.channel import Channel, RingOptions
from gateway.hub.encoding import Encoding
from gateway.hub.hub import Hub
from gateway.message.json import JsonCodec
from gateway.message.publication import Position, Publication
from tests.support.edges import Handler, Peer, Rig, edge, eventually, text
from tests.support.frames import frame

CODEC = JsonCodec()


def channel_of(rig: Rig, **options: object) -> tuple[Hub, Channel]:
    hub = Hub(call_soon=rig.time.loop.call_soon, clock=rig.time.time)
    return hub, hub.open("news", Position("e", 0), RingOptions(**options))  # type: ignore[arg-type]


def publish(channel: Channel, number: int, size: int = 10) -> None:
    data = b'"%d%s"' % (number, b"." * size)
    channel.deliver("e", [Publication(id=f"{number}", data=data, time_ms=0, offset=number)], 0.0)


def subscribe(channel: Channel, handler: Handler) -> None:
    channel.attach("client", cast(Sink, handler.connection), Encoding(CODEC))


async def fill(peer: Peer, frames: list[bytes]) -> int:
    """Send frames, without reading, until nothing more is taken; return how many bytes were."""
    data = b"".join(frames)
    sent = idle = 0
    while sent < len(data) and idle < 40:
        try:
            sent += peer.sock.send(data[sent : sent + 65536])
            idle = 0
        except BlockingIOError:
            idle += 1
        await asyncio.sleep(0.002 if idle else 0)
    return sent


@pytest.mark.parametrize("path", ["/echo", "/ws"])
async def test_flood_of_a_peer_that_reads_nothing_is_held_back_and_then_answered_in_order(path: str) -> None:
    async with edge(lambda handler, payload: handler.connection.send(TEXT, payload)) as rig:
        peer = await rig.open(path, receive_buffer=16384)
        head = frame(TEXT, b"." * 2000, mask=bytes(4))[:8]  # a mask of zeros: quick to make
        frames = [head + b"%6d" % number + b"." * 1994 for number in range(30_000)]
        sent = await fill(peer, frames)
        (connection,) = rig.edge.connections
        taken = rig.stats.bytes_in
        assert sent < 60_000_000 * 0.9, "it was held back"
        assert connection.blocked
        assert connection.queued_bytes < 1 << 20
        await asyncio.sleep(0.02)
        assert rig.stats.bytes_in == taken, "nothing is read from who does not read"
        expected = sent // len(frames[0])
        for number in range(expected):
            (event,) = await peer.receive(1)
            assert event.payload[:6] == b"%6d" % number
        await eventually(lambda: not connection.blocked)
        rest = frames[expected][sent % len(frames[0]) :]
        await peer.send(rest, text("and so on"))
        assert [p[:6] for p in await peer.payloads(2)] == [b"%6d" % expected, b"and so"]


async def test_answers_precede_what_rings_have_and_nothing_is_mixed() -> None:
    async with edge() as rig:
        peer = await rig.open()
        _, channel = channel_of(rig)
        subscribe(channel, rig.handlers[0])
        numbers = iter(range(1, 100))

        def on(handler: Handler, payload: bytes) -> None:
            handler.connection.send(TEXT, b"before " + payload)
            publish(channel, next(numbers))
            handler.connection.send(TEXT, b"after " + payload)

        rig.handlers[0].on = on
        await peer.send(text("a"), text("b"))
        payloads = await peer.payloads(6)
        assert payloads[:4] == [b"before a", b"after a", b"before b", b"after b"]
        assert [b'"offset":%d' % n in p for n, p in zip((1, 2), payloads[4:], strict=True)] == [True, True]


async def test_ring_that_must_flush_within_a_read_sends_the_gathered_answers_first() -> None:
    async with edge() as rig:
        peer = await rig.open()
        _, channel = channel_of(rig, bound_bytes=1024)
        subscribe(channel, rig.handlers[0])

        def on(handler: Handler, payload: bytes) -> None:
            handler.connection.send(TEXT, b"answer")
            for number in range(1, 30):
                publish(channel, number, 100)
            handler.connection.send(TEXT, b"last")

        rig.handlers[0].on = on
        await peer.send(text("go"))
        payloads = await peer.payloads(31)
        assert payloads[0] == b"answer"
        assert payloads.index(b"last") > 1
        assert [p for p in payloads if b"offset" in p] == sorted(
            (p for p in payloads if b"offset" in p),
            key=lambda p: int(p.split(b'"offset":')[1].split(b",")[0]),
        )
        assert len([p for p in payloads if b"offset" in p]) == 29


async def test_blocked_peer_gets_ring_and_answers_whole_once_it_reads() -> None:
    async with edge() as rig:
        peer = await rig.open(receive_buffer=16384)
        hub, channel = channel_of(rig, bound_bytes=1 << 24)
        handler = rig.handlers[0]
        subscribe(channel, handler)
        handler.on_writable = lambda: hub.catch_up(cast(Sink, handler.connection))  # type: ignore[method-assign]
        connection = cast(EdgeConnection, handler.connection)
        number = 0
        while not connection.blocked:
            number += 1
            publish(channel, number, 5000)
            await asyncio.sleep(0)
        assert connection.queued_bytes > 0
        for _ in range(200):
            number += 1
            publish(channel, number, 5000)
            await asyncio.sleep(0)
        assert connection.queued_bytes < 100_000, "what a ring has is not queued"
        connection.send(TEXT, b"answer")
        events = await peer.receive(number + 1)
        assert events[-1].kind == TEXT
        ring = [e.payload for e in events if e.payload != b"answer"]
        assert [b'"offset":%d,' % (at + 1) in payload for at, payload in enumerate(ring)] == [True] * number


async def test_too_slow_a_peer_is_closed_4200_after_whole_frames() -> None:
    async with edge() as rig:
        peer, fast = await rig.open(receive_buffer=16384), await rig.open()
        _, channel = channel_of(rig, bound_bytes=1 << 16)
        for name, handler in zip(("slow", "fast"), rig.handlers, strict=True):
            channel.attach(name, cast(Sink, handler.connection), Encoding(CODEC))
            handler.on_writable = lambda: None  # type: ignore[method-assign]
        reading = asyncio.create_task(fast.receive_to_end())
        number = 0
        while not rig.handlers[0].closes:
            number += 1
            publish(channel, number, 2000)
            await asyncio.sleep(0)
            assert number < 50_000
        assert rig.handlers[0].closes == [closecodes.SLOW_CONSUMER]
        events = await peer.receive_until(CLOSE)
        assert events[-1].close_code == closecodes.SLOW_CONSUMER
        assert [b'"offset":%d,' % (at + 1) in e.payload for at, e in enumerate(events[:-1])] == [True] * (
            len(events) - 1
        )
        assert rig.handlers[1].closes == []
        rig.handlers[1].connection.abort()
        assert len(await reading) <= number


async def test_flood_of_pings_while_blocked_owes_one_pong() -> None:
    async with edge() as rig:
        peer = await rig.open(receive_buffer=16384)
        connection = cast(EdgeConnection, rig.handlers[0].connection)
        await peer.send(*[frame(9, b"early %d" % number) for number in range(3)])
        assert [e.payload for e in await peer.receive(3)] == [b"early 0", b"early 1", b"early 2"]

        def on(handler: Handler, payload: bytes) -> None:
            handler.connection.send(TEXT, b"x" * 20_000_000)

        rig.handlers[0].on = on
        await peer.send(text("go"), *[frame(9, b"%d" % number) for number in range(1000)])
        await eventually(lambda: connection.blocked)
        queued = connection.queued_bytes
        await asyncio.sleep(0.01)
        assert connection.queued_bytes <= queued
        (big,) = await peer.receive(1)
        assert len(big.payload) == 20_000_000
        await peer.send(frame(9, b"last"))
        pongs = [(await peer.receive(1))[0]]
        while pongs[-1].payload != b"last":
            pongs += await peer.receive(1)
        assert {e.kind for e in pongs} == {PONG}


async def test_peer_that_is_gone_while_it_is_owed_much_is_forgotten() -> None:
    async with edge() as rig:
        peer = await rig.open(receive_buffer=16384)
        _, channel = channel_of(rig)
        subscribe(channel, rig.handlers[0])
        rig.handlers[0].connection.send(TEXT, b"x" * 8_000_000)
        await eventually(lambda: rig.handlers[0].connection.queued_bytes > 0)
        publish(channel, 1)
        peer.reset()
        await rig.gone()
        assert rig.handlers[0].closes == [1006]
        publish(channel, 2)
        await asyncio.sleep(0.005)


async def test_close_while_the_peer_reads_nothing_comes_after_what_was_said() -> None:
    async with edge(close_timeout=5.0) as rig:
        peer = await rig.open(receive_buffer=16384)
        rig.handlers[0].connection.send(TEXT, b"x" * 8_000_000)
        rig.handlers[0].connection.close(4004, "bye")
        message, close = await peer.receive(2)
        assert (len(message.payload), close.close_code) == (8_000_000, 4004)


async def test_peer_that_reads_nothing_cannot_hold_a_close_up() -> None:
    async with edge(close_timeout=5.0) as rig:
        await rig.open(receive_buffer=16384)
        rig.handlers[0].connection.send(TEXT, b"x" * 8_000_000)
        rig.handlers[0].connection.close(4004, "bye")
        await rig.pass_time(4.5)
        assert len(rig.edge.connections) == 1
        await rig.pass_time(1.0)
        await rig.gone()
