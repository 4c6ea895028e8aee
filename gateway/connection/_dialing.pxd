# Connections that the gateway makes.  See _dialing.pyx.


cdef class SocketAddress:
    cdef unsigned char[28] bytes    # a sockaddr_in6 or a sockaddr_in
    cdef unsigned int size
    cdef int family
