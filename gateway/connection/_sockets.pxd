# Plain sockets behind one epoll.  See _sockets.pyx.
from libc.stdint cimport uint32_t

from gateway._sink cimport Sink
from gateway.connection._edge cimport Edge


cdef class Watched:                 # something with a descriptor that the poller watches
    cdef int on_event(self, uint32_t events) except -1


cdef class Endpoint(Sink):          # whose socket it is: what a SocketTransport tells
    # Its life begins; `fd` may be used for sending as long as the transport holds no bytes.
    cdef int began(self, object transport, int fd) except -1
    # So many bytes lie in the edge's read buffer.
    cdef int received(self, size_t n) except -1


cdef class Poller:
    cdef Edge edge                  # whose connections they are
    cdef readonly object loop
    cdef Listener listener
    cdef int epoll
    cdef list lost                  # transports whose endpoint has not heard yet that they are closed
    cdef bint telling               # they are told at the end of what is under way
    cdef bint asked                 # or in a later turn of the loop
    cdef readonly Py_ssize_t open   # descriptors watched
    cdef bint closed

    cdef int watch(self, int operation, int fd, Watched watched, uint32_t events) except -1
    cdef int lose(self, SocketTransport transport) except -1
    cdef int tell_lost(self) except -1
    cdef int left(self) except -1


cdef class Listener(Watched):
    cdef Poller poller
    cdef object sock
    cdef object first               # takes what was accepted before it becomes a connection, or None
    cdef int fd
    cdef object resting             # the timer after which it accepts again; None while it accepts

    cdef int take(self, int fd, Endpoint endpoint) except -1
    cdef int rest(self, int problem) except -1


cdef class SocketTransport(Watched):
    cdef Poller poller
    cdef Endpoint endpoint          # None once it was told that this is closed
    cdef bytearray waiting          # what the socket did not take yet, or None
    cdef readonly int fd
    cdef uint32_t interest          # what the poller tells of it
    cdef unsigned char closing      # nothing is read any more; it is lost when nothing waits
    cdef unsigned char ending       # the sending side is shut down, or will be when nothing waits
    cdef unsigned char gone         # the poller was told that it is lost

    cdef int set_interest(self, uint32_t events) except -1
    cdef int read(self) except -1
    cdef int send_waiting(self) except -1
    cdef int drop(self) except -1


# Have a transport's socket watched, and its endpoint begin.
cdef int start(Poller poller, SocketTransport transport, Endpoint endpoint) except -1
