"""Plain TCP sockets: one epoll of our own for the listening socket and all connections of a loop.

The loop watches one descriptor, that of the epoll, whatever the number of connections; so a connection
costs neither a handle nor a transport of the loop's, and what is ready is served in one callback.  It
knows bytes and sockets, and of whoever owns a socket only `Endpoint`.  TLS is not here: those connections
have transports of the loop's.

`SocketTransport` is an asyncio transport as far as a connection uses one, with a write-buffer limit of 0:
its endpoint's `pause_writing` is called as soon as a byte waits, `resume_writing` when none does.

What always holds: an endpoint hears `connection_lost` once, after everything else and never from inside
one of its own calls; its descriptor is closed right after that, not before, so nobody can send to another
connection's socket; no exception leaves the loop's callback.
"""
import socket

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from cython cimport no_gc
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO, errno
from libc.stdint cimport uint32_t
from libc.string cimport strerror

from gateway._sink cimport Sink, send_now, ssize
from gateway.connection._edge cimport Edge

from gateway.connection.peers import unix_peer

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef extern from "<sys/socket.h>" nogil:
    int accept4(int fd, void* address, void* size, int flags)
    ssize c_recv "recv"(int fd, void* to, size_t n, int flags)
    int c_shutdown "shutdown"(int fd, int how)
    int SOCK_NONBLOCK, SOCK_CLOEXEC, SHUT_WR

    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    int getpeername(int fd, sockaddr* address, unsigned int* size)
    int AF_INET

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        pass
    cdef struct sockaddr_in:
        in_addr sin_addr
        unsigned short sin_port
    unsigned short ntohs(unsigned short value)

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* to, unsigned int size)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef enum:
    EVENTS = 256            # served in one callback of the loop
    ACCEPTS = 64            # connections taken in a row; then those that are there have their turn

cdef double REST_S = 0.25   # before the next attempt when there are no descriptors, or no memory


cdef class Watched:
    """Something with a descriptor that a poller watches."""

    cdef int on_event(self, uint32_t events) except -1:
        raise NotImplementedError


cdef class Endpoint(Sink):
    """Whose socket it is.  A transport also calls `eof_received`, `pause_writing`, `resume_writing`,
    `connection_lost` and `fail`, which are those of an asyncio protocol but the last: a call of it raised.
    """

    cdef int began(self, object transport, int fd) except -1:
        raise NotImplementedError

    cdef int received(self, size_t n) except -1:
        raise NotImplementedError


cdef class Poller:
    """One epoll in the loop.  It ends by itself when it was closed and watches nothing any more."""

    def __cinit__(self):
        self.epoll = -1

    def __init__(self, Edge edge not None, loop):
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, strerror(errno).decode())
        self.edge = edge
        self.loop = loop
        self.lost = []
        loop.add_reader(self.epoll, self.poll)

    def __dealloc__(self):
        if self.epoll >= 0:
            c_close(self.epoll)

    def poll(self):
        """Serve what is ready."""
        cdef epoll_event[EVENTS] events
        cdef int count = epoll_wait(self.epoll, events, EVENTS, 0)
        cdef int i
        cdef Watched watched
        # Who is lost stays in `lost`, and so alive, until all events are served.
        self.telling = True
        try:
            for i in range(count):
                watched = <Watched>events[i].data.ptr
                watched.on_event(events[i].events)
            if self.lost:
                self.tell_lost()
        except Exception:
            self.edge.log.exception("internal error among sockets")
        finally:
            self.telling = False

    def close(self):
        """End as soon as nothing is watched any more."""
        self.closed = True
        self.left()

    cdef int watch(self, int operation, int fd, Watched watched, uint32_t events) except -1:
        cdef epoll_event event
        event.events = events
        event.data.ptr = <void*>watched
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(errno, strerror(errno).decode())
        return 0

    cdef int lose(self, SocketTransport transport) except -1:
        self.lost.append(transport)
        if not self.telling and not self.asked:
            self.asked = True
            self.loop.call_soon(self.tell)
        return 0

    def tell(self):
        """Tell endpoints that their sockets are gone."""
        self.asked = False
        self.tell_lost()

    cdef int tell_lost(self) except -1:
        cdef SocketTransport transport
        cdef list lost
        while self.lost:
            lost, self.lost = self.lost, []
            for transport in lost:
                transport.drop()
        return self.left()

    cdef int left(self) except -1:
        if self.closed and not self.open and self.epoll >= 0:
            self.loop.remove_reader(self.epoll)
            c_close(self.epoll)
            self.epoll = -1
            self.listener = None
        return 0


