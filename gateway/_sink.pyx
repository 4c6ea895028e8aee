"""A sink: something with a socket that can be blocked.

It knows neither rings nor WebSockets.  The hub's rings send to sinks; a connection is
one.  What always holds: while `blocked` or `closed` is set nobody calls `send`; the
bytes of two frames are never mixed, since a sink that took a frame in part
gets the rest by `hand_over` before anything else; and no method of a sink changes the
hub (an owner that must detach its cursors does so in a later turn of the loop).

`ScriptedSink` is a sink for tests, driven from Python.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int* value)

cdef extern from "<linux/sockios.h>" nogil:
    enum: SIOCOUTQ

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen

    ssize c_send "send"(int fd, const void* data, size_t n, int flags)
    ssize c_sendmsg "sendmsg"(int fd, const msghdr* message, int flags)
    int MSG_NOSIGNAL
    int MSG_DONTWAIT


cdef ssize send_now(int fd, const char* data, size_t n) noexcept nogil:
    cdef ssize taken
    while True:
        taken = c_send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT)
        if taken >= 0:
            return taken
        if errno != EINTR:
            return 0 if errno == EAGAIN else -1


cdef size_t unacknowledged(int fd) noexcept:
    cdef int n = 0
    if fd < 0 or ioctl(fd, SIOCOUTQ, &n) < 0:
        return 0
    return n


cdef class Sink:
    """Base of everything that rings send to.  Lives on one event loop; not thread-safe."""

    def __cinit__(self):
        self.fd = -1
        self.cursors = []

    cdef ssize offer(self, const char* data, size_t n) noexcept:
        return send_now(self.fd, data, n)

    cdef ssize offer_pieces(self, iovec* pieces, int count) noexcept:
        cdef msghdr message
        cdef ssize taken
        memset(&message, 0, sizeof(message))
        message.msg_iov = pieces
        message.msg_iovlen = count
        while True:
            taken = c_sendmsg(self.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
            if taken >= 0:
                return taken
            if errno != EINTR:
                return 0 if errno == EAGAIN else -1

    cdef int hand_over(self, const char* data, size_t n) except -1:
        raise NotImplementedError

    cdef int uncork(self) except -1:
        self.corked = False
        return 0

    cdef int too_slow(self, object cursor) except -1:
        self.closed = True
        return 0

    cdef int broken(self) except -1:
        self.closed = True
        return 0


cdef class ScriptedSink(Sink):
    """A sink for tests: Python decides how much each send takes.

    `take(n)` is asked at every send of `n` bytes: how many are taken, 0 would block, -1
    broken; None takes all.  What was taken or handed over is appended to `received`.
    After `hand_over` the sink is blocked until the test clears `blocked`, unless
    `absorbs` is set (a transport that got rid of its bytes at once).
    """

    cdef public object take
    cdef public bytearray received
    cdef public bytearray held_back
    cdef public list slow
    cdef public bint absorbs
    cdef public unsigned long long sends

    def __init__(self, take=None, *, fd=0):
        self.take = take
        self.received = bytearray()
        self.held_back = bytearray()
        self.slow = []
        self.fd = fd

    cdef ssize offer(self, const char* data, size_t n) noexcept:
        cdef ssize taken = <ssize>n
        self.sends += 1
        try:
            if self.take is not None:
                taken = self.take(n)
            if taken > 0:
                self.received += data[:taken]
        except BaseException:
            return -1
        return taken

    cdef ssize offer_pieces(self, iovec* pieces, int count) noexcept:
        cdef int i
        try:
            data = b"".join([(<const char*>pieces[i].iov_base)[:pieces[i].iov_len] for i in range(count)])
        except BaseException:
            return -1
        return self.offer(<const char*>data, len(data))

    cdef int hand_over(self, const char* data, size_t n) except -1:
        self.received += data[:n]
        self.blocked = not self.absorbs
        return 0

    cdef int uncork(self) except -1:
        self.corked = False
        self.received += self.held_back
        self.held_back.clear()
        return 0

    cdef int too_slow(self, object cursor) except -1:
        self.slow.append(cursor)
        self.closed = True
        return 0
