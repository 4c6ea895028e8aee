"""A crowd of Ringgate's clients in Python, as many as wanted: for what the load tool does not do.

They subscribe, and read only when they are told to.  What each heard is counted exactly: messages, gaps and
the close code; anything out of order is `wrong`.  What always holds: nothing is read between `come` and
`hear`, so whoever has small buffers is stalled on a busy channel.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway._encode import encode_frame
from gateway._frames import CLOSE, FAILED, TEXT, Decoder
from gateway.bench.target import BenchError

BATCH: Final = 100
SMALL_BYTES: Final = 4096
ETHERNET_BYTES: Final = 1400  # the segments of a real way: on loopback they are 64 KB, and so are the buffers
_ANSWER_S: Final = 30.0
_RESET: Final = struct.pack("ii", 1, 0)


class _Event(msgspec.Struct, rename={"from_": "from"}):
    """The fields of events that are looked at."""

    type: str
    channel: str = ""
    session: str = ""
    epoch: str = ""
    offset: int = 0
    recovered: bool | None = None
    from_: Any = 0  # of a gap: an offset
    to: int = 0


_decode: Final = msgspec.json.Decoder(_Event).decode


@dataclass
class Member:
    """One client.  `place` is the offset up to which it heard, or was told of a gap."""

    sock: socket.socket
    decoder: Decoder
    session: str = ""
    epoch: str = ""
    place: int = 0
    recovered: bool | None = None
    heard: int = 0
    gaps: int = 0
    lost: int = 0
    wrong: int = 0
    closed: int = 0  # the close code
    events: list[str] = field(default_factory=list)


class Crowd:
    """Clients of one gateway at `address` (HOST:PORT); with `small`, whose buffers are soon full."""

    def __init__(self, address: str, *, small: bool = False) -> None:
        host, _, port = address.rpartition(":")
        self._place = (host, int(port))
        self._small = small
        self.members: list[Member] = []

    def come(self, channels: Sequence[str], since: Sequence[tuple[str, int]] = ()) -> None:
        """Connect a client for each of `channels` and subscribe it; `since` are epochs and offsets.

        Raises BenchError.
        """
        allow_descriptors()
        for start in range(0, len(channels), BATCH):
            batch = [self._connect() for _ in channels[start : start + BATCH]]
            self.members += batch
            for member in batch:
                self._shake_hands(member)
            for number, member in enumerate(batch, start):
                command: dict[str, object] = {"type": "subscribe", "id": 1, "channel": channels[number]}
                if since:
                    command["since"] = {"epoch": since[number][0], "offset": since[number][1]}
                    member.place = since[number][1]
                member.sock.sendall(encode_frame(TEXT, json.dumps(command).encode(), mask=os.urandom(4)))
            for member in batch:
                self._until(member, "reply")
                member.sock.setblocking(False)

    def _connect(self) -> Member:
        sock = socket.socket()
        if self._small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_BYTES)
        sock.settimeout(_ANSWER_S)
        try:
            sock.connect(self._place)
        except OSError as error:
            raise BenchError(f"connecting failed: {error}") from None
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET /ws HTTP/1.1\r\nHost: {self._place[0]}:{self._place[1]}\r\nUpgrade: websocket\r\n"
        rest = f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        sock.sendall((head + rest).encode())
        return Member(sock, Decoder(client=True, max_message_bytes=1 << 20, max_fragments=1))

    def _shake_hands(self, member: Member) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += (more := member.sock.recv(65536))
            if not more:
                raise BenchError(f"the server hung up: {data[:100]!r}")
        head, _, rest = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise BenchError(f"the upgrade was refused: {head[:100]!r}")
        _take(member, rest)
        self._until(member, "hello")

    @staticmethod
    def _until(member: Member, kind: str) -> None:
        while kind not in member.events:
            data = member.sock.recv(65536)
            if not data or member.closed:
                raise BenchError(f"the server hung up before its {kind}")
            _take(member, data)
        member.events.clear()

    def hear(self, newest: int, *, within_s: float = 60.0) -> None:
        """Read until each client knows of everything up to `newest`, or was closed.  Raises BenchError."""
        give_up_s = time.monotonic() + within_s
        with selectors.DefaultSelector() as selector:
            for member in self.members:
                selector.register(member.sock, selectors.EVENT_READ, member)
            behind = {id(m) for m in self.members if m.place < newest and not m.closed}
            while behind:
                if time.monotonic() > give_up_s:
                    raise BenchError(f"{len(behind)} clients did not hear everything in {within_s:g} s")
                for key, _ in selector.select(1.0):
                    member = key.data
                    if _read(member) or member.closed:
                        selector.unregister(member.sock)
                        behind.discard(id(member))
                    elif member.place >= newest:
                        behind.discard(id(member))

    def go(self) -> None:
        """Be gone, without a word."""
        for member in self.members:
            with contextlib.suppress(OSError):
                member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            member.sock.close()
        self.members.clear()


def allow_descriptors() -> None:
    """Allow this process as many descriptors as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _read(member: Member) -> bool:
    """Read what is there; tell whether the connection is over."""
    try:
        data = member.sock.recv(1 << 18)
    except BlockingIOError:
        return False
    except OSError:
        member.closed = member.closed or 1006
        return True
    if not data:
        member.closed = member.closed or 1006
        return True
    _take(member, data)
    return False


def _take(member: Member, data: bytes) -> None:
    """Count what came."""
    for kind, payload, code, _ in member.decoder.receive(data):
        if kind == TEXT:
            _count(member, _decode(payload))
        elif kind in {CLOSE, FAILED}:
            member.closed = code


def _count(member: Member, event: _Event) -> None:
    if event.type == "message":
        member.heard += 1
        member.wrong += event.offset != member.place + 1
        member.place = event.offset
    elif event.type == "gap":
        member.gaps += 1
        member.wrong += event.from_ != member.place + 1
        member.lost += event.to - event.from_ + 1
        member.place = event.to
    else:
        member.events.append(event.type)
        member.session = event.session or member.session
        if event.type == "reply" and event.epoch:
            member.epoch, member.recovered = event.epoch, event.recovered
            member.place = member.place if event.recovered else event.offset
