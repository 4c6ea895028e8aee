"""The edge over real sockets: from handshake to close, from either side, at every state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import pytest

from gateway import closecodes
from gateway._encode import encode_close
from gateway._frames import BINARY, CLOSE, PING, PONG, TEXT
from tests.support.edges import Handler, Peer, edge, eventually, request, text
from tests.support.frames import MASK, frame
from tests.support.simulated import settle

CLOSING: Final = encode_close(1000, b"bye", MASK)


# -- handshake ----------------------------------------------------------------------------------


async def test_first_frames_in_the_segment_of_the_request_are_answered_after_the_101() -> None:
    async with edge() as rig:
        peer = await rig.dial()
        await peer.upgrade("/echo", then=text("one") + text("two"))
        assert await peer.payloads(2) == [b"one", b"two"]


async def test_request_byte_by_byte_with_half_a_frame_behind_it() -> None:
    async with edge() as rig:
        peer = await rig.dial()
        data = request("/echo") + text("hello")
        for at in range(len(data) - 2):
            await peer.send(data[at : at + 1])
            if at % 16 == 0:
                await asyncio.sleep(0)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await peer.read()
        await peer.send(data[-2:])
        assert await peer.payloads(1) == [b"hello"]


async def test_what_the_handler_says_at_once_follows_the_101() -> None:
    async with edge() as rig:
        rig.greeting = b"hello"
        peer = await rig.dial()
        await peer.upgrade(then=text("x"))
        assert await peer.payloads(1) == [b"hello"]
        await eventually(lambda: rig.handlers[0].messages == [b"x"])


async def test_trickling_handshake_ends_at_its_absolute_deadline() -> None:
    async with edge(handshake_timeout=10.0) as rig:
        peer, other = await rig.dial(), await rig.open("/echo")
        for byte in request()[:38]:
            await peer.send(bytes([byte]))
            await rig.pass_time(0.25)
        assert len(rig.edge.connections) == 2
        await rig.pass_time(1.0)
        assert await peer.everything() == b""
        assert rig.stats.refusals == {"timeout": 1}
        await other.send(text("still here"))
        assert await other.payloads(1) == [b"still here"]


@pytest.mark.parametrize(
    ("data", "status", "label"),
    [
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404, True),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, True),
        (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 200, False),
        (request("/ws").replace(b": 13", b": 12"), 426, True),
    ],
)
async def test_refusal_is_a_whole_answer_and_the_end(data: bytes, status: int, label: bool) -> None:
    async with edge() as rig:
        peer = await rig.dial()
        await peer.send(data)
        answer = await peer.everything()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert bool(rig.stats.refusals) == label
        assert rig.stats.opened == 0
        peer.close()
        await rig.gone()


async def test_refused_peer_that_does_not_hang_up_is_dropped_in_time() -> None:
    async with edge(close_timeout=5.0) as rig:
        peer = await rig.dial()
        await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.everything()
        await rig.pass_time(4.5)
        assert len(rig.edge.connections) == 1
        await rig.pass_time(1.0)
        await rig.gone()


async def test_connections_beyond_the_bound_get_503_and_room_is_made_again() -> None:
    async with edge(max_connections=2) as rig:
        first, _ = await rig.open(), await rig.open()
        third = await rig.dial()
        await rig.pass_time(0.5)
        assert (len(rig.edge.connections), rig.stats.refusals) == (3, {}), "not told before it asks"
        await third.send(b"GET /ws HTTP/1.1\r\n")
        assert (await third.everything()).startswith(b"HTTP/1.1 503 ")
        third.close()
        first.close()
        await eventually(lambda: len(rig.edge.connections) == 1)
        await rig.open()


async def test_silent_connection_beyond_the_bound_gets_503_all_the_same() -> None:
    async with edge(max_connections=1) as rig:
        await rig.open()
        silent = await rig.dial()
        await rig.pass_time(1.5)
        assert (await silent.everything()).startswith(b"HTTP/1.1 503 ")
        assert rig.stats.refusals == {"unavailable": 1}


# -- messages -----------------------------------------------------------------------------------


async def test_messages_reach_the_handler_whole_and_in_order() -> None:
    async with edge() as rig:
        peer = await rig.open()
        await peer.send(frame(TEXT, b"one", fin=False), frame(PING, b"p"), frame(0, b"two"), text("three"))
        (pong,) = await peer.receive(1)
        assert (pong.kind, pong.payload) == (PONG, b"p")
        assert rig.handlers[0].messages == [b"onetwo", b"three"]
        assert (rig.stats.messages_in, rig.stats.message_bytes_in) == (2, 11)


async def test_answers_to_one_read_leave_in_order_with_pongs_between() -> None:
    async with edge(lambda handler, payload: handler.connection.send(BINARY, payload)) as rig:
        peer = await rig.open()
        await peer.send(text("a"), frame(PING, b"1"), text("b"), frame(PING, b"2"))
        assert [(e.kind, e.payload) for e in await peer.receive(4)] == [
            (BINARY, b"a"),
            (PONG, b"1"),
            (BINARY, b"b"),
            (PONG, b"2"),
        ]


async def test_handler_may_send_to_another_connection_in_the_midst_of_its_own_answers() -> None:
    async with edge() as rig:
        first, second = await rig.open(), await rig.open()

        def on(handler: Handler, payload: bytes) -> None:
            handler.connection.send(TEXT, b"mine " + payload)
            rig.handlers[1].connection.send(TEXT, b"yours " + payload)

        rig.handlers[0].on = on
        await first.send(text("x" * 50_000), text("2"), text("3"))
        assert [p[:6] for p in await first.payloads(3)] == [b"mine x", b"mine 2", b"mine 3"]
        assert [p[:7] for p in await second.payloads(3)] == [b"yours x", b"yours 2", b"yours 3"]


async def test_many_messages_to_one_connection_leave_in_order_whoever_else_is_answered() -> None:
    async with edge() as rig:
        first, second = await rig.open(), await rig.open()

        def on(handler: Handler, payload: bytes) -> None:
            handler.connection.send(TEXT, b"mine")
            handler.connection.send_many(TEXT, [b"a" * 60_000, b"b" * 60_000])
            rig.handlers[1].connection.send_many(TEXT, [b"yours", b"too"])
            handler.connection.send(TEXT, b"last")

        rig.handlers[0].on = on
        await first.send(text("x"))
        assert [p[:4] for p in await first.payloads(4)] == [b"mine", b"aaaa", b"bbbb", b"last"]
        assert await second.payloads(2) == [b"yours", b"too"]
        rig.handlers[1].connection.send_many(BINARY, [b"1", b"2", b"3"])
        assert [(e.kind, e.payload) for e in await second.receive(3)] == [
            (BINARY, b"1"),
            (BINARY, b"2"),
            (BINARY, b"3"),
        ]
        rig.handlers[1].connection.close(1000, "")
        rig.handlers[1].connection.send_many(TEXT, [b"late", b"too late"])
        assert not await second.payloads(0)


# -- errors of ours -----------------------------------------------------------------------------


def _raise(handler: Handler, payload: bytes) -> None:
    raise RuntimeError("a mistake")


async def test_handler_that_raises_closes_its_connection_with_1011_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with edge(_raise) as rig:
        peer, other = await rig.open(), await rig.open("/echo")
        await peer.send(text("boom"), text("more"))
        (close,) = await peer.receive(1)
        assert (close.kind, close.close_code) == (CLOSE, closecodes.INTERNAL_ERROR)
        assert b"mistake" not in close.close_reason
        assert rig.handlers[0].closes == [1011]
        assert rig.handlers[0].messages == [b"boom"]
        assert "a mistake" in caplog.text
        await other.send(text("fine"))
        assert await other.payloads(1) == [b"fine"]


async def test_answers_gathered_before_the_handler_raised_are_not_lost() -> None:
    def on(handler: Handler, payload: bytes) -> None:
        handler.connection.send(TEXT, payload)
        if payload == b"2":
            raise RuntimeError("a mistake")

    async with edge(on) as rig:
        peer = await rig.open()
        await peer.send(text("1"), text("2"), text("3"))
        events = await peer.receive(3)
        assert [(e.kind, e.payload) for e in events[:2]] == [(TEXT, b"1"), (TEXT, b"2")]
        assert events[2].close_code == 1011


async def test_factory_that_raises_closes_1011() -> None:
    async with edge() as rig:
        rig.greeting = None  # which cannot be sent
        peer = await rig.open()
        (close,) = await peer.receive(1)
        assert (close.kind, close.close_code) == (CLOSE, 1011)


@pytest.mark.parametrize("state", ["open", "closing"])
async def test_on_close_that_raises_harms_nobody(state: str, caplog: pytest.LogCaptureFixture) -> None:
    async with edge() as rig:
        peer, other = await rig.open(), await rig.open("/echo")

        def on_close(code: int, reason: str) -> None:
            raise RuntimeError("a mistake")

        rig.handlers[0].on_close = on_close  # type: ignore[method-assign]
        if state == "closing":
            await peer.send(CLOSING)
            await eventually(lambda: "a mistake" in caplog.text)
        peer.reset()
        await eventually(lambda: len(rig.edge.connections) == 1)
        assert "a mistake" in caplog.text
        await other.send(text("fine"))
        assert await other.payloads(1) == [b"fine"]


# -- closing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "answer"),
    [
        (CLOSING, 1000, 1000),
        (frame(CLOSE), 1005, 1005),
        (frame(CLOSE, b"\x0f\xa0"), 4000, 4000),
        (frame(CLOSE, b"\x03\xed"), 1002, 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007, 1007),
        (frame(3, b"x"), 1002, 1002),
        (frame(TEXT, b"\xff"), 1007, 1007),
    ],
)
async def test_peer_that_closes_or_breaks_rules_is_answered_and_hung_up_on(
    sent: bytes, code: int, answer: int
) -> None:
    async with edge() as rig:
        peer = await rig.open()
        await peer.send(text("last"), sent, text("beyond"))
        (close,) = await peer.receive_to_end()
        assert (close.kind, close.close_code) == (CLOSE, answer)
        assert rig.handlers[0].closes == [code]
        assert rig.handlers[0].messages == [b"last"]
        assert rig.stats.closes == {answer: 1}
        peer.close()
        await rig.gone()
        assert rig.handlers[0].closes == [code]


async def test_gateway_that_closes_waits_for_the_answer_and_drops_what_comes_before() -> None:
    async with edge() as rig:
        peer = await rig.open()
        connection = rig.handlers[0].connection
        connection.close(closecodes.DISCONNECTED, "go away")
        connection.close(1000, "again")
        connection.send(TEXT, b"too late")
        assert connection.closed
        (close,) = await peer.receive(1)
        assert (close.close_code, close.close_reason) == (4004, b"go away")
        await peer.send(text("not heard"), frame(PING, b"nor answered"))
        await rig.pass_time(2.0)
        assert len(rig.edge.connections) == 1
        await peer.send(CLOSING)
        assert await peer.receive_to_end() == []
        peer.close()
        await rig.gone()
        assert rig.handlers[0].closes == [4004]
        assert rig.handlers[0].messages == []


async def test_peer_that_never_answers_a_close_is_dropped_in_time() -> None:
    async with edge(close_timeout=5.0) as rig:
        peer = await rig.open()
        rig.handlers[0].connection.close(1000, "")
        await rig.pass_time(4.75)
        assert len(rig.edge.connections) == 1
        await rig.pass_time(1.0)
        await rig.gone()
        assert [e.close_code for e in await peer.receive_to_end()] == [1000]


async def test_peer_that_sends_on_after_the_close_does_not_prolong_it() -> None:
    async with edge(close_timeout=5.0) as rig:
        peer = await rig.open()
        rig.handlers[0].connection.close(1000, "")
        for _ in range(5):
            await peer.send(text("on and on"))
            await rig.pass_time(1.0)
        await rig.pass_time(0.5)
        await rig.gone()


async def test_peer_that_answers_and_does_not_hang_up_is_dropped_in_time() -> None:
    async with edge(close_timeout=5.0) as rig:
        peer = await rig.open()
        await peer.send(CLOSING)
        await peer.receive_to_end()
        await rig.pass_time(4.0)
        assert len(rig.edge.connections) == 1
        await rig.pass_time(2.0)
        await rig.gone()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "state", ["connected", "opening", "open", "in message", "closing", "lingering", "refused"]
)
async def test_connection_lost_at_every_state_is_told_once(state: str, reset: bool) -> None:
    async with edge() as rig:
        peer = await rig.dial()
        if state in {"opening", "refused"}:
            await peer.send(request()[: 40 if state == "opening" else 0] or b"x\r\n\r\n")
        if state in {"open", "in message", "closing", "lingering"}:
            await peer.upgrade()
        if state == "in message":
            await peer.send(text("half a message")[:9])
        if state == "closing":
            rig.handlers[0].connection.close(4004, "")
        if state == "lingering":
            await peer.send(CLOSING)
        await settle(20)
        await asyncio.sleep(0.005)
        if reset:
            peer.reset()
        else:
            peer.close()
        await rig.gone()
        told = {"open": [1006], "in message": [1006], "closing": [4004], "lingering": [1000]}
        assert [handler.closes for handler in rig.handlers] == ([told[state]] if state in told else [])


async def test_half_closed_peer_is_let_go() -> None:
    async with edge() as rig:
        peer = await rig.open()
        peer.sock.shutdown(1)
        await peer.receive_to_end()
        await rig.gone()
        assert rig.handlers[0].closes == [1006]


async def test_close_inside_on_message_ends_the_messages_and_keeps_what_was_said() -> None:
    def on(handler: Handler, payload: bytes) -> None:
        handler.connection.send(TEXT, b"before")
        handler.connection.close(4004, "enough")
        handler.connection.send(TEXT, b"after")

    async with edge(on) as rig:
        peer = await rig.open()
        await peer.send(text("1"), text("2"), frame(PING, b"x"))
        first, close = await peer.receive(2)
        assert (first.payload, close.close_code) == (b"before", 4004)
        assert rig.handlers[0].messages == [b"1"]
        await peer.send(CLOSING)
        assert await peer.receive_to_end() == []
        assert rig.handlers[0].closes == [4004]


async def test_abort_inside_on_message_ends_everything_at_once() -> None:
    async with edge(lambda handler, payload: handler.connection.abort()) as rig:
        peer = await rig.open()
        await peer.send(text("1"))
        assert await peer.receive_to_end() == []
        await rig.gone()
        assert rig.handlers[0].closes == [1006]
        connection = rig.handlers[0].connection
        connection.send(TEXT, b"nothing")
        connection.close(1000, "")
        connection.abort()
        assert connection.closed
        assert connection.queued_bytes == 0


# -- the whole edge -----------------------------------------------------------------------------


def _hold_at(word: bytes) -> Callable[[Handler, bytes], None]:
    def on(handler: Handler, payload: bytes) -> None:
        if payload == word:
            handler.connection.hold()

    return on


async def test_handler_that_holds_gets_no_more_messages_until_it_releases_and_then_all_in_order() -> None:
    async with edge(_hold_at(b"b")) as rig:
        peer = await rig.open()
        await peer.send(text("a"), text("b"), text("c"), frame(PING, b"p"), frame(TEXT, b"d", fin=False))
        await eventually(lambda: rig.handlers[0].messages == [b"a", b"b"])
        await peer.send(frame(0, b"e"), text("f"))
        await asyncio.sleep(0.02)
        assert rig.handlers[0].messages == [b"a", b"b"]
        rig.handlers[0].connection.send(BINARY, b"meanwhile")
        assert (await peer.payloads(1)) == [b"meanwhile"]
        rig.handlers[0].connection.release()
        await eventually(lambda: rig.handlers[0].messages == [b"a", b"b", b"c", b"de", b"f"])
        (pong,) = await peer.receive(1)
        assert (pong.kind, pong.payload) == (PONG, b"p")


async def test_peer_of_a_handler_that_holds_is_not_taken_for_silent_or_slow() -> None:
    async with edge(_hold_at(b"b"), ping_interval=10.0, idle_timeout=25.0, message_timeout=5.0) as rig:
        peer = await rig.open()
        await peer.send(
            frame(TEXT, b"a", fin=False) + frame(0, b"") + text("b") + frame(TEXT, b"c", fin=False)
        )
        await eventually(lambda: rig.handlers[0].messages == [b"a", b"b"])
        for _ in range(60):
            await rig.pass_time(1.0)
        rig.handlers[0].connection.release()
        await asyncio.sleep(0)
        await rig.pass_time(1.0)
        await peer.send(frame(0, b"d"))
        await eventually(lambda: rig.handlers[0].messages == [b"a", b"b", b"cd"])
        assert rig.handlers[0].closes == []


@pytest.mark.parametrize("how", ["close", "abort", "reset"])
async def test_connection_that_ends_while_it_is_held_ends_well(how: str) -> None:
    async with edge(_hold_at(b"b")) as rig:
        peer = await rig.open()
        await peer.send(text("b"), text("c"))
        await eventually(lambda: rig.handlers[0].messages == [b"b"])
        connection = rig.handlers[0].connection
        if how == "close":
            connection.close(closecodes.DRAIN, "moving")
            assert (await peer.receive(1))[0].close_code == closecodes.DRAIN
            await peer.send(frame(CLOSE, b"\x10\x6a"))
            assert await peer.everything() == b""
            peer.close()
        elif how == "abort":
            connection.abort()
        else:
            connection.release()
            connection.hold()
            peer.close()
            connection.release()
        await rig.gone()
        connection.release()
        assert len(rig.handlers[0].closes) == 1


async def test_drain_closes_everybody_and_lets_nobody_in() -> None:
    async with edge() as rig:
        peers = [await rig.open(), await rig.open("/echo")]
        half = await rig.dial()
        rig.edge.drain(closecodes.DRAIN, "moving")
        for peer in peers:
            (close,) = await peer.receive(1)
            assert (close.close_code, close.close_reason) == (4202, b"moving")
            await peer.send(frame(CLOSE, b"\x10\x6a"))
        assert await half.everything() == b""
        late = await rig.dial()
        await late.send(b"GET /ws HTTP/1.1\r\n")
        assert (await late.everything()).startswith(b"HTTP/1.1 503 ")
        for peer in (*peers, late):
            peer.close()
        await rig.gone()
        assert rig.handlers[0].closes == [4202]


async def test_stop_drops_everybody_and_the_timer() -> None:
    async with edge() as rig:
        peers: list[Peer] = [await rig.open(), await rig.open("/echo"), await rig.dial()]
        rig.edge.stop()
        for peer in peers:
            assert await peer.receive_to_end() == []
        await rig.gone()
        assert rig.handlers[0].closes == [1006]
        assert rig.time.timers == 0


@pytest.fixture(autouse=True)
def quiet_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    """Have uvloop's own complaints seen."""
    caplog.set_level(logging.WARNING)
