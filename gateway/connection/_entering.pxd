# How a client's socket comes in.  See _entering.pyx.
from gateway._frames cimport Decoder
from gateway.connection._ending cimport Ending


cdef class Entering(Ending):
    cdef public object handler      # None until the handshake is done
    cdef Decoder decoder
    cdef object deflater
    cdef bytearray head             # of the handshake, while it is incomplete
    cdef readonly double opened_at
    cdef bint echo
    cdef bint relays                # the handler hears of control frames, too
    cdef bint held                  # the handler takes no messages now
    cdef bint turned_away           # there is no room for it: 503
    # timers: the loop's time
    cdef double last_heard, next_ping

    cdef int read_head(self, char* data, size_t n) except -1
    cdef int go_on(self, object accepted, char* data, size_t n) except -1
    cdef int hand_off(self, object passage, object accepted, bytes early) except -1
    cdef int wait_for(self, object passage, object accepted, bytes early) except -1
    cdef int open(self, object accepted, object handler) except -1
    cdef int turn_away(self) except -1
    cdef int refuse(self, object refusal) except -1
    # What a subclass has: frames that came behind the request, when to look after it next.
    cdef int read_frames(self, char* data, size_t n) except -1
    cdef double next_visit(self, double now) noexcept
