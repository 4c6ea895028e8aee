"""Bystanders: clients that echo, one that publishes and subscribers that hear it, in a process of their own.

    python -m bench.bystander_load 127.0.0.1:8080       prints "ready"; takes "begin" and "end", line by line

After "end" it prints one line of JSON: for each measure what each sample took, in microseconds; and how many
samples were left out, and the longest time for which this process itself did not run.

How it works: one thread, raw sockets, random times of sending (Poisson, of one seed), no garbage collector.
When something arrived is the kernel's to say (SO_TIMESTAMPNS), not when this process came to read it: so that
its own pauses are in no sample.  Of several frames that lay there together the kernel knows only when the
last came; where this process was late, the others are left out.  So is what was sent while it was held up.
It must not know the gateway's code.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

MEASURES: Final = ("echo", "publish", "delivery")
ECHOING, LISTENING = 10, 10
ECHOES_S, PUBLISHES_S = 1000.0, 500.0
"""How many a second, of all together."""
LATE_NS: Final = 500_000
"""Who reads so long after something arrived does not know when what lay before it came."""
_SO_TIMESTAMPNS: Final = 35  # Linux's number; the socket module does not have it
_SEED: Final = 20260401
_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="


class Wire:
    """One client: raw frames there and back."""

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.sent: deque[int] = deque()
        """When what is not answered yet was sent; 0: not known well enough."""
        self._data = b""
        self._shake_hands(address, path)

    def _shake_hands(self, address: str, path: str) -> None:
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._data:
            self._data += self.socket.recv(65536) or _gone()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"the gateway did not let a client in: {head[:100]!r}")

    def next_message(self) -> bytes:
        """Return the next message, however long that takes."""
        while True:
            for message in self._messages():
                return message
            self._data += self.socket.recv(65536) or _gone()

    def send(self, text: bytes) -> int:
        """Send a message of at most 125 bytes; return when, in ns since 1970, or 0 where that is not sure."""
        frame = b"\x81" + bytes((0x80 | len(text),)) + b"\0\0\0\0" + text  # masked with zeros
        before = time.time_ns()
        self.socket.sendall(frame)
        return before if time.time_ns() - before < LATE_NS else 0

    def read(self) -> tuple[list[bytes], int, bool]:
        """Return what came, when the last of it arrived, and whether that goes for the others as well."""
        data, more, _, _ = self.socket.recvmsg(65536, 64)
        now = time.time_ns()
        if not data:
            _gone()
        seconds, nanoseconds = struct.unpack("qq", more[0][2]) if more else divmod(now, 10**9)
        arrived = seconds * 10**9 + nanoseconds
        self._data += data
        return list(self._messages()), arrived, now - arrived < LATE_NS

    def _messages(self) -> Iterator[bytes]:
        while len(self._data) >= 2:
            length, begins = self._data[1] & 0x7F, 2
            if length >= 126:
                begins = 4 if length == 126 else 10
                if len(self._data) < begins:
                    return
                length = int.from_bytes(self._data[2:begins], "big")
            if len(self._data) < begins + length:
                return
            message, self._data = self._data[begins : begins + length], self._data[begins + length :]
            yield message


def _gone() -> bytes:
    raise SystemExit("a connection of a bystander ended")


class Load:
    """Everybody who is measured."""

    def __init__(self, address: str) -> None:
        self.samples: dict[str, list[int]] = {name: [] for name in MEASURES}
        self.left_out = 0
        self.own_pause_ns = 0
        self._random = random.Random(_SEED)  # noqa: S311 times of sending, nothing secret
        self._echoing = [Wire(address, "/echo") for _ in range(ECHOING)]
        self._listening = [Wire(address, "/ws") for _ in range(LISTENING)]
        self._publisher = Wire(address, "/ws")
        for wire in (*self._listening, self._publisher):
            wire.next_message()
        for wire in self._listening:
            wire.send(b'{"type":"subscribe","id":1,"channel":"news"}')
            wire.next_message()
        self._poll = select.epoll()
        self._by_fd: dict[int, tuple[str, Wire]] = {}
        kinds = (("echo", self._echoing), ("delivery", self._listening), ("publish", [self._publisher]))
        for kind, wires in kinds:
            for wire in wires:
                self._by_fd[wire.socket.fileno()] = (kind, wire)
                self._poll.register(wire.socket, select.EPOLLIN)
        self._poll.register(0, select.EPOLLIN)
        self._unsure: set[int] = set()

    def begin(self) -> None:
        """Forget what was."""
        self.samples = {name: [] for name in MEASURES}
        self.left_out = self.own_pause_ns = 0
        self._unsure.clear()

    def run(self) -> None:
        """Send and read until standard input ends."""
        now = time.monotonic()
        due = {"echo": now, "publish": now}
        while True:
            wait_s = min(due.values()) - time.monotonic()
            # select waits for microseconds where epoll waits for milliseconds
            if wait_s > 0 and not select.select([self._poll], [], [], wait_s)[0]:
                late_ns = int((time.monotonic() - min(due.values())) * 1e9)
                self.own_pause_ns = max(self.own_pause_ns, late_ns)
            for fd, _ in self._poll.poll(0):
                if fd:
                    self._take(*self._by_fd[fd])
                elif not self._obey():
                    return
            now = time.monotonic()
            for kind, rate in (("echo", ECHOES_S), ("publish", PUBLISHES_S)):
                if due[kind] <= now:
                    self._send(kind)
                    # What came too late is left out: no burst, for which nobody but this process is to blame.
                    due[kind] = max(due[kind] + self._random.expovariate(rate), now)

    def _obey(self) -> bool:
        order = os.read(0, 100).decode().strip()
        if order == "begin":
            self.begin()
        elif order == "end":
            told: dict[str, Any] = {
                name: [took / 1e3 for took in all_] for name, all_ in self.samples.items()
            }
            told |= {"left_out": self.left_out, "own_pause": self.own_pause_ns / 1e3}
            print(json.dumps(told), flush=True)
        return bool(order)

    def _send(self, kind: str) -> None:
        if kind == "echo":
            wire = self._random.choice(self._echoing)
            wire.sent.append(wire.send(b"x" * 64))
            return
        begun = time.time_ns()
        sent = self._publisher.send(b'{"type":"publish","id":1,"channel":"news","data":%d}' % begun)
        self._publisher.sent.append(sent)
        if not sent:
            self._unsure.add(begun)

    def _take(self, kind: str, wire: Wire) -> None:
        messages, arrived, all_sure = wire.read()
        if kind == "delivery":
            messages = [message for message in messages if b'"type":"message"' in message]
        for number, message in enumerate(messages, 1):
            sent = _published(message) if kind == "delivery" else wire.sent.popleft()
            if kind == "publish" and b'"reply"' not in message:
                raise SystemExit(f"not published: {message!r}")
            if sent and sent not in self._unsure and (all_sure or number == len(messages)):
                self.samples[kind].append(arrived - sent)
            else:
                self.left_out += 1


def _published(message: bytes) -> int:
    """Return when a publication was sent: it says so itself."""
    return int(json.loads(message)["data"])


if __name__ == "__main__":
    gc.disable()
    load = Load(sys.argv[1])
    print("ready", flush=True)
    load.run()