cdef class Listener(Watched):
    """Lets connections in at a listening socket, which becomes its own.  `loop` runs them.

    Where `first` is not None it is called with the descriptor of every socket that was accepted, which is its
    own then, in place of a connection.
    """

    def __init__(self, Edge edge not None, sock, *, loop, first=None):
        self.first = first
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)      # its connections inherit it
        self.sock = sock
        self.fd = sock.fileno()
        self.poller = Poller(edge, loop)
        self.poller.listener = self                 # its event may still be in a batch when it is closed
        self.poller.watch(EPOLL_CTL_ADD, self.fd, self, EPOLLIN)
        self.poller.open += 1

    def close(self):
        """Let nobody in any more; who is in stays.  Idempotent."""
        if self.sock is None:
            return
        if self.resting is None:
            self.poller.watch(EPOLL_CTL_DEL, self.fd, self, 0)
        else:
            self.resting.cancel()
        self.poller.open -= 1
        self.sock.close()
        self.sock = None
        self.poller.close()

    cdef int on_event(self, uint32_t events) except -1:
        cdef int _i, fd
        if self.sock is None:
            return 0
        try:
            for _i in range(ACCEPTS):
                fd = accept4(self.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
                if fd >= 0 and self.first is None:
                    self.take(fd, None)
                elif fd >= 0:
                    self.first(fd)
                elif errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                    return self.rest(errno)
                elif errno not in (EINTR, ECONNABORTED, EPROTO, EPERM):
                    return 0
        except Exception:
            self.poller.edge.log.exception("internal error in accept")
        return 0

    def adopt(self, int fd, Endpoint endpoint not None):
        """Serve a connected socket, which becomes the endpoint's."""
        self.take(fd, endpoint)

    cdef int take(self, int fd, Endpoint endpoint) except -1:
        """Make the connection of a socket that was just accepted; `endpoint` is None for a new one."""
        cdef SocketTransport transport = SocketTransport.__new__(SocketTransport)
        transport.fd = fd                           # closed with the transport should anything fail
        return start(self.poller, transport, endpoint if endpoint is not None else self.poller.edge())

    cdef int rest(self, int problem) except -1:
        """Accept nobody for a moment, lest the loop turns for nothing."""
        self.poller.edge.log.warning("no connection can be accepted now: %s", strerror(problem).decode())
        self.poller.watch(EPOLL_CTL_DEL, self.fd, self, 0)
        self.resting = self.poller.loop.call_later(REST_S, self.go_on)
        return 0

    def go_on(self):
        """Accept again."""
        self.resting = None
        self.poller.watch(EPOLL_CTL_ADD, self.fd, self, EPOLLIN)


cdef int start(Poller poller, SocketTransport transport, Endpoint endpoint) except -1:
    transport.poller = poller
    transport.interest = EPOLLIN
    poller.watch(EPOLL_CTL_ADD, transport.fd, transport, EPOLLIN)
    poller.open += 1
    transport.endpoint = endpoint                   # a circle, which `drop` cuts
    return endpoint.began(transport, transport.fd)


cdef object ip_peer(int fd):
    """Return address and port of the other end where they are IPv4, without a Python socket; else None."""
    cdef sockaddr_storage peer
    cdef sockaddr_in* ip = <sockaddr_in*>&peer
    cdef char[16] text
    cdef unsigned int size = sizeof(peer)
    if getpeername(fd, <sockaddr*>&peer, &size) < 0 or peer.ss_family != AF_INET:
        return None
    if inet_ntop(AF_INET, &ip.sin_addr, text, sizeof(text)) == NULL:
        return None
    return (<bytes>text).decode(), ntohs(ip.sin_port)


@no_gc
cdef class SocketTransport(Watched):
    """The transport of one plain socket.  Made by a Listener, or by `_dialing.connect`."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)

    # -- what the poller calls ----------------------------------------------------------

    cdef int on_event(self, uint32_t events) except -1:
        cdef Endpoint endpoint = self.endpoint
        if self.gone:
            return 0
        try:
            if events & EPOLLOUT and self.waiting is not None:
                self.send_waiting()
            if events & ~EPOLLOUT and not self.gone:
                if self.interest & EPOLLIN:
                    self.read()
                elif events & (EPOLLERR | EPOLLHUP):
                    self.abort()                    # nobody reads any more what waits
        except Exception:
            endpoint.fail("a socket's event")
        return 0

    cdef int read(self) except -1:
        cdef Edge edge = self.poller.edge
        cdef ssize n = c_recv(self.fd, edge.read_at, edge.read_bytes, 0)
        if n > 0:
            return self.endpoint.received(n)
        if n < 0:
            if errno != EAGAIN and errno != EINTR:
                self.abort()
            return 0
        if self.endpoint.eof_received():
            self.set_interest(self.interest & ~EPOLLIN)
        else:
            self.close()
        return 0

    cdef int send_waiting(self) except -1:
        cdef ssize taken = send_now(self.fd, PyByteArray_AS_STRING(self.waiting), len(self.waiting))
        if taken < 0:
            self.abort()
            return 0
        if taken < len(self.waiting):
            del self.waiting[:taken]
            return 0
        self.waiting = None
        self.set_interest(self.interest & ~EPOLLOUT)
        if self.ending:
            c_shutdown(self.fd, SHUT_WR)
        if self.closing:
            self.abort()
        else:
            self.endpoint.resume_writing()
        return 0

    cdef int drop(self) except -1:
        """Tell the endpoint that this is over; close the socket."""
        endpoint, self.endpoint = self.endpoint, None
        try:
            endpoint.connection_lost(None)
        except Exception:
            self.poller.edge.log.exception("internal error in connection_lost")
        c_close(self.fd)
        self.fd = -1
        self.poller.open -= 1
        return 0

    cdef int set_interest(self, uint32_t events) except -1:
        if events != self.interest and not self.gone:
            self.interest = events
            self.poller.watch(EPOLL_CTL_MOD, self.fd, self, events)
        return 0

    # -- what the endpoint calls --------------------------------------------------------

    def set_protocol(self, Endpoint endpoint not None):
        """Have another endpoint hear of this socket from now on."""
        self.endpoint = endpoint

    def write(self, bytes data not None):
        """Send bytes, or keep what the socket does not take."""
        cdef ssize taken = 0
        if self.gone or self.closing or self.ending:
            return
        if self.waiting is not None:
            self.waiting += data
            return
        taken = send_now(self.fd, PyBytes_AS_STRING(data), len(data))
        if taken < 0:
            self.abort()
        elif taken < len(data):
            self.waiting = bytearray(data[taken:])
            self.set_interest(self.interest | EPOLLOUT)
            self.endpoint.pause_writing()

    def get_write_buffer_size(self):
        """Return how many bytes wait."""
        return 0 if self.waiting is None else len(self.waiting)

    def pause_reading(self):
        """Read nothing for now."""
        self.set_interest(self.interest & ~EPOLLIN)

    def resume_reading(self):
        """Read again."""
        if not self.closing:
            self.set_interest(self.interest | EPOLLIN)

    def can_write_eof(self):
        """Tell that the sending side can be shut down by itself."""
        return True

    def write_eof(self):
        """Shut the sending side down when nothing waits any more."""
        if not self.ending and not self.gone:
            self.ending = True
            if self.waiting is None:
                c_shutdown(self.fd, SHUT_WR)

    def is_closing(self):
        """Tell whether this is closed, or will be as soon as nothing waits."""
        return self.closing or self.gone

    def close(self):
        """Read nothing more; close when nothing waits any more."""
        self.closing = True
        self.set_interest(self.interest & ~EPOLLIN)
        if self.waiting is None:
            self.abort()

    def abort(self):
        """Close at once, in this turn of the loop or the next.  Idempotent."""
        if not self.gone and self.endpoint is not None:
            self.gone = self.closing = True
            self.waiting = None
            self.poller.lose(self)

    def get_extra_info(self, str name, default=None):
        """Return the peer's address for `peername`, or what is known of a peer without; nothing else is."""
        if name != "peername" or self.fd < 0:
            return default
        peer = ip_peer(self.fd)
        if peer is not None:
            return peer
        with socket.socket(fileno=self.fd) as sock:
            try:
                return sock.getpeername() or unix_peer(sock)
            except OSError:
                return default
            finally:
                sock.detach()
