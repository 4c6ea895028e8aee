"""What peers can make the gateway hold: declared lengths, bombs, compressors, pings, answers nobody reads."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.security.client import BINARY, PING, TEXT, reset, upgraded_crowd, wait_for
from tests.security.conftest import Launch, Watch
from tests.security.target import Target
from tests.support.frames import frame

KIB = 1024
MIB = 1024 * KIB
LIMIT = 1 * MIB
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@contextlib.contextmanager
def peak_below(target: Target, extra_bytes: int) -> Iterator[None]:
    """Assert that the gateway's peak of resident memory stays within `extra_bytes` of what it is now."""
    before = target.memory()
    target.reset_peak()
    yield
    grown = target.peak_memory() - before
    print(f"peak of memory: {grown / MIB:.1f} MiB above the start")
    assert grown < extra_bytes


# -- memory by declared length ------------------------------------------------------------------


def test_ten_thousand_sockets_that_declare_the_maximum_get_no_memory_for_it(
    launch: Launch, bystander: Watch
) -> None:
    sockets = 10_000
    target = launch("--max-connections", "12000", "--websocket-max-message-bytes", "16MiB", "--echo")
    with bystander(target):
        resident, virtual = target.memory(), target.virtual_memory()
        crowd = upgraded_crowd(target.port, sockets, "/echo")
        try:
            data = frame(BINARY, b"x" * 200, declared=16 * MIB)
            for sock in crowd:
                sock.sendall(data)
            received = sockets * len(data)
            wait_for(lambda: target.metric("ringgate_bytes_in_total") >= received, "all was read")
            grown = (target.memory() - resident) / sockets
            print(f"bytes a socket that declared 16 MiB and sent 200: {grown:.0f}")
            assert grown < 8 * KIB
            assert (target.virtual_memory() - virtual) / sockets < 64 * KIB
            assert target.connections() >= sockets
        finally:
            for sock in crowd:
                reset(sock)


# -- inflating ----------------------------------------------------------------------------------


def test_a_message_may_inflate_to_the_bound_and_not_a_byte_further(launch: Launch) -> None:
    target = launch("--websocket-compression", "--echo", "--websocket-max-message-bytes", "1MiB")
    for length in (LIMIT - 1, LIMIT):
        with target.client("/echo", headers=DEFLATE) as client:
            client.send(frame(BINARY, deflated(bytes(length)), rsv=4))
            answer = client.frame()
            assert len(zlib.decompressobj(-15).decompress(answer.payload + b"\0\0\xff\xff")) == length
    with target.closes(1009), target.client("/echo", headers=DEFLATE) as client:
        client.send(frame(BINARY, deflated(bytes(LIMIT + 1)), rsv=4))
        assert client.closed_with() == 1009


def test_inflate_bombs_are_1009_and_memory_grows_by_no_more_than_a_few_messages(
    launch: Launch, bystander: Watch
) -> None:
    target = launch("--websocket-compression", "--echo", "--websocket-max-message-bytes", "1MiB")
    bomb = deflated(bytes(64 * MIB))
    assert len(bomb) < LIMIT < 64 * MIB < len(bomb) * 1100
    whole = frame(BINARY, bomb, rsv=4)
    first = frame(BINARY, bomb[:20_000], rsv=4, fin=False)
    pieces = first + b"".join(frame(0, bomb[i : i + 99], fin=False) for i in range(20_000, len(bomb), 99))
    with bystander(target), peak_below(target, 8 * MIB), target.closes(1009, by=40):
        for data in (whole, pieces) * 20:
            with target.client("/echo", headers=DEFLATE) as client:
                client.send(data)
                assert client.closed_with() == 1009


