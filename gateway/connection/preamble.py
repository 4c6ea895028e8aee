"""Reads the PROXY header of connections of trusted proxies, before TLS and before the handshake.

It knows sockets, trusted networks and `proxy_protocol`; what becomes of a connection whose client is known
is its caller's.  A peer that is not trusted is handed on at once, unread: what it sends is judged as a
handshake, which no PROXY header is.

What always holds: of a connection exactly the bytes of its header are read here; it is handed on once, or
closed; a header that is not whole within `timeout_s` closes it; at most `room()` wait at a time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from .addresses import TrustedNetworks, parse_ip
from .proxy_protocol import MAX_V2_BYTES, BadHeaderError, Source, header_end, source_of

HandOn = Callable[[socket.socket, Source], None]
"""Takes a connected socket, which is its own from then on."""

_NOBODY: Final = Source(None)

_log = logging.getLogger("gateway.edge")


class Preambles:
    """The connections of a listening socket whose PROXY header is not whole yet.

    `room` tells how many may wait now; `refused` is told, for each that is closed, a label of the metric
    `ringgate_handshakes_refused`.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        trusted: TrustedNetworks,
        timeout_s: float,
        room: Callable[[], int],
        hand_on: HandOn,
        refused: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.timeout_s = timeout_s
        self.refused = refused
        self._trusted = trusted
        self._room = room
        self._hand_on = hand_on
        self._waiting: set[_Preamble] = set()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def take(self, fd: int) -> None:
        """Take a socket that was just accepted, which becomes its own."""
        sock = socket.socket(fileno=fd)
        try:
            if not self._is_trusted(sock):
                self.hand_on(sock, _NOBODY)
                return
            if len(self._waiting) >= self._room():
                self.refused("flood")
                sock.close()
                return
        except OSError:  # it is gone already
            sock.close()
            return
        waiting = _Preamble(self, sock)
        self._waiting.add(waiting)
        waiting.begin()

    def close(self) -> None:
        """Drop all who wait.  Idempotent."""
        for waiting in list(self._waiting):
            waiting.end("")

    def _is_trusted(self, sock: socket.socket) -> bool:
        if sock.family == socket.AF_UNIX:
            return self._trusted.unix
        ip = parse_ip(str(sock.getpeername()[0]).partition("%")[0])
        return ip is not None and ip in self._trusted

    def forget(self, waiting: _Preamble) -> None:
        """Forget one that is over."""
        self._waiting.discard(waiting)

    def hand_on(self, sock: socket.socket, source: Source) -> None:
        """Hand a connection on; whatever goes wrong costs that one alone."""
        try:
            self._hand_on(sock, source)
        except Exception:  # noqa: BLE001 no exception leaves a callback of the loop
            _log.exception("a connection could not be taken over")
            sock.close()


class _Preamble:
    """One connection whose header is read."""

    def __init__(self, owner: Preambles, sock: socket.socket) -> None:
        self._owner = owner
        self._sock = sock
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Read what is there; wait for the rest."""
        if self._read():
            return
        loop = self._owner.loop
        self._timer = loop.call_later(self._owner.timeout_s, self.end, "timeout")
        loop.add_reader(self._sock.fileno(), self._read)

    def _read(self) -> bool:
        """Read up to the end of the header; tell whether this is over."""
        try:
            seen = self._data + self._sock.recv(MAX_V2_BYTES - len(self._data), socket.MSG_PEEK)
            if len(seen) == len(self._data):
                return self.end("")  # the peer hung up
            end = header_end(seen)
            wanted = (len(seen) if end is None else end) - len(self._data)
            self._data += self._sock.recv(wanted)
            if end is None:
                return False
            source = source_of(self._data)
        except (BlockingIOError, InterruptedError):
            return False
        except BadHeaderError:
            return self.end("bad_proxy_header")
        except OSError:
            return self.end("")
        self._leave()
        self._owner.hand_on(self._sock, source)
        return True

    def end(self, label: str) -> bool:
        """Close the connection, counted under `label` unless that is empty."""
        self._leave()
        self._sock.close()
        if label:
            self._owner.refused(label)
        return True

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._owner.loop.remove_reader(self._sock.fileno())
        self._owner.forget(self)
