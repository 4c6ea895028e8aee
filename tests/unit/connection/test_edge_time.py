"""Time on the edge: keep-alive, half-open peers, messages that take too long; one timer for all."""

from __future__ import annotations

import asyncio

import pytest

from gateway import closecodes
from gateway._frames import CLOSE, PING, PONG
from tests.support.edges import Peer, Rig, edge, eventually, text
from tests.support.frames import frame


async def closed_after(rig: Rig, *, at_most: float, step: float = 0.25) -> float:
    """Let time pass until the first handler is told that its connection is over; return the seconds."""
    begun = rig.time.now
    while not rig.handlers[0].closes:
        assert rig.time.now - begun <= at_most, "it is still open"
        rig.time.advance(step)
        await asyncio.sleep(0)
    return rig.time.now - begun


@pytest.mark.parametrize("idle_s", [8.0, 60.0])
async def test_silent_peer_is_closed_after_the_idle_time_and_at_most_half_of_it_more(idle_s: float) -> None:
    async with edge(ping_interval=1000.0, idle_timeout=idle_s) as rig:
        peer = await rig.open()
        await rig.pass_time(1.0)
        await rig.deliver(peer, text("last sign of life"))
        assert rig.handlers[0].messages
        seconds = await closed_after(rig, at_most=1.5 * idle_s)
        assert seconds >= idle_s
        assert rig.handlers[0].closes == [closecodes.NO_PONG]
        (close,) = await peer.receive(1)
        assert close.close_code == closecodes.NO_PONG
        await rig.pass_time(6.0)  # it does not answer: closing has its deadline
        await rig.gone()


async def test_peer_that_answers_pings_stays() -> None:
    async with edge(ping_interval=30.0, idle_timeout=60.0, max_missed_pings=1) as rig:
        peer = await rig.open()
        pings = 0
        for _ in range(600):
            rig.time.advance(1.0)
            pings += await peer.answer_pings()
            await eventually(lambda: rig.stats.pongs_in == rig.stats.pings_out)
        assert 18 <= pings <= 20
        assert rig.stats.pings_out == pings
        assert rig.stats.pongs_in == pings
        assert rig.handlers[0].closes == []


async def test_peer_that_sends_data_and_no_pongs_is_closed_after_the_missed_pings() -> None:
    async with edge(ping_interval=10.0, idle_timeout=60.0, max_missed_pings=3) as rig:
        peer = await rig.open()
        begun = rig.time.now
        while not rig.handlers[0].closes:
            assert rig.time.now - begun <= 60.0
            await rig.deliver(peer, text("busy"))
            await rig.pass_time(1.0, step=0.5)
        assert rig.handlers[0].closes == [closecodes.NO_PONG]
        assert rig.time.now - begun >= 30.0
        events = await peer.receive(4)
        assert [e.kind for e in events] == [PING] * 3 + [CLOSE]


@pytest.mark.parametrize("alive", [frame(PONG, b"unasked"), frame(PING, b"mine"), text("hi")])
async def test_anything_that_comes_puts_the_idle_time_off(alive: bytes) -> None:
    async with edge(ping_interval=1000.0, idle_timeout=20.0) as rig:
        peer = await rig.open()
        for _ in range(10):
            await rig.pass_time(15.0)
            await rig.deliver(peer, alive)
        assert rig.handlers[0].closes == []


async def test_pong_takes_back_the_pings_that_were_missed() -> None:
    async with edge(ping_interval=10.0, idle_timeout=60.0, max_missed_pings=3) as rig:
        peer = await rig.open()
        for _ in range(6):
            await rig.pass_time(21.0, step=0.5)  # two pings each time
            await rig.deliver(peer, frame(PONG))
        assert rig.handlers[0].closes == []


# -- messages -----------------------------------------------------------------------------------


async def drip(rig: Rig, peer: Peer, data: bytes, seconds: float) -> None:
    """Send a byte each second, until the handler was told that it is over."""
    for at in range(int(seconds)):
        if rig.handlers[0].closes:
            return
        await rig.deliver(peer, data[at : at + 1])
        await rig.pass_time(1.0)


async def test_message_that_takes_too_long_is_closed_1008_however_it_drips() -> None:
    async with edge(message_timeout=30.0, idle_timeout=1000.0, ping_interval=1000.0) as rig:
        peer = await rig.open()
        begun = rig.time.now
        await drip(rig, peer, text("x" * 100), 60)
        assert rig.handlers[0].closes == [closecodes.POLICY_VIOLATION]
        assert 30.0 <= rig.time.now - begun <= 33.0
        (close,) = await peer.receive(1)
        assert close.close_code == 1008


