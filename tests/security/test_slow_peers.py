"""Peers that take their time: trickling handshakes, messages without end, subscribers that do not read."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.security.client import (
    BINARY,
    TEXT,
    connect,
    is_over,
    reset,
    reset_all,
    upgrade,
    upgraded_crowd,
    wait_for,
)
from tests.security.conftest import LATENCY_S, Launch, Watch
from tests.security.target import Target
from tests.support.frames import frame

TICK_S = 1.0
"""How much later than its deadline a connection may be closed."""

KIB = 1024
HALF_A_PAGE = "x" * 2 * KIB


@contextlib.contextmanager
def trickled(socks: list[socket.socket], data: bytes, every_s: float) -> Iterator[list[float]]:
    """Send every socket one byte of `data` (round and round) each `every_s`; yield when each was closed.

    The list holds, for each socket, the time at which it was found closed; 0 while it is open.
    """
    closed_at = [0.0] * len(socks)
    stop = threading.Event()

    def trickle() -> None:
        place = 0
        while not stop.wait(every_s):
            byte = data[place % len(data) :][:1]
            place += 1
            for number, sock in enumerate(socks):
                if not closed_at[number]:
                    if is_over(sock):
                        closed_at[number] = time.monotonic()
                    with contextlib.suppress(OSError):
                        sock.send(byte)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield closed_at
    finally:
        stop.set()
        thread.join()
        for sock in socks:
            reset(sock)


# -- handshakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sockets", [600, pytest.param(3000, marks=pytest.mark.soak)])
def test_handshakes_that_trickle_are_over_at_the_deadline_and_slow_nobody_down(
    launch: Launch, bystander: Watch, sockets: int
) -> None:
    deadline_s = 2.0
    target = launch("--websocket-handshake-timeout", "2s")
    head = upgrade().partition(b"\r\n\r\n")[0] + b"\r\nX-Slow: " + b"x" * 1000
    with bystander(target) as good:
        time.sleep(1.0)
        before = good.seen()
        with target.refuses("timeout", by=sockets):
            socks = [connect(target.port) for _ in range(sockets)]
            opened_at = time.monotonic()
            opening = good.seen()  # a burst of accepts is another matter than what trickles after it
            third = sockets // 3  # one third says nothing, one sends a byte at a time, one all but the end
            for sock in socks[2 * third :]:
                sock.sendall(head)
            with trickled(socks[third:], head, every_s=sockets / 6000) as closed_at:
                wait_for(lambda: all(closed_at), "all closed", timeout_s=deadline_s + 5)
                during = good.seen()
                assert max(closed_at) - opened_at <= deadline_s + TICK_S
                assert min(closed_at) - opened_at >= deadline_s - TICK_S
                assert all(map(is_over, socks[:third]))
            for sock in socks[:third]:
                reset(sock)
        wait_for(lambda: target.connections() == 2, "only the bystander is left")
    assert opening.longest_s < LATENCY_S, opening
    # Below a few milliseconds the other users of the machine are what is measured.
    assert during.p99_s < max(2 * before.p99_s, 0.025), (before, during)


# -- messages -----------------------------------------------------------------------------------


# How a message begins, and what comes every few milliseconds so that it never ends.
ENDLESS = (
    (frame(TEXT, b"x", fin=False), frame(0, b"x", fin=False)),
    (frame(TEXT, b"", fin=False), frame(0, b"", fin=False)),
    (frame(BINARY, declared=60_000), b"x"),
    (frame(TEXT, b"x", fin=False), frame(9, b"alive")),
    (frame(BINARY, declared=60_000)[:3], b""),
    (frame(9, declared=100), b"x"),
)


def test_messages_that_never_end_are_closed_at_their_deadline(launch: Launch, bystander: Watch) -> None:
    each, deadline_s = 50, 1.0
    target = launch("--websocket-message-timeout", "1s", "--websocket-close-timeout", "500ms")
    with bystander(target), target.closes(1008, by=each * len(ENDLESS)), contextlib.ExitStack() as stack:
        memory = target.memory()
        socks = upgraded_crowd(target.port, each * len(ENDLESS))
        stack.callback(reset_all, socks)
        started = time.monotonic()
        for number, sock in enumerate(socks):
            sock.sendall(ENDLESS[number % len(ENDLESS)][0])
        while target.connections() > 2:
            assert time.monotonic() - started < deadline_s + 0.5 + TICK_S
            for number, sock in enumerate(socks):
                with contextlib.suppress(OSError):
                    sock.send(ENDLESS[number % len(ENDLESS)][1])
            time.sleep(0.02)
        assert time.monotonic() - started > deadline_s - 0.3
        assert target.memory() - memory < len(socks) * 8 * KIB


def test_a_message_after_another_has_a_deadline_of_its_own(launch: Launch) -> None:
    target = launch("--websocket-message-timeout", "1s", "--echo")
    with target.client("/echo") as client:
        for _ in range(8):
            client.send(frame(BINARY, b"ab", fin=False))
            time.sleep(0.2)
            client.send(frame(0, b"cd"))
            assert client.frame().payload == b"abcd"


# -- subscribers --------------------------------------------------------------------------------


class Readers:
    """A thread that reads many sockets and counts, for each, the offsets that came one after the other."""

    _OFFSET = re.compile(rb'"type":"message","channel":"busy","offset":(\d+)')

    def __init__(self, socks: list[socket.socket]) -> None:
        self.last = [0] * len(socks)
        self.broken: list[int] = []
        self._rest = [b""] * len(socks)
        self._selector = selectors.DefaultSelector()
        for number, sock in enumerate(socks):
            self._selector.register(sock, selectors.EVENT_READ, number)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.1):
                piece = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
                if not piece:
                    self.broken.append(key.data)
                    self._selector.unregister(key.fileobj)
                    continue
                self._take(key.data, self._rest[key.data] + piece)

    def _take(self, number: int, data: bytes) -> None:
        end = 0
        for found in self._OFFSET.finditer(data):
            if found.end() == len(data):
                break  # the number may go on in the next read
            if int(found[1]) != self.last[number] + 1:
                self.broken.append(number)
            self.last[number] = int(found[1])
            end = found.end()
        self._rest[number] = data[max(end, len(data) - 100) :]

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
        self._selector.close()


def subscribed(target: Target, size: int, channel: str, receive_buffer: int = 0) -> list[socket.socket]:
    """Return sockets that were told that they are subscribed to `channel`."""
    socks = upgraded_crowd(target.port, size, receive_buffer=receive_buffer)
    subscribe_all(socks, channel)
    return socks


def subscribe_all(socks: list[socket.socket], channel: str) -> None:
    command = frame(TEXT, b'{"type":"subscribe","id":1,"channel":"%s"}' % channel.encode())
    for sock in socks:
        sock.sendall(command)
    for sock in socks:
        heard = b""
        while b'"type":"reply"' not in heard:
            heard += sock.recv(4096)


def fill(target: Target, channel: str, socks: int) -> None:
    """Publish until the kernel takes no more for any of the subscribers, whose number is `socks`."""
    for _ in range(100):
        for _ in range(4):
            target.publish(channel, HALF_A_PAGE * 15)
        if _held_up(target) >= socks:
            time.sleep(0.1)  # a worker may have counted those to whom it was just about to send
            if _held_up(target) >= socks:
                return
    raise AssertionError("their kernel buffers have no end")


def _held_up(target: Target) -> float:
    now = target.metrics()
    return now["ringgate_ring_lagging"] + now["ringgate_slow_disconnects_total"]


def test_subscribers_that_do_not_read_are_dropped_and_the_others_hear_everything_in_order(
    launch: Launch, bystander: Watch
) -> None:
    messages, stalled, healthy = 400, 100, 200
    quiet = ("join_leave=false", "presence=false", "ring_bytes=256KiB")
    flags = [part for option in quiet for part in ("--namespace", f"default.{option}")]
    target = launch("--websocket-close-timeout", "1s", *flags)
    with bystander(target), contextlib.ExitStack() as stack:
        good = subscribed(target, healthy, "busy")
        readers = Readers(good)
        stack.callback(lambda: reset_all(good + bad))
        stack.callback(readers.stop)
        bad = subscribed(target, stalled, "busy", receive_buffer=4096)
        subscribe_all(bad, "filler")
        memory = target.memory()
        counters = ("ringgate_slow_disconnects_total", 'ringgate_closes_total{code="4200"}')
        with target.counts(*counters, by=stalled), target.client() as publisher:
            fill(target, "filler", stalled)
            for number in range(1, messages + 1):
                publisher.command("publish", id=number, channel="busy", data=HALF_A_PAGE)
                if number % 20 == 0:
                    assert publisher.answer(number)["offset"] == number
            wait_for(lambda: min(readers.last) == messages, "everybody heard everything", timeout_s=30)
        assert not readers.broken
        shared = 4 * KIB * KIB * len(target.pids())  # rings and history, which do not grow with the stalled
        assert target.memory() - memory < stalled * 4 * KIB + shared
        wait_for(lambda: target.connections() == healthy + 2, "the stalled are gone")
