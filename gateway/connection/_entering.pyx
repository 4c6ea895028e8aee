"""How a client's socket comes in: from accept to the answer of its handshake.

It knows requests, routes and what becomes of those for whom there is no room; what is said after the
handshake is its subclass's (`_connection`).  A route may answer later (`wait_for`, then `admit` or
`turn_down`) or take the socket for itself (`hand_off`).

What always holds: a handshake is answered once, or has its deadline; who is turned away is told once it asks,
and soon.
"""
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy

from gateway._frames cimport new_decoder
from gateway.connection._edge cimport Edge
from gateway.connection._ending cimport CLOSED, OPEN, OPENING, Ending

from gateway.connection.accepted import Accepted
from gateway.connection.answers import Plain
from gateway.connection.handshake import head_is_decidable, respond, unavailable

cdef enum:
    WELCOME = 0         # as in admission.py
    FLOOD = 2
    EARLY_BYTES = 65536         # of a client that cannot wait, about; then it is not read from
    REFUSED_AT_A_TIME = 64      # connections that are told 503; beyond, they are dropped

cdef double TURN_AWAY_S = 1.0    # a connection without room that asks for nothing is told after this


cdef class Entering(Ending):
    """A connection until it is open."""

    cdef int began(self, object transport, int fd) except -1:
        """Begin: the handshake's deadline starts.  `fd` is -1 where everything goes through the transport."""
        cdef Edge edge = self.edge
        cdef Py_ssize_t over
        cdef int fate = WELCOME
        try:
            self.transport = transport
            self.fd = fd
            self.direct = fd >= 0
            self.opened_at = self.last_heard = edge.loop.time()
            edge.stats.accepted += 1
            edge.connections.add(self)
            self.deadline = self.opened_at + edge.handshake_timeout
            over = len(edge.connections) - edge.max_connections
            if edge.census is not None:
                over = max(over, edge.census.over(len(edge.connections)))
            if over > 0:
                edge.reached("connections", "")
            if edge.admission is not None:
                fate = edge.admission.arrive(self)
            if over > REFUSED_AT_A_TIME or fate == FLOOD:
                edge.stats.count(edge.stats.refusals, "flood")
                self.abort()
                return 0
            if edge.draining or over > 0 or fate != WELCOME:
                # It is told once it asks: nginx takes an answer that comes earlier for the next server's.
                self.turned_away = True
                self.deadline = self.opened_at + min(TURN_AWAY_S, edge.handshake_timeout)
            self.schedule(self.deadline)
        except Exception:
            self.fail("connection_made")
        return 0

    cdef int read_head(self, char* data, size_t n) except -1:
        cdef Edge edge = self.edge
        cdef size_t seen
        if self.turned_away:
            return self.turn_away()
        if self.handler is not None:                # its route is still asked
            self.head += data[:n]
            if len(self.head) >= EARLY_BYTES:
                self.stop_reading()
            return 0
        if self.head is None:
            answer = respond(data[:n], edge.routes)     # nearly always it comes whole
            if answer is None:
                self.head = bytearray(data[:n])
        else:
            seen = len(self.head)
            self.head += data[:n]
            if not head_is_decidable(self.head, seen):
                return 0
            answer = respond(self.head, edge.routes)
        if answer is None:
            return 0
        if edge.admission is not None and isinstance(answer, Accepted):
            answer = edge.admission.judge(self, answer.request) or answer
        if not isinstance(answer, Accepted):
            return self.refuse(answer)
        if self.head is None:
            return self.go_on(answer, data, n)
        received, self.head = self.head, None
        return self.go_on(answer, PyByteArray_AS_STRING(received), len(received))

    cdef int go_on(self, object accepted, char* data, size_t n) except -1:
        """Open, and read the frames that came behind the head of the request."""
        cdef size_t head_bytes = accepted.request.consumed
        passage = self.edge.passages.get(accepted.request.path) if self.edge.passages else None
        if passage is not None:
            if passage.keeps_connections:
                return self.wait_for(passage, accepted, data[head_bytes:n])
            return self.hand_off(passage, accepted, data[head_bytes:n])
        self.open(accepted, None)
        if head_bytes < n and self.state == OPEN:
            self.read_frames(data + head_bytes, n - head_bytes)
        return 0

    cdef int hand_off(self, object passage, object accepted, bytes early) except -1:
        """Leave the socket to a passage: this is no connection any more."""
        transport, self.transport, fd, self.fd = self.transport, None, self.fd, -1
        self.state, self.closed = CLOSED, True
        self.edge.wheel.remove(self)
        self.edge.connections.discard(self)
        passage.take(self, transport, fd, accepted, early)

    cdef int wait_for(self, object passage, object accepted, bytes early) except -1:
        """Leave the answer to a route, which calls `admit` or `turn_down` in a later turn of the loop."""
        self.head = bytearray(early)
        self.handler = passage.receive(self, accepted)

    def admit(self, accepted not None, handler not None):
        """Answer a handshake that waited; `handler` hears also of control frames.

        What the client said meanwhile is read before this returns.  Does nothing if the client is gone.
        """
        if self.state != OPENING or self.head is None:
            return
        try:
            early, self.head = self.head, None
            self.open(accepted, handler)
            self.read_again()
            if early and self.state == OPEN:
                self.read_frames(PyByteArray_AS_STRING(early), len(early))
        except Exception:
            self.fail("admit")

    def turn_down(self, bytes response not None):
        """Answer a handshake that waited by HTTP, and hang up; the handler hears nothing more."""
        if self.state == OPENING and self.transport is not None:
            self.handler = self.head = None
            self.transport.write(response)
            self.linger()

    cdef int open(self, object accepted, object handler) except -1:
        """Answer a handshake; `handler` is None where the route's factory makes it."""
        cdef Edge edge = self.edge
        cdef bytes response = accepted.response
        cdef double now = edge.loop.time()
        inflater = None
        if accepted.deflate is not None:
            inflater = edge.inflater(accepted.deflate)
            self.deflater = edge.deflater(accepted.deflate)
        self.decoder = new_decoder(edge.max_message_bytes, edge.max_fragments, inflater)
        self.state = OPEN
        edge.stats.opened += 1
        self.last_heard = now
        self.next_ping = now + edge.ping_interval
        self.deadline = 0
        # The wheel visits it when the handshake would have been late, soon enough for anything else.
        if self.next_visit(now) < self.opened_at + edge.handshake_timeout:
            self.schedule(self.next_visit(now))
        memcpy(edge.reserve(len(response)), PyBytes_AS_STRING(response), len(response))
        edge.out_bytes += len(response)
        self.gathering = self.corked = True
        try:
            if handler is not None:
                self.handler = handler
                self.relays = True
            else:
                factory = edge.factories[accepted.request.path]
                if factory is None:
                    self.echo = True
                else:
                    self.handler = factory(self, accepted)
        finally:
            self.gathering = False
            self.send_out()
        return 0

    cdef int turn_away(self) except -1:
        """Tell a peer for which there is no room."""
        admission = self.edge.admission
        return self.refuse(unavailable() if admission is None else admission.refusal(self))

    cdef int refuse(self, object refusal) except -1:
        """Send a complete HTTP answer and hang up."""
        cdef Edge edge = self.edge
        if not isinstance(refusal, Plain):
            edge.stats.count(edge.stats.refusals, refusal.reason_label)
        self.head = None
        self.transport.write(refusal.response)
        return self.linger()

    # -- what is a subclass's -------------------------------------------------------------

    def fail(self, str where):
        """Something of ours raised: see `Connection.fail`."""
        raise NotImplementedError

    cdef int read_frames(self, char* data, size_t n) except -1:
        raise NotImplementedError

    cdef double next_visit(self, double now) noexcept:
        return now
