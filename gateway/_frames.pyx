# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The decoder of RFC 6455 frames: no I/O, no asyncio, no clock; layer 0.  The encoder is `_encode`.

`Decoder` is lent whatever came from the socket and tells events: whole messages and control
frames.  It must not know connections, channels or policies; bounds are handed to it.

How it works: a frame's header is read (and copied aside only when it came in pieces), checked
against the rules and the bounds, then its payload is read.  A message of one frame that is
wholly in what was lent is unmasked there and told without a copy.  Anything else is gathered
in one buffer that grows by what *came*, never by what a header declares.

What always holds: `_message_bytes <= _max_message_bytes`; `held_bytes` is at most the larger of
64 and twice the bytes received of the open message, and 0 when none is open; control frames touch
nothing of the message; where the input is cut changes neither the events nor the failure (but for
two corners of zlib, in docs/decisions/0002-frames.md); nothing is raised, a broken rule is the event
FAILED with a close code (RFC 6455 section 7.4.1): 1002 a rule, 1007 text or compressed data that is
wrong, 1008 too many fragments, 1009 too big.
"""
import zlib
from collections import namedtuple

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from gateway._encode cimport may_send_close

from gateway.errors import UsageError

cdef extern from "_mask.h" nogil:
    void rg_mask(char* to, const char* source, size_t n, const unsigned char* key, unsigned int at)

cdef extern from "_utf8.h" nogil:
    const uint32_t UTF8_ACCEPT "RG_UTF8_ACCEPT"
    const uint32_t UTF8_REJECT "RG_UTF8_REJECT"
    uint32_t rg_utf8_check(uint32_t state, const char* text, size_t n)

cdef enum:
    CONTINUATION = 0
    NEXT_FRAME = 32         # of the _read functions: this frame is done, and was not an event
    HEAD_BYTES = 14         # the longest header: 2, 8 of length, 4 of key
    CONTROL_BYTES = 125     # RFC 6455 section 5.5
    SLICE_BYTES = 16384     # compressed input handed to zlib at once
    PIECE_BYTES = 65536     # inflated output asked of zlib at once
    LEAST_BYTES = 64        # of a message's buffer

# What the _read functions answer when a rule is broken; FAULTS is in this order.
cdef enum:
    BAD_RESERVED_BIT = -1
    BAD_OPCODE = -2
    BAD_MASK = -3
    BAD_CONTROL_FRAGMENT = -4
    BAD_CONTROL_LENGTH = -5
    BAD_CONTINUATION = -6
    BAD_INTERLEAVING = -7
    BAD_LENGTH = -8
    BAD_TEXT = -9
    BAD_COMPRESSION = -10
    BAD_CLOSE_LENGTH = -11
    BAD_CLOSE_CODE = -12
    BAD_CLOSE_REASON = -13
    TOO_BIG = -14
    TOO_MANY_FRAGMENTS = -15
    NO_MEMORY = -16
    INTERNAL = -17

cdef tuple FAULTS = (
    (1002, b"reserved bit is set"),
    (1002, b"unknown opcode"),
    (1002, b"wrong masking"),
    (1002, b"control frame in fragments"),
    (1002, b"control frame too long"),
    (1002, b"continuation of nothing"),
    (1002, b"message inside a message"),
    (1002, b"length is not minimal or has its high bit set"),
    (1007, b"text is not UTF-8"),
    (1007, b"compressed message is not valid"),
    (1002, b"close frame of one byte"),
    (1002, b"close code may not be sent"),
    (1007, b"close reason is not UTF-8"),
    (1009, b"message too big"),
    (1008, b"too many fragments"),
    (1011, b"out of memory"),
    (1011, b"internal error"),
)

Event = namedtuple("Event", "kind payload close_code close_reason", defaults=(b"", 0, b""))


cdef class Decoder:
    """Reads the frames of one peer.

    `client`: we are the client, so frames must come unmasked, else masked (RFC 6455 section 5.1).
    `max_message_bytes`: of a message after inflation, 0 to 2**60.  `max_fragments`: data frames in one
    message, 1 to 2**31.  `inflater`: a `gateway.deflate.Inflater` of its own when permessage-deflate was
    negotiated (RFC 7692), else None.  Raises UsageError for bounds out of range.
    """

    def __cinit__(self):
        self.close_reason = b""
        self.payload = self._control

    def __init__(self, *, bint client=False, max_message_bytes, max_fragments, inflater=None):
        if not 0 <= max_message_bytes <= 1 << 60 or not 1 <= max_fragments <= 1 << 31:
            raise UsageError("max_message_bytes or max_fragments is out of range")
        self._client = client
        self._set(max_message_bytes, max_fragments, inflater)

    cdef void _set(self, size_t max_message_bytes, size_t max_fragments, object inflater) noexcept:
        self._max_message_bytes = max_message_bytes
        self._max_fragments = max_fragments
        # More than deflate can add to what cannot be compressed (zlib's deflateBound for its worst
        # parameters), with a flush for each fragment: beyond it is padding, not data.
        self._max_wire_bytes = max_message_bytes + max_message_bytes // 7 + 16 * max_fragments + 64
        self._inflater = inflater
        self._can_inflate = inflater is not None

    def __dealloc__(self):
        free(self._message)

    def receive(self, data):
        """Read `data` (bytes-like, copied) and list the events in it, as `Event` records.

        After FAILED every call tells the failure again; after CLOSE nothing is told.
        """
        cdef bytearray lent = bytearray(data)
        cdef list events = []
        cdef int kind
        self.feed(PyByteArray_AS_STRING(lent), len(lent))
        while True:
            kind = self.next()
            if kind == NEED_DATA:
                return events
            if kind == FAILED:
                events.append(Event(kind, b"", self.close_code, self.close_reason))
                return events
            payload = self.payload[:self.payload_bytes]
            if kind == CLOSE:
                events.append(Event(kind, payload, self.close_code, self.close_reason))
            else:
                events.append(Event(kind, payload))

    cdef void feed(self, char* data, size_t n) noexcept:
        self._at = data
        self._end = data + n

    cdef int next(self) noexcept:
        cdef int step
        if self._over:
            self._at = self._end
            return FAILED if self._over == FAILED else NEED_DATA
        if self._delivered:
            self._release()
        while True:
            step = 1 if self._in_frame else self._read_header()
            if step > 0:
                if self._opcode >= CLOSE:
                    step = self._read_control()
                elif self._compressed:
                    step = self._read_compressed()
                else:
                    step = self._read_data()
            if step == NEXT_FRAME:
                continue
            if step == NEED_DATA:
                self.in_message = self._kind != 0 or self._in_frame or self._head_bytes != 0
            elif step < 0:
                return self._fail(step)
            elif step == CLOSE:
                return self._told_close()
            return step

    # headers (RFC 6455 section 5.2)

    cdef int _read_header(self) noexcept nogil:
        cdef size_t have = self._end - self._at
        cdef size_t staged = self._head_bytes
        cdef int size
        if staged == 0 and have >= HEAD_BYTES:
            size = self._parse_header(<const unsigned char*>self._at, have)
            if size > 0:
                self._at += size
            return size
        have = min(have, HEAD_BYTES - staged)
        if have:
            memcpy(self._head + staged, self._at, have)
        size = self._parse_header(self._head, staged + have)
        if size > 0:
            self._head_bytes = 0
            self._at += size - staged
        else:
            self._head_bytes = <unsigned int>(staged + have)
            self._at += have
        return size

    cdef int _parse_header(self, const unsigned char* head, size_t have) noexcept nogil:
        # Every check is made as soon as its bytes are here, so that cutting the input changes nothing.
        cdef uint64_t payload_bytes
        cdef int fault
        cdef int i
        cdef int size = 2
        if have < 2:
            return NEED_DATA
        fault = self._check_rules(head[0], head[1])
        if fault:
            return fault
        payload_bytes = head[1] & 0x7F
        if payload_bytes == 126:
            if have < 4:
                return NEED_DATA
            payload_bytes = <uint64_t>head[2] << 8 | head[3]
            size = 4
            if payload_bytes < 126:
                return BAD_LENGTH
        elif payload_bytes == 127:
            if have < 10:
                return NEED_DATA
            payload_bytes = 0
            for i in range(2, 10):
                payload_bytes = payload_bytes << 8 | head[i]
            size = 10
            if payload_bytes < 65536 or payload_bytes >> 63:
                return BAD_LENGTH
        self._fin = head[0] >> 7
        self._opcode = head[0] & 0x0F
        fault = self._check_bounds(payload_bytes, head[0] & 0x40)
        if fault:
            return fault
        if not self._client:
            if have < <size_t>size + 4:
                return NEED_DATA
            memcpy(self._key, head + size, 4)
            size += 4
        self._start_frame(payload_bytes, head[0] & 0x40)
        return size

    cdef int _check_rules(self, unsigned int first, unsigned int second) noexcept nogil:
        cdef unsigned int opcode = first & 0x0F
        if first & 0x30:
            return BAD_RESERVED_BIT
        if first & 0x40 and not (self._can_inflate and (opcode == TEXT or opcode == BINARY)):
            return BAD_RESERVED_BIT    # RFC 7692 section 6.1: only the first frame of a message has it
        if (second >> 7) == <unsigned int>self._client:
            return BAD_MASK
        if opcode == CONTINUATION:
            return 0 if self._kind else BAD_CONTINUATION
        if opcode == TEXT or opcode == BINARY:
            return BAD_INTERLEAVING if self._kind else 0
        if opcode < CLOSE or opcode > PONG:
            return BAD_OPCODE
        if not first & 0x80:
            return BAD_CONTROL_FRAGMENT
        return BAD_CONTROL_LENGTH if (second & 0x7F) > CONTROL_BYTES else 0

    cdef int _check_bounds(self, uint64_t payload_bytes, bint compressed) noexcept nogil:
        # Only what is left is compared with what is declared: no sum that could overflow.
        if self._opcode >= CLOSE:
            return 0
        if self._opcode == CONTINUATION:
            if self._fragments >= self._max_fragments:
                return TOO_MANY_FRAGMENTS
            compressed = self._compressed
        if compressed:
            return TOO_BIG if payload_bytes > self._max_wire_bytes - self._wire_bytes else 0
        return TOO_BIG if payload_bytes > self._max_message_bytes - self._message_bytes else 0

    cdef void _start_frame(self, uint64_t payload_bytes, bint compressed) noexcept nogil:
        self._in_frame = True
        self._remaining = payload_bytes
        self._key_at = 0
        if self._opcode >= CLOSE:
            self._control_bytes = 0
            return
        if self._opcode != CONTINUATION:
            self._kind = self._opcode
            self._compressed = compressed
            self._utf8 = UTF8_ACCEPT
            self._fragments = 0
        self._fragments += 1
        if self._compressed:
            self._wire_bytes += payload_bytes

    # payloads

    cdef int _read_control(self) noexcept nogil:
        cdef size_t n = min(<uint64_t>(self._end - self._at), self._remaining)
        cdef char* to = self._at
        if self._control_bytes or n < self._remaining:
            to = self._control + self._control_bytes
            self._control_bytes += <unsigned int>n
        self._take(to, n)
        if self._remaining:
            return NEED_DATA
        self._in_frame = False
        if self._control_bytes:
            to = self._control
            n = self._control_bytes
        self.payload = to
        self.payload_bytes = n
        return self._opcode

    cdef int _read_data(self) noexcept nogil:
        cdef size_t n = self._end - self._at
        cdef int fault
        if self._fin and self._opcode != CONTINUATION and not self._message_bytes and n >= self._remaining:
            return self._read_whole()
        n = min(<uint64_t>n, self._remaining)
        if n:
            fault = self._reserve(n)
            if fault:
                return fault
            self._take(self._message + self._message_bytes, n)
            fault = self._added(n)
            if fault:
                return fault
        return NEED_DATA if self._remaining else self._finish_frame()

    cdef int _read_whole(self) noexcept nogil:
        # A message of one frame, wholly here: told where it lies.
        self.payload = self._at
        self.payload_bytes = self._remaining
        self._take(self._at, self._remaining)
        self._in_frame = False
        self._kind = 0
        if self._opcode == TEXT:
            if rg_utf8_check(UTF8_ACCEPT, self.payload, self.payload_bytes) != UTF8_ACCEPT:
                return BAD_TEXT
        return self._opcode

    cdef int _read_compressed(self) noexcept:
        cdef size_t n
        cdef char* start
        cdef int fault
        while self._remaining and self._at < self._end:
            n = min(<uint64_t>(self._end - self._at), self._remaining, <uint64_t>SLICE_BYTES)
            start = self._at
            self._take(start, n)
            fault = self._inflate(start, n)
            if fault:
                return fault
        if self._remaining:
            return NEED_DATA
        fault = self._inflate(NULL, 0) if self._fin else 0
        return fault if fault else self._finish_frame()

    cdef int _inflate(self, const char* data, size_t n) noexcept:
        # `n` bytes of the message, or 0 at its end.
        cdef size_t room
        cdef int fault
        try:
            if n:
                self._inflater.feed(data[:n])
            else:
                self._inflater.end_message()
            while True:
                room = self._max_message_bytes - self._message_bytes
                piece = self._inflater.read(min(room + 1, <size_t>PIECE_BYTES))
                n = len(piece)
                if n == 0:
                    return 0
                fault = self._append(PyBytes_AS_STRING(piece), min(n, room))
                if fault == BAD_TEXT:
                    return BAD_COMPRESSION    # whichever of zlib and the text is found wrong first
                if fault:
                    return fault
                if n > room:
                    return TOO_BIG
        except zlib.error:
            return BAD_COMPRESSION
        except BaseException:
            return INTERNAL    # nothing may be raised through a noexcept function

    cdef int _finish_frame(self) noexcept nogil:
        cdef int kind
        self._in_frame = False
        if not self._fin:
            return NEXT_FRAME
        if self._kind == TEXT and self._utf8 != UTF8_ACCEPT:
            return BAD_COMPRESSION if self._compressed else BAD_TEXT
        self.payload = self._control    # of an empty message; never NULL
        if self._message != NULL:
            self.payload = self._message
        self.payload_bytes = self._message_bytes
        self._delivered = True
        self._wire_bytes = 0
        kind = self._kind
        self._kind = 0
        return kind

    cdef void _take(self, char* to, size_t n) noexcept nogil:
        # Move `n` bytes of payload, unmasked, from what was lent to `to`, which may be where they are.
        if not self._client:
            rg_mask(to, self._at, n, self._key, self._key_at)
            self._key_at = <unsigned int>(self._key_at + n) & 3
        elif to != self._at:
            memcpy(to, self._at, n)
        self._at += n
        self._remaining -= n

    # the buffer of the open message

    cdef int _append(self, const char* data, size_t n) noexcept nogil:
        cdef int fault = self._reserve(n)
        if fault:
            return fault
        memcpy(self._message + self._message_bytes, data, n)
        return self._added(n)

    cdef int _reserve(self, size_t n) noexcept nogil:
        # Room for `n` bytes that came.  The caller has seen to it that they are within the bound.
        cdef size_t needed = self._message_bytes + n
        cdef size_t bound = self._max_message_bytes
        cdef size_t size
        cdef char* grown
        if needed <= self.held_bytes:
            return 0
        if self._fin and not self._compressed:
            bound = self._message_bytes + self._remaining
        size = max(needed, min(self.held_bytes * 2, bound), <size_t>LEAST_BYTES)
        grown = <char*>realloc(self._message, size)
        if grown == NULL:
            return NO_MEMORY
        self._message = grown
        self.held_bytes = size
        return 0

    cdef int _added(self, size_t n) noexcept nogil:
        # `n` bytes were written at the end: text is checked at once.
        if self._kind == TEXT:
            self._utf8 = rg_utf8_check(self._utf8, self._message + self._message_bytes, n)
            if self._utf8 == UTF8_REJECT:
                return BAD_TEXT
        self._message_bytes += n
        return 0

    cdef void _release(self) noexcept nogil:
        free(self._message)
        self._message = NULL
        self.held_bytes = 0
        self._message_bytes = 0
        self._delivered = False

    # ends

    cdef int _told_close(self) noexcept:
        cdef const unsigned char* body = <const unsigned char*>self.payload
        if self.payload_bytes == 0:
            self.close_code = 1005
        elif self.payload_bytes == 1:
            return self._fail(BAD_CLOSE_LENGTH)
        else:
            self.close_code = body[0] << 8 | body[1]
            if not may_send_close(self.close_code):
                return self._fail(BAD_CLOSE_CODE)
            if rg_utf8_check(UTF8_ACCEPT, self.payload + 2, self.payload_bytes - 2) != UTF8_ACCEPT:
                return self._fail(BAD_CLOSE_REASON)
            self.close_reason = self.payload[2:self.payload_bytes]
        self._finish(CLOSE)
        return CLOSE

    cdef int _fail(self, int fault) noexcept:
        self.close_code, self.close_reason = FAULTS[-1 - fault]
        self.payload_bytes = 0
        self._finish(FAILED)
        return FAILED

    cdef void _finish(self, int how) noexcept nogil:
        self._over = how
        self._release()
        self._kind = 0
        self._in_frame = False
        self._head_bytes = 0
        self.in_message = False
        self._at = self._end


cdef Decoder new_decoder(size_t max_message_bytes, size_t max_fragments, object inflater):
    cdef Decoder decoder = Decoder.__new__(Decoder)
    decoder._set(max_message_bytes, max_fragments, inflater)
    return decoder


def count_events(Decoder decoder, bytes data, int rounds=1):
    """Lend `decoder` a fresh copy of `data`, `rounds` times, and count the events it tells.

    For bench/ and nothing else: what a caller in Cython pays, without the Python objects of `receive`.
    """
    cdef bytearray lent = bytearray(len(data))
    cdef char* start = PyByteArray_AS_STRING(lent)
    cdef size_t n = len(data)
    cdef int count = 0
    for _ in range(rounds):
        memcpy(start, PyBytes_AS_STRING(data), n)
        decoder.feed(start, n)
        while decoder.next() > NEED_DATA:
            count += 1
    return count