@pytest.mark.parametrize(
    ("flags", "most"), [((), 4 * KIB), (("--websocket-compression-takeover",), 52 * KIB)]
)
def test_a_connection_with_compression_costs_what_its_window_says(
    launch: Launch, flags: tuple[str, ...], most: int
) -> None:
    sockets = 1000
    target = launch("--websocket-compression", "--echo", *flags)
    message = frame(TEXT, deflated(b"some text, some text " * 50), rsv=4)

    def used(count: int) -> tuple[list[socket.socket], int]:
        before = target.memory()
        crowd = upgraded_crowd(target.port, count, "/echo", headers=DEFLATE)
        for sock in crowd:
            sock.sendall(message)
        for sock in crowd:
            assert sock.recv(4096)[0] == 0xC1
        return crowd, target.memory() - before

    warm, _ = used(100)
    crowd, grown = used(sockets)
    for sock in warm + crowd:
        reset(sock)
    print(f"bytes a connection with compression {flags}: {grown / sockets:.0f}")
    assert grown / sockets < most


# -- peers that do not read ---------------------------------------------------------------------


def push(sock: socket.socket, data: bytes, *, stop_after_s: float = 1.0) -> int:
    """Send until nothing was taken for `stop_after_s`, or all was; return how many bytes were taken."""
    sent = 0
    sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while sent < len(data) and selector.select(stop_after_s):
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(data[sent : sent + 65536])
    sock.setblocking(True)
    sock.settimeout(10)
    return sent


@pytest.mark.parametrize("payload", [b"", b"x" * 125], ids=["empty", "longest"])
def test_pings_without_end_from_a_peer_that_does_not_read_stop_being_read(
    launch: Launch, bystander: Watch, payload: bytes
) -> None:
    target = launch()
    flood = frame(PING, payload) * (10_000_000 if not payload else 500_000)
    with bystander(target), target.client(receive_buffer=4096) as client, peak_below(target, 2 * MIB):
        sent = push(client.sock, flood)
        assert sent < len(flood), "the gateway read on although its answers were not read"
        assert target.metric("ringgate_bytes_in_total") < len(flood)


def test_a_million_pings_are_answered_in_flat_memory_while_the_peer_reads(
    launch: Launch, bystander: Watch
) -> None:
    pings = 1_000_000
    target = launch()
    with bystander(target), target.client() as client, peak_below(target, 2 * MIB):
        answered = threading.Event()

        def read() -> None:
            received = 0
            while received < 2 * pings:
                received += len(client.sock.recv(1 << 20))
            answered.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        flood = frame(PING) * 10_000
        for _ in range(pings // 10_000):
            client.send(flood)
        assert answered.wait(20)
        reader.join()


def test_a_peer_that_never_reads_is_closed_when_its_time_is_over(launch: Launch) -> None:
    target = launch(
        "--websocket-idle-timeout", "2s", "--websocket-ping-interval", "1s", "--websocket-close-timeout", "1s"
    )
    with target.closes(4201, by=5):
        stalled = [target.client(receive_buffer=4096) for _ in range(5)]
        for client in stalled:
            push(client.sock, frame(PING, b"x" * 125) * 200_000, stop_after_s=0.2)
        wait_for(
            lambda: target.connections() == 0, "closed after idle_timeout and close_timeout", timeout_s=6
        )
    for client in stalled:
        client.reset()


def test_answers_a_thousand_times_their_question_wait_until_the_peer_reads(
    launch: Launch, bystander: Watch
) -> None:
    target = launch()
    for _ in range(32):
        target.publish("long", "x" * 30 * KIB)
    commands = [f'{{"type":"history","id":{number},"channel":"long"}}' for number in range(1, 101)]
    question = frame(TEXT, f"[{','.join(commands)}]".encode())
    with bystander(target), contextlib.ExitStack() as stack:
        askers = [stack.enter_context(target.client(receive_buffer=4096)) for _ in range(5)]
        with peak_below(target, 5 * 12 * MIB):
            for client in askers:
                push(client.sock, question * 10, stop_after_s=0.3)
            time.sleep(0.5)
        for number in range(1, 101):  # who reads after all gets every answer, in order
            assert len(askers[0].answer(number)["publications"]) == 32
