# One client's socket.  See _connection.pyx.
from gateway._frames cimport Decoder
from gateway.connection._ending cimport Ending


cdef class Connection(Ending):
    cdef public object handler      # None until the handshake is done
    cdef Decoder decoder
    cdef object deflater
    cdef bytearray head             # of the handshake, while it is incomplete
    cdef bytes stalled              # what was read and not decoded when the peer stopped reading
    cdef bytes pong                 # the one that is owed
    cdef readonly double opened_at
    cdef bint echo
    cdef bint held                  # the handler takes no messages now
    cdef bint turned_away           # there is no room for it: 503
    # timers: the loop's time
    cdef bint heard                 # something came since the last visit
    cdef unsigned int pings_unanswered
    cdef double last_heard, next_ping

    cdef int go_on(self, object accepted, char* data, size_t n) except -1
    cdef int read_on(self) except -1
    cdef int read_head(self, char* data, size_t n) except -1
    cdef int hand_off(self, object passage, object accepted, bytes early) except -1
    cdef int open(self, object accepted) except -1
    cdef int turn_away(self) except -1
    cdef int refuse(self, object refusal) except -1
    cdef int read_frames(self, char* data, size_t n) except -1
    cdef int take_message(self, int opcode) except -1
    cdef int answer_close(self, int code, bytes reason) except -1
    cdef int start_closing(self, int code, bytes reason, int state) except -1
    cdef int tell_closed(self, int code, str reason) except -1
    cdef int visit_open(self, double now) except -1
    cdef double next_visit(self, double now) noexcept
