# Follows frames through a stream of bytes without keeping them.  See _walker.pyx.
from libc.stdint cimport uint64_t


cdef class FrameWalker:
    cdef bint masked                # what it follows is a client's
    cdef unsigned char rsv          # the reserved bits that an extension uses
    cdef uint64_t most              # bytes of a message; 0: no bound
    cdef uint64_t most_fragments    # data frames of a message; 0: no bound
    cdef bint one_frame             # go on to the end of a frame that has begun, and no further
    # where it stands
    cdef uint64_t left              # bytes of the frame's payload that have not come
    cdef unsigned char[14] head     # of a frame whose header is not whole
    cdef int head_bytes
    cdef bint in_message            # a message's last fragment has not begun
    cdef uint64_t message_bytes, fragments
    cdef unsigned char opcode       # of the frame whose payload comes
    cdef unsigned char[4] key
    cdef uint64_t payload_bytes
    # what it says of the bytes it was last given
    cdef unsigned char[14] head_sent
    cdef size_t carried             # so many bytes of `head_sent` go out before them
    cdef size_t good                # so many of them go out
    cdef size_t seen                # so many of them were looked at
    # what it has seen
    cdef readonly uint64_t pings
    cdef readonly uint64_t begun            # messages, pings, and pongs that nobody asked for
    cdef readonly uint64_t begun_bytes      # of theirs and of continuations, header and payload
    cdef public uint64_t owed               # pongs that were asked for
    cdef readonly uint64_t messages
    cdef readonly bint closed       # a whole close frame; what comes after it is nobody's
    cdef readonly int close_code

    cdef bint at_boundary(self) noexcept
    cdef int walk(self, const unsigned char* data, size_t n) noexcept
    cdef int needed(self) noexcept
    cdef int begin_frame(self) noexcept
    cdef size_t skip(self, const unsigned char* data, size_t n) noexcept
    cdef int end_frame(self) noexcept
