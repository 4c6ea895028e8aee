"""A WebSocket client that can break every rule: a blocking socket and frames made by hand.

It shares nothing with the gateway but `tests.support.frames`, which masks and builds frames without the
encoder under test.  What always holds: every wait ends after `timeout_s`, in TimeoutError.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from tests.support.frames import frame

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
_RESET: Final = struct.pack("ii", 1, 0)


class Frame(NamedTuple):
    """One frame as it came: the first byte, and the payload."""

    head: int
    payload: bytes

    @property
    def opcode(self) -> int:
        """The opcode without FIN and the reserved bits."""
        return self.head & 15

    @property
    def close_code(self) -> int:
        """The code of a close frame; 1005 when there is none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005


def upgrade(path: str = "/ws", headers: Mapping[str, str] | None = None, host: str = "127.0.0.1") -> bytes:
    """Return an upgrade request; a header given as "" is left out."""
    fields = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
        **(headers or {}),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def connect(port: int, *, timeout_s: float = 10.0, receive_buffer: int = 0) -> socket.socket:
    """Return a connected socket; `receive_buffer` above 0 makes the kernel's buffer that small."""
    sock = socket.socket()
    sock.settimeout(timeout_s)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    else:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Close with RST, as a peer does that is gone; leaves no port in TIME_WAIT."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def reset_all(socks: Iterable[socket.socket]) -> None:
    """Close every one of them with RST."""
    for sock in socks:
        reset(sock)


def is_over(sock: socket.socket) -> bool:
    """Tell, without waiting, whether the peer has ended or reset the connection (drops what came before)."""
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def answer_to(port: int, request: bytes, *, timeout_s: float = 10.0) -> bytes:
    """Send a request; return all that comes until the gateway hangs up."""
    with connect(port, timeout_s=timeout_s) as sock:
        sock.sendall(request)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """Return all that comes until the end; a reset counts as the end."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


class Client:
    """An open WebSocket; a context manager that resets the connection at its end."""

    def __init__(
        self,
        port: int,
        path: str = "/ws",
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        receive_buffer: int = 0,
    ) -> None:
        self.sock = connect(port, timeout_s=timeout_s, receive_buffer=receive_buffer)
        self._data = bytearray()
        try:
            self.response = self._upgrade(upgrade(path, headers, f"127.0.0.1:{port}"))
        except BaseException:  # whatever it was, nobody else can close the socket
            reset(self.sock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reset()

    def _upgrade(self, request: bytes) -> bytes:
        """Return the head of a 101.  Raises ConnectionRefusedError for any other, OSError."""
        self.sock.sendall(request)
        response = self._read_until(b"\r\n\r\n")
        if not response.startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError(response.decode("latin-1"))
        return response

    def reset(self) -> None:
        """Be gone."""
        reset(self.sock)

    # -- out --------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes as they are; that the gateway hung up meanwhile shows when reading."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def text(self, payload: bytes | str) -> None:
        """Send a text message."""
        self.send(frame(TEXT, payload.encode() if isinstance(payload, str) else payload))

    def command(self, kind: str, **fields: object) -> None:
        """Send a command."""
        self.text(json.dumps({"type": kind, **fields}))

    # -- in ---------------------------------------------------------------------------------

    def frame(self) -> Frame:
        """Return the next frame.  Raises ConnectionError at the end, TimeoutError."""
        head, length = self._take(2)
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
        return Frame(head, self._take(length))

    def event(self, *kinds: str) -> dict[str, Any]:
        """Return the next event of one of `kinds` (any when none is given); skip the others."""
        while True:
            found = self.frame()
            if found.opcode == PING:
                self.send(frame(PONG, found.payload))
                continue
            assert found.opcode == TEXT, found
            event: dict[str, Any] = json.loads(found.payload)
            if not kinds or event["type"] in kinds:
                return event

    def answer(self, number: int) -> dict[str, Any]:
        """Return the reply or error with this id; skip everything else."""
        while (event := self.event("reply", "error")).get("id") != number:
            pass
        return event

    def ask(self, kind: str, *, id: int = 1, **fields: object) -> dict[str, Any]:  # noqa: A002
        """Send a command and return its reply or error."""
        self.command(kind, id=id, **fields)
        return self.answer(id)

    def closed_with(self) -> int:
        """Read on until the close frame; return its code, 1006 when there is none."""
        try:
            while (found := self.frame()).opcode != CLOSE:
                pass
        except ConnectionError:
            return 1006
        return found.close_code

    def hangs_up(self) -> bool:
        """Tell whether the gateway ends the connection; what it sends before is dropped."""
        return self.sock.fileno() >= 0 and read_all(self.sock) is not None

    def _take(self, n: int) -> bytes:
        while len(self._data) < n:
            self._receive()
        taken = bytes(self._data[:n])
        del self._data[:n]
        return taken

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._data:
            try:
                self._receive()
            except ConnectionError:
                return bytes(self._data)
        return self._take(self._data.index(end) + len(end))

    def _receive(self) -> None:
        piece = self.sock.recv(65536)
        if not piece:
            raise ConnectionError("the gateway hung up")
        self._data += piece


def upgraded_crowd(
    port: int,
    size: int,
    path: str = "/ws",
    *,
    headers: Mapping[str, str] | None = None,
    receive_buffer: int = 0,
    batch: int = 250,
) -> list[socket.socket]:
    """Return `size` sockets that were answered 101; what else came with the answer is dropped.

    They connect a batch at a time, so that the kernel's queue of the gateway never overflows.
    """
    crowd: list[socket.socket] = []
    request = upgrade(path, headers, f"127.0.0.1:{port}")
    for start in range(0, size, batch):
        socks = [connect(port, receive_buffer=receive_buffer) for _ in range(min(batch, size - start))]
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
        crowd += socks
    return crowd


def wait_for(
    condition: Callable[[], bool], what: str, *, timeout_s: float = 10.0, every_s: float = 0.05
) -> None:
    """Wait until `condition()` holds.  Raises AssertionError naming `what` when it does not in time."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {timeout_s:g} s: {what}"
        time.sleep(every_s)
