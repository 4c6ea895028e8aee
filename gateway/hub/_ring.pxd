# The broadcast ring and the flusher.  See _ring.pyx.
from libc.stdint cimport uint64_t

from gateway._sink cimport Sink, ssize
from gateway.hub._cursor cimport Cursor
from gateway.hub._framelog cimport FrameLog


cdef struct Offer:                  # one send
    void* cursor
    const char* data
    uint64_t n
    ssize taken
    int fd


cdef class HubStats:                # counters of all rings of one hub; never reset
    cdef readonly uint64_t frames_appended, bytes_appended
    cdef readonly uint64_t frames_delivered, bytes_sent, sends
    cdef readonly uint64_t blocks   # times a socket took less than it was offered
    cdef readonly uint64_t dropped_disconnect, dropped_skip, dropped_latest     # frames
    cdef readonly uint64_t slow_disconnects, gaps


cdef class Flusher:
    cdef object call_soon
    cdef list dirty
    cdef bint scheduled
    cdef uint64_t sends_per_turn

    cdef int mark(self, Ring ring) except -1


cdef class Ring(FrameLog):
    cdef readonly uint64_t retain   # bytes kept for resume when everybody has them
    # subscribers
    cdef void** cursors             # borrowed; a cursor is kept alive by its sink
    cdef readonly Py_ssize_t cursor_count
    cdef Py_ssize_t cursors_capacity
    cdef Py_ssize_t next_cursor     # where the pass that is under way goes on; 0 when none is
    cdef uint64_t pass_head         # the head when it began
    cdef uint64_t floor             # no open cursor stands below
    cdef bint dirty
    # frames between the last two positions between which a cursor moved: most move alike
    cdef uint64_t counted_from, counted_to, counted
    cdef int policy
    cdef HubStats stats
    cdef Flusher flusher
    cdef object encode_gap

    # room
    cdef int make_room(self, uint64_t n) except -1
    cdef void find_floor(self) noexcept
    # slow consumers
    cdef int apply_policy(self, uint64_t n) except -1
    cdef int leave_behind(self, Cursor cursor, uint64_t target) except -1
    # sending
    cdef uint64_t flush(self, uint64_t limit, bint together) except? 0
    cdef int send_offers(self, Offer* offers, int count) except -1
    cdef int drain(self, Cursor cursor) except -1
    cdef int advance(self, Cursor cursor, ssize taken, uint64_t offered) except -1
    cdef int hand_over(self, Cursor cursor, uint64_t end) except -1
    cdef void move(self, Cursor cursor, uint64_t position) noexcept
    cdef int send_gap(self, Cursor cursor) except -1
