# One client's socket.  See _connection.pyx.
from gateway.connection._entering cimport Entering


cdef class Connection(Entering):
    cdef bytes stalled              # what was read and not decoded when the peer stopped reading
    cdef bytes pong                 # the one that is owed
    # timers: the loop's time
    cdef bint heard                 # something came since the last visit
    cdef unsigned int pings_unanswered

    cdef int read_on(self) except -1
    cdef int take_message(self, int opcode) except -1
    cdef int answer_close(self, int code, bytes reason) except -1
    cdef int start_closing(self, int code, bytes reason, int state) except -1
    cdef int tell_closed(self, int code, str reason) except -1
    cdef int visit_open(self, double now) except -1
