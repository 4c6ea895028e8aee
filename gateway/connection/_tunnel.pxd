# The two ends of a client's WebSocket that is passed through.  See _tunnel.pyx.
from gateway.connection._ending cimport Ending
from gateway.connection._walker cimport FrameWalker


cdef class TunnelEnd(Ending):
    cdef TunnelEnd other            # None before they are joined, and after this end is gone
    cdef FrameWalker walker         # of what comes in here
    cdef readonly bint client       # it is the client's end, not the upstream's
    cdef object owner               # who joins the ends; None when this end is gone
    cdef public object meter        # takes what a client begins to say, or refuses it; None: no limits
    cdef bytearray early            # what a client says before they are joined
    cdef bint other_gone
    cdef bint lingers               # after a close frame nothing of the peer's is waited for
    cdef bytes farewell             # a close frame that waits for the end of somebody's frame
    # timers: the loop's time
    cdef readonly double opened_at
    cdef double patience            # seconds from `opened_at` within which the ends should be joined
    cdef bint heard                 # something came since the last visit
    cdef double last_heard, next_ping

    cdef int attached(self) except -1
    cdef int join(self, TunnelEnd other) except -1
    cdef int keep_early(self, const char* data, size_t n) except -1
    cdef int pass_on(self, const char* data, size_t n) except -1
    cdef int closing(self) except -1
    cdef int pass_last_frame(self, const char* data, size_t n) except -1
    cdef bint is_allowed(self, size_t messages, size_t n_bytes) except -1
    cdef int broke_a_rule(self, int code, bytes reason) except -1
    cdef int say_close(self, int code, bytes reason) except -1
    cdef int part(self) except -1
    cdef int visit_passing(self, double now) except -1
