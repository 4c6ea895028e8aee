# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Follows the frames of one direction of a tunnel, without keeping or changing them (RFC 6455 section 5).

It tells which of the bytes may go on: all of them but an incomplete header, which waits until it is
whole, and whatever breaks a rule.  So a frame of the gateway's own can be put in wherever `at_boundary`
is true.  It checks what headers can show (masks, reserved bits, opcodes, shortest lengths, control frames,
the order of fragments, the size of messages), not UTF-8 and nothing compressed: those are the receiver's.

What always holds: no memory is taken; the bytes that go out are those that came, in their order.
"""
from libc.string cimport memcpy

from gateway import closecodes

cdef enum:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10
    CONTROL_BYTES = 125     # RFC 6455 section 5.5

cdef int PROTOCOL_ERROR = closecodes.PROTOCOL_ERROR
cdef int TOO_BIG = closecodes.MESSAGE_TOO_BIG
cdef int TOO_MANY = closecodes.POLICY_VIOLATION
cdef int NO_STATUS = closecodes.NO_STATUS


cdef class FrameWalker:
    """Follows one direction.  `masked`: it comes from a client.  `rsv`: the bits 0x70 that are in use.

    `max_message_bytes` bounds a message as it is on the wire, `max_fragments` the data frames of one; 0 is no
    bound.
    """

    def __init__(self, *, bint masked, int rsv=0, uint64_t max_message_bytes=0, uint64_t max_fragments=0):
        self.masked = masked
        self.rsv = rsv
        self.most = max_message_bytes
        self.most_fragments = max_fragments
        self.close_code = NO_STATUS

    cdef bint at_boundary(self) noexcept:
        """Tell whether what went out ends with a whole frame."""
        return self.left == 0

    def walk_bytes(self, data):
        """Return what goes out of `data`, and 0 or the close code for what is wrong behind it."""
        cdef bytes whole = bytes(data)
        cdef int wrong = self.walk(whole, len(whole))
        return <bytes>self.head_sent[:self.carried] + whole[:self.good], wrong

    cdef int walk(self, const unsigned char* data, size_t n) noexcept:
        """Look at what came; set `carried`, `good`, `seen`.  Return 0, or the code for what is wrong."""
        cdef size_t at = 0
        cdef size_t before = self.head_bytes        # of a header that began in earlier bytes
        cdef int wrong
        self.carried = 0
        self.good = 0
        self.seen = n
        while at < n and not self.closed:
            if self.left:
                at += self.skip(data + at, n - at)
                self.good = at
                if self.left == 0 and self.one_frame:
                    break
                continue
            while at < n and self.head_bytes < self.needed():
                self.head[self.head_bytes] = data[at]
                self.head_bytes += 1
                at += 1
            if self.head_bytes < self.needed():
                return 0
            wrong = self.begin_frame()
            if wrong:
                return wrong
            if before:
                memcpy(self.head_sent, self.head, before)
                self.carried = before
                before = 0
            self.head_bytes = 0
            self.good = at
            if self.left == 0:
                self.end_frame()
        self.seen = at
        return 0

    cdef int needed(self) noexcept:
        """Return the length of the header whose first bytes are here."""
        cdef int length, n = 2
        if self.head_bytes < 2:
            return 2
        length = self.head[1] & 127
        if length == 126:
            n = 4
        elif length == 127:
            n = 10
        return n + 4 if self.head[1] & 128 else n

    cdef int begin_frame(self) noexcept:
        """Judge a whole header."""
        cdef int opcode = self.head[0] & 15
        cdef bint fin = self.head[0] & 128
        cdef uint64_t length = self.head[1] & 127
        cdef int i
        if (self.head[0] & 0x70) & ~self.rsv or <bint>(self.head[1] & 128) != self.masked:
            return PROTOCOL_ERROR
        if length == 126:
            length = <uint64_t>self.head[2] << 8 | self.head[3]
            if length < 126:
                return PROTOCOL_ERROR
        elif length == 127:
            length = 0
            for i in range(2, 10):
                length = length << 8 | self.head[i]
            if length < 65536 or length >> 63:
                return PROTOCOL_ERROR
        if opcode >= CLOSE:
            if opcode > PONG or not fin or length > CONTROL_BYTES or self.head[0] & 0x70:
                return PROTOCOL_ERROR
            if opcode == CLOSE and length == 1:
                return PROTOCOL_ERROR
        else:
            if opcode > BINARY or (opcode == CONTINUATION) != self.in_message:
                return PROTOCOL_ERROR
            if opcode != CONTINUATION:
                self.message_bytes = self.fragments = 0
            self.fragments += 1
            if self.most and length > self.most - self.message_bytes:
                return TOO_BIG
            if self.most_fragments and self.fragments > self.most_fragments:
                return TOO_MANY
            self.message_bytes += length
            self.in_message = not fin
        if opcode == PING:
            self.pings += 1
        if opcode == PONG and self.owed:
            self.owed -= 1
        elif opcode != CLOSE:
            self.begun += opcode != CONTINUATION
            self.begun_bytes += self.head_bytes + length
        if self.masked:
            memcpy(self.key, self.head + self.head_bytes - 4, 4)
        self.opcode = opcode
        self.payload_bytes = self.left = length
        return 0

    cdef size_t skip(self, const unsigned char* data, size_t n) noexcept:
        """Go on through a payload; return the bytes that belong to it."""
        cdef uint64_t at = self.payload_bytes - self.left
        cdef unsigned char byte
        cdef size_t i
        if n > self.left:
            n = <size_t>self.left
        if self.opcode == CLOSE:
            for i in range(n):
                if at + i < 2:
                    byte = data[i] ^ (self.key[at + i] if self.masked else 0)
                    self.close_code = byte << 8 if at + i == 0 else self.close_code | byte
        self.left -= n
        if self.left == 0:
            self.end_frame()
        return n

    cdef int end_frame(self) noexcept:
        if self.opcode == CLOSE:
            self.closed = True
        elif self.opcode < CLOSE and not self.in_message:
            self.messages += 1
        return 0
