# How a socket of the edge comes to its end.  See _ending.pyx.
from gateway.connection._outgoing cimport Outgoing

cdef enum:
    OPENING = 0         # waits for a handshake's request, or for the other end of a tunnel
    OPEN = 1
    CLOSING = 2         # sent a close frame, waits for the peer's
    LINGERING = 3       # said everything, waits for the peer to hang up; what it sends is dropped
    CLOSED = 4


cdef class Ending(Outgoing):
    cdef int state
    cdef bint reading_paused
    # timers: the loop's time
    cdef public int wheel_slot
    cdef double deadline            # for what the state waits for

    # Say that nothing more comes; wait, not for long, until the peer hangs up.
    cdef int linger(self) except -1
    # Have `visit` called when `due` has passed.
    cdef int schedule(self, double due) except -1
    cdef int stop_reading(self) except -1
    cdef int read_again(self) except -1
