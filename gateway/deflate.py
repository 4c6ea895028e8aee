"""permessage-deflate (RFC 7692): one message in or out of DEFLATE, with bounded output.

Layer 0: knows neither frames nor what was negotiated; whoever accepts the handshake makes an
`Inflater` for the peer's direction and a `Deflater` for ours.  It stands on the standard
library's zlib.

What always holds: no call gives more bytes than it was asked for; without context takeover
nothing is kept between messages; an error of zlib is raised as it is (zlib.error), and the
object is not to be used again after it.  Of a peer that refers back farther than the window it
negotiated nothing holds but the bounds: zlib notices only what is no longer in memory.
"""

from __future__ import annotations

import zlib
from typing import Final

from gateway.errors import UsageError

TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender takes off the end of a message and a receiver puts back (RFC 7692 section 7.2.1)."""

MAX_RESTARTS: Final = 64
"""Blocks with BFINAL in one message: each costs a new zlib object, for two bytes of the peer's."""


class Inflater:
    """Inflates the messages of one peer, piece by piece.

    `window_bits`: 8 to 15, as negotiated for the peer's direction.  `takeover`: the peer keeps its
    window from one message to the next.  Raises UsageError for other window bits.

    Use: `feed`, `read` until it is empty, and so on; `end_message`, `read` until it is empty.
    """

    __slots__ = ("_ending", "_fresh", "_full", "_input", "_restarts", "_stream", "_takeover", "_window_bits")

    def __init__(self, *, window_bits: int = 15, takeover: bool = True) -> None:
        if not 8 <= window_bits <= 15:
            raise UsageError("window bits are 8 to 15")
        # zlib's own deflate makes a window of 9 bits when asked for 8: be able to read that.
        self._window_bits = max(window_bits, 9)
        self._takeover = takeover
        self._stream: zlib._Decompress | None = None
        self._input = b""
        self._full = False  # the last read was as long as it could be: there may be more
        self._fresh = True  # nothing was fed since the message, or its last stream, began
        self._ending = False
        self._restarts = 0

    def feed(self, data: bytes) -> None:
        """Give compressed bytes of the current message; everything given before must have been read."""
        self._input = data
        if data:
            self._fresh = False

    def end_message(self) -> None:
        """Tell that the message has no more bytes; its last bytes are to be read after this.

        Nothing is put back where nothing was taken off: a payload of no bytes at all, which zlib's
        flush makes of a second empty message, and a payload that ends with a block that has BFINAL.
        """
        self._input = b"" if self._fresh else TAIL
        self._ending = True

    def read(self, limit: int) -> bytes:
        """Give the next 1 to `limit` bytes; empty when all that was fed is read.

        Raises zlib.error for data that does not inflate, UsageError for a limit below 1.
        """
        if limit < 1:
            raise UsageError("zlib takes a limit of 0 for no limit at all")
        while self._input or self._full:
            if self._stream is None:
                self._stream = zlib.decompressobj(-self._window_bits)
            piece = self._stream.decompress(self._input, limit)
            self._full = len(piece) == limit
            if self._stream.eof:
                self._restart(self._stream.unused_data)
            else:
                self._input = self._stream.unconsumed_tail
            if piece:
                return piece
        if self._ending:
            self._finish()
        return b""

    def _restart(self, rest: bytes) -> None:
        # A block with BFINAL ends zlib's stream, not the message (RFC 7692 section 7.2.3.4).
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise zlib.error("too many final blocks")
        self._stream = None
        self._full = False
        self._fresh = not rest or self._ending
        self._input = b"" if self._ending else rest

    def _finish(self) -> None:
        self._ending = False
        self._fresh = True
        self._restarts = 0
        if not self._takeover:
            self._stream = None


class Deflater:
    """Deflates messages, each to the payload of one frame or more with RSV1 on the first.

    `window_bits`: 9 to 15 (zlib cannot make 8).  `takeover`: later messages may refer to earlier ones,
    so that they must all go to one peer, in order; without it the object can serve many peers.
    `level`: 0 to 9.  `mem_level`: 1 to 9; an object holds about 2**(window_bits + 2) +
    2**(mem_level + 9) bytes.  Raises UsageError for anything out of range.
    """

    __slots__ = ("_flush", "_stream")

    def __init__(
        self, *, window_bits: int = 15, takeover: bool = True, level: int = 6, mem_level: int = 8
    ) -> None:
        if not (9 <= window_bits <= 15 and 0 <= level <= 9 and 1 <= mem_level <= 9):
            raise UsageError("window bits are 9 to 15, level 0 to 9, mem_level 1 to 9")
        self._stream = zlib.compressobj(level, zlib.DEFLATED, -window_bits, mem_level)
        # A full flush forgets the window: later messages do not refer to earlier ones.
        self._flush = zlib.Z_SYNC_FLUSH if takeover else zlib.Z_FULL_FLUSH

    def deflate(self, payload: bytes) -> bytes:
        """Compress one whole message (RFC 7692 section 7.2.1)."""
        if not payload:
            return b"\x00"  # section 7.2.3.6
        return self._stream.compress(payload) + self._stream.flush(self._flush)[: -len(TAIL)]