async def test_message_in_fragments_is_held_to_the_same_time() -> None:
    async with edge(message_timeout=30.0, idle_timeout=1000.0, ping_interval=1000.0) as rig:
        peer = await rig.open()
        await rig.deliver(peer, frame(1, b"begin", fin=False))
        for _ in range(9):
            await rig.pass_time(4.0)
            if rig.handlers[0].closes:
                break
            await rig.deliver(peer, frame(0, b"more", fin=False), frame(PING))
        assert rig.handlers[0].closes == [1008]


async def test_each_message_has_its_own_time() -> None:
    async with edge(message_timeout=30.0, idle_timeout=1000.0, ping_interval=1000.0) as rig:
        peer = await rig.open()
        whole = text("x" * 20)
        await rig.deliver(peer, whole[:5])
        for _ in range(5):
            await rig.pass_time(20.0)
            await rig.deliver(peer, whole[5:] + whole[:5])  # one ends, and the next one begins
        assert rig.handlers[0].closes == []
        assert len(rig.handlers[0].messages) == 5
        assert await closed_after(rig, at_most=33.0) >= 29.0


async def test_idle_connection_between_messages_has_no_message_deadline() -> None:
    async with edge(message_timeout=5.0, idle_timeout=1000.0, ping_interval=1000.0) as rig:
        peer = await rig.open()
        whole = text("x" * 20)
        await rig.deliver(peer, whole[:5])
        await rig.pass_time(2.0)
        await rig.deliver(peer, whole[5:])
        await rig.pass_time(60.0)
        assert rig.handlers[0].closes == []


# -- one timer ----------------------------------------------------------------------------------


async def test_all_connections_share_one_timer() -> None:
    async with edge() as rig:
        for _ in range(20):
            await rig.open()
        assert rig.time.timers == 1
        assert len(rig.edge.wheel) == 20


async def test_close_within_the_visit_of_another_is_harmless() -> None:
    async with edge(ping_interval=1000.0, idle_timeout=10.0) as rig:
        for _ in range(4):
            await rig.open()

        def close_all(code: int, reason: str) -> None:
            for handler in rig.handlers:
                handler.connection.close(4004, "")

        rig.handlers[1].on_close = close_all  # type: ignore[method-assign]
        await rig.pass_time(15.0)
        told = [handler.closes for handler in (rig.handlers[0], *rig.handlers[2:])]
        assert all(len(codes) == 1 for codes in told)


async def test_handler_that_raises_in_on_close_does_not_stop_the_timer_of_the_others() -> None:
    async with edge(ping_interval=1000.0, idle_timeout=10.0) as rig:

        def broken(code: int, reason: str) -> None:
            raise RuntimeError("a mistake")

        for _ in range(6):
            await rig.open()
        for handler in rig.handlers[:3]:
            handler.on_close = broken  # type: ignore[method-assign]
        await rig.pass_time(15.0)
        assert [handler.closes for handler in rig.handlers[3:]] == [[4201]] * 3
        await rig.pass_time(6.0)
        await rig.gone()


async def test_connection_that_is_gone_is_not_revived_by_the_word_that_it_was_slow() -> None:
    async with edge() as rig:
        peer = await rig.open(receive_buffer=16384)
        connection = rig.handlers[0].connection
        connection.send(1, b"x" * 8_000_000)
        peer.reset()
        await rig.gone()
        connection.close_slow()  # type: ignore[attr-defined]
        assert connection.closed


async def test_pong_has_until_the_next_ping_however_short_the_idle_timeout() -> None:
    async with edge(ping_interval=10.0, idle_timeout=8.0, max_missed_pings=1) as rig:
        peer = await rig.open()
        for _ in range(60):
            await rig.deliver(peer, text("alive"))
            await rig.pass_time(1.0)
            if rig.stats.pings_out > rig.stats.pongs_in:
                await rig.pass_time(3.0)
                assert rig.handlers[0].closes == []
                await rig.deliver(peer, frame(PONG))


async def test_peer_that_reads_a_long_answer_slowly_but_steadily_stays() -> None:
    async with edge(ping_interval=30.0, idle_timeout=60.0) as rig:
        peer = await rig.open(receive_buffer=16384)
        rig.handlers[0].connection.send(1, b"x" * 20_000_000)
        for _ in range(200):
            await peer.read()
            await rig.pass_time(1.0)
            assert rig.handlers[0].closes == []


async def test_peer_that_stops_reading_in_the_midst_of_a_long_answer_is_closed() -> None:
    async with edge(ping_interval=30.0, idle_timeout=60.0) as rig:
        peer = await rig.open(receive_buffer=16384)
        rig.handlers[0].connection.send(1, b"x" * 20_000_000)
        for _ in range(5):
            await peer.read()
            await rig.pass_time(1.0)
        await closed_after(rig, at_most=92.0)
        assert rig.handlers[0].closes == [closecodes.NO_PONG]
