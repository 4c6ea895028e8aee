# A sink: the one thing that the hub and a connection both know.  See _sink.pyx.

ctypedef long long ssize

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

# send(2) without waiting: how many bytes were taken, 0 when it would block, -1 when the socket broke.
cdef ssize send_now(int fd, const char* data, size_t n) noexcept nogil
# Bytes that the kernel holds because the peer has not acknowledged them; 0 for no socket.
cdef size_t unacknowledged(int fd) noexcept


cdef class Sink:
    # where bytes go
    cdef public int fd              # socket, or -1: everything goes through hand_over
    cdef bint direct                # `fd` may be given to send_now, past `offer`
    cdef public bint blocked        # nothing may be sent now; the owner says when again
    cdef public bint closed         # nothing will ever be sent again
    cdef public bint corked         # the owner holds bytes back that must leave first
    # what waits for it, known only to the hub: a list of cursors
    cdef public list cursors

    # Offer bytes to the socket: how many it took at once, 0 when it would block, -1 when it broke.
    cdef ssize offer(self, const char* data, size_t n) noexcept
    # The same for several pieces at once, in order.
    cdef ssize offer_pieces(self, iovec* pieces, int count) noexcept
    # Queue bytes behind the socket (they are copied).  May set `blocked`.
    cdef int hand_over(self, const char* data, size_t n) except -1
    # Send what is held back; clears `corked`, may set `blocked`.
    cdef int uncork(self) except -1
    # The hub's word that this sink was too slow for `cursor`.  Sets `closed`.
    cdef int too_slow(self, object cursor) except -1
    # offer() said -1.  Sets `closed`.
    cdef int broken(self) except -1
