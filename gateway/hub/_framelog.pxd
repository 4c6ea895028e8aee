# The memory of a broadcast ring.  See _framelog.pyx.
from libc.stdint cimport uint32_t, uint64_t

from gateway._sink cimport iovec


cdef enum:
    RSV1 = 0x40                 # in an opcode: the payload is deflated (RFC 7692 section 6)
    HEADER_BYTES = 10           # of a frame without a mask, at most


cdef struct Entry:                  # one frame in the ring
    uint64_t start                  # position of its first byte; it ends where the next one starts
    uint64_t offset                 # of its publication, or of the newest one before it
    uint32_t numbered               # is it a publication with an offset?


cdef class FrameLog:
    cdef char* data
    cdef uint64_t capacity          # bytes, a power of two, 0 when nothing is held
    cdef readonly uint64_t bound    # capacity never exceeds it; a power of two
    cdef uint64_t tail, head        # positions: oldest byte kept, next byte to write
    cdef Entry* entries             # circular like data
    cdef uint64_t entries_capacity, first_entry, end_entry
    # it covers every publication after `covered` up to `newest`
    cdef readonly uint64_t covered, newest

    # entries
    cdef Entry* entry(self, uint64_t index) noexcept
    cdef uint64_t find(self, uint64_t position) noexcept
    cdef uint64_t index_at(self, uint64_t position) noexcept
    cdef uint64_t end_of(self, uint64_t index) noexcept
    cdef uint64_t frame_start(self, uint64_t position) noexcept
    cdef uint64_t first_after(self, uint64_t offset) noexcept
    # bytes
    cdef int pieces_of(self, uint64_t start, uint64_t end, iovec* pieces) noexcept
    cdef void copy_in(self, uint64_t position, const char* source, uint64_t n) noexcept
    cdef void write(self, const char* header, uint64_t header_bytes, bytes payload, uint64_t offset) noexcept
    cdef void drop_until(self, uint64_t position) noexcept
    # memory
    cdef int grow(self, uint64_t n) except -1
    cdef int grow_entries(self, uint64_t n) except -1
    cdef int resize(self, uint64_t capacity) except -1
    cdef int resize_entries(self, uint64_t capacity) except -1
    cdef int shrink(self) except -1
    cdef void forget(self) noexcept
