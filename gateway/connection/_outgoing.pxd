# What a connection sends.  See _outgoing.pyx.
from gateway._sink cimport ssize
from gateway.connection._edge cimport Edge
from gateway.connection._sockets cimport Endpoint


cdef class Outgoing(Endpoint):
    cdef Edge edge
    cdef object transport           # None before its life and after
    cdef size_t queued_before       # bytes behind the socket at the last visit
    cdef bint gathering             # a read is being handled: answers go to edge.out

    # Send one frame, or gather it when a read is being handled.
    cdef int write(self, int opcode, const char* payload, size_t n, bint rsv1) except -1
    # Send bytes now: through the socket, or behind what already waits for it.
    cdef int push(self, const char* data, size_t n) except -1
    # Send what this connection has gathered.
    cdef int send_out(self) except -1
    # Tell whether a peer that is not read from has taken some of what waits for it.
    cdef bint is_reading(self) except -1
