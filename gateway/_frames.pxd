# The decoder of RFC 6455 frames.  See _frames.pyx; Inflater and Deflater are in deflate.py.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from gateway._encode cimport encode_close, encode_frame, write_header  # for who wants both halves

cpdef enum:
    FAILED = -1                     # the peer broke a rule: send close_code and close_reason, and hang up
    NEED_DATA = 0                   # everything fed is consumed, or copied aside
    TEXT = 1                        # a whole text message, valid UTF-8
    BINARY = 2                      # a whole binary message
    CLOSE = 8                       # the last event of a connection
    PING = 9
    PONG = 10


cdef class Decoder:
    # the event that next() told; `payload` is valid until the next call of next() or feed()
    cdef char* payload
    cdef size_t payload_bytes
    cdef readonly int close_code            # CLOSE: the peer's, 1005 when it sent none; FAILED: what to send
    cdef readonly bytes close_reason
    # what is open, true after NEED_DATA
    cdef readonly bint in_message           # a message or frame came in part: its time should be bounded
    cdef readonly size_t held_bytes         # memory held for the message that is open
    # role, bounds and collaborator
    cdef bint _client                       # we are the client: frames come unmasked
    cdef size_t _max_message_bytes
    cdef uint64_t _max_wire_bytes           # of a compressed message, before inflation
    cdef size_t _max_fragments
    cdef object _inflater                   # gateway.deflate.Inflater, or None: RSV1 is refused
    cdef bint _can_inflate
    # what feed() was given and is not read yet (borrowed)
    cdef char* _at
    cdef char* _end
    # the frame being read
    cdef unsigned char _head[14]            # a header that came in pieces
    cdef unsigned int _head_bytes
    cdef bint _in_frame                     # its header is read, its payload is not at its end
    cdef bint _fin
    cdef int _opcode                        # as on the wire: 0 is a continuation
    cdef unsigned char _key[4]
    cdef unsigned int _key_at               # 0 to 3: where the next byte of payload is in the key
    cdef uint64_t _remaining                # bytes of payload still to come
    cdef char _control[125]                 # payload of a control frame that came in pieces
    cdef unsigned int _control_bytes
    # the message being read
    cdef int _kind                          # TEXT, BINARY, or 0 when none is open
    cdef bint _compressed
    cdef uint32_t _utf8                     # state of the validator
    cdef size_t _fragments
    cdef uint64_t _wire_bytes               # compressed bytes so far
    cdef char* _message                     # held_bytes of memory, or NULL
    cdef size_t _message_bytes              # of them in use
    cdef bint _delivered                    # the event's payload is `_message`
    cdef int _over                          # FAILED, CLOSE, or 0: sticky

    # Lend `n` bytes at `data`.  They are unmasked in place, and must stay until next() tells NEED_DATA
    # (or FAILED, or CLOSE).
    cdef void feed(self, char* data, size_t n) noexcept
    # Read on to the next event and tell its kind.  FAILED is told again and again, NEED_DATA after CLOSE.
    cdef int next(self) noexcept
    # internal: 0 more bytes needed, positive go on or the kind of an event, negative a fault
    cdef int _read_header(self) noexcept nogil
    cdef int _parse_header(self, const unsigned char* head, size_t have) noexcept nogil
    cdef int _check_rules(self, unsigned int first, unsigned int second) noexcept nogil
    cdef int _check_bounds(self, uint64_t payload_bytes, bint compressed) noexcept nogil
    cdef void _start_frame(self, uint64_t payload_bytes, bint compressed) noexcept nogil
    cdef int _read_control(self) noexcept nogil
    cdef int _read_data(self) noexcept nogil
    cdef int _read_whole(self) noexcept nogil
    cdef int _read_compressed(self) noexcept
    cdef int _inflate(self, const char* data, size_t n) noexcept
    cdef int _finish_frame(self) noexcept nogil
    cdef void _take(self, char* to, size_t n) noexcept nogil
    cdef int _append(self, const char* data, size_t n) noexcept nogil
    cdef int _reserve(self, size_t n) noexcept nogil
    cdef int _added(self, size_t n) noexcept nogil
    cdef void _release(self) noexcept nogil
    cdef int _told_close(self) noexcept
    cdef int _fail(self, int fault) noexcept
    cdef void _finish(self, int how) noexcept nogil
    cdef void _set(self, size_t max_message_bytes, size_t max_fragments, object inflater) noexcept


# A server's decoder; the bounds are known to be in range.
cdef Decoder new_decoder(size_t max_message_bytes, size_t max_fragments, object inflater)
