"""Connections that the gateway itself makes: TCP, to an address that is known, without waiting.

It knows sockets and their pollers, nothing of what is said over them.  An endpoint begins its life before it
is connected: what it writes then waits like anything that a socket does not take, and a connection that
fails is one that is lost.  So nobody has to wait for it, and on a machine of its own the first bytes leave
at once.
"""
from libc.errno cimport EINPROGRESS, errno
from libc.string cimport memcpy, memset, strerror

from gateway.connection._edge cimport Edge
from gateway.connection._sockets cimport Endpoint, Poller, SocketTransport, start

cdef extern from "<sys/socket.h>" nogil:
    cdef struct sockaddr:
        pass
    int c_socket "socket"(int family, int kind, int protocol)
    int c_connect "connect"(int fd, const sockaddr* address, unsigned int size)
    int setsockopt(int fd, int level, int option, const void* value, unsigned int size)
    int SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY

cdef extern from "<netdb.h>" nogil:
    cdef struct addrinfo:
        int ai_flags
        int ai_family
        int ai_socktype
        unsigned int ai_addrlen
        sockaddr* ai_addr
    int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found)
    void freeaddrinfo(addrinfo* found)
    const char* gai_strerror(int problem)
    int AI_NUMERICHOST, AI_NUMERICSERV


cdef class SocketAddress:
    """An IP address and a port, as the system has them.  Raises OSError for what is no IP address."""

    def __init__(self, str ip not None, int port):
        cdef addrinfo hints
        cdef addrinfo* found
        cdef bytes host = ip.encode(), service = str(port).encode()
        cdef int problem
        memset(&hints, 0, sizeof(hints))
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV    # so nobody is asked
        hints.ai_socktype = SOCK_STREAM
        problem = getaddrinfo(host, service, &hints, &found)
        if problem:
            raise OSError(f"{ip}: {gai_strerror(problem).decode()}")
        self.family = found.ai_family
        self.size = min(<unsigned int>found.ai_addrlen, <unsigned int>sizeof(self.bytes))
        memcpy(self.bytes, found.ai_addr, self.size)
        freeaddrinfo(found)


def connect(Edge edge not None, Endpoint endpoint not None, SocketAddress where not None):
    """Begin an endpoint's life at a socket that is being connected.

    Raises OSError when that fails at once; the endpoint has heard nothing then.  Later, it hears that it is
    lost.
    """
    cdef SocketTransport transport
    cdef int yes = 1
    cdef int fd = c_socket(where.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        raise OSError(errno, strerror(errno).decode())
    transport = SocketTransport.__new__(SocketTransport)
    transport.fd = fd                               # closed with the transport should anything fail
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes))
    if c_connect(fd, <const sockaddr*>where.bytes, where.size) < 0 and errno != EINPROGRESS:
        raise OSError(errno, strerror(errno).decode())
    if edge.outbound is None:
        edge.outbound = Poller(edge, edge.loop)
    start(edge.outbound, transport, endpoint)
