"""What a connection sends: frames gathered while a read is handled, and bytes through its socket.

It knows the edge's memory for answers and a transport, and by it the peer's address; nothing of handshakes,
of what comes in, or of when a connection ends.

What always holds: bytes leave in order.  What is gathered (`corked`) leaves before anything a ring sends, and
once the transport holds bytes (`blocked`) everything goes behind them.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free
from libc.string cimport memcpy

from gateway._encode cimport write_header
from gateway._sink cimport ssize, unacknowledged
from gateway.connection._edge cimport Edge
from gateway.connection._sockets cimport Endpoint

cdef enum:
    OUT_BYTES = 65536           # gathered answers leave at this size at the latest
    OUT_KEPT_BYTES = 1 << 20    # memory for them is given back above this
    HEADER_BYTES = 10           # of a frame without a mask, at most


cdef class Outgoing(Endpoint):
    """The sending side of a connection."""

    def abort(self):
        """Drop the connection at once."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    @property
    def peername(self):
        """The other end of the socket as sockets have it; asked for when it is wanted."""
        return None if self.transport is None else self.transport.get_extra_info("peername")

    @property
    def remote(self):
        """The client's address: what proxies that are trusted say of it, else the peer's."""
        told = "" if self.edge.admission is None else self.edge.admission.remote(self)
        peer = told or self.peername
        if not isinstance(peer, tuple):
            return peer or ""
        return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"

    @property
    def address(self):
        """Under which name limits count the client; "" where nobody counts, or without an address."""
        return "" if self.edge.admission is None else self.edge.admission.key(self)

    @property
    def queued_bytes(self):
        """Bytes that wait behind the socket."""
        if self.transport is None or (self.direct and not self.blocked):
            return 0                                # a plain socket is blocked by the first byte that waits
        return self.transport.get_write_buffer_size()

    def send_many(self, int opcode, payloads):
        """Send several messages; see `interface.Connection`."""
        cdef bint gathering = self.gathering
        # Another connection's answers may stand in the shared memory: then each leaves by itself.
        self.gathering = gathering or self.edge.out_bytes == 0
        try:
            for payload in payloads:
                self.send(opcode, payload)
        finally:
            self.gathering = gathering
            if self.corked and not gathering:
                self.send_out()

    cdef int write(self, int opcode, const char* payload, size_t n, bint rsv1) except -1:
        """Send one frame, or gather it when a read is being handled."""
        cdef Edge edge = self.edge
        cdef char* at = edge.reserve(n + HEADER_BYTES)
        cdef size_t header_bytes = write_header(at, opcode, n, True, rsv1)
        memcpy(at + header_bytes, payload, n)
        if self.gathering:
            edge.out_bytes += header_bytes + n
            self.corked = True
            if edge.out_bytes >= OUT_BYTES:
                self.send_out()
            return 0
        # Another connection's answers may stand in front of ours in the shared memory.
        self.push(at, header_bytes + n)
        return 0

    cdef int push(self, const char* data, size_t n) except -1:
        """Send bytes now: through the socket, or behind what already waits for it."""
        cdef ssize taken = 0
        if self.closed or self.transport is None:
            return 0
        if not self.blocked and self.fd >= 0:
            taken = self.offer(data, n)
            if taken < 0:
                return self.broken()
        if <size_t>taken < n:
            self.hand_over(data + taken, n - taken)
        return 0

    cdef int send_out(self) except -1:
        """Send what this connection has gathered."""
        cdef Edge edge = self.edge
        cdef size_t n = edge.out_bytes
        self.corked = False
        edge.out_bytes = 0
        if n:
            self.push(edge.out, n)
        if edge.out_capacity > OUT_KEPT_BYTES:
            free(edge.out)
            edge.out = NULL
            edge.out_capacity = 0
        return 0

    cdef bint is_reading(self) except -1:
        """Tell whether a peer that we do not read from has taken some of what waits for it."""
        cdef size_t queued, before = self.queued_before
        if not self.blocked:
            self.queued_before = 0
            return False
        queued = self.transport.get_write_buffer_size() + unacknowledged(self.fd)
        self.queued_before = queued
        return queued < before

    # -- as a sink ----------------------------------------------------------------------

    cdef int hand_over(self, const char* data, size_t n) except -1:
        if self.transport is not None:
            self.transport.write(PyBytes_FromStringAndSize(data, n))
        return 0

    cdef int uncork(self) except -1:
        return self.send_out()

    cdef int broken(self) except -1:
        self.closed = True
        self.edge.loop.call_soon(self.abort)
        return 0
