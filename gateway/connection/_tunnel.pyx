"""A tunnel: a client's WebSocket and an upstream's, joined; bytes go from one to the other as they came.

What a client masked stays masked, since to its upstream the gateway is a client.  So nothing is decoded or
put together again; each direction is followed by a `FrameWalker`, which stops what breaks a rule and tells
where a frame of the gateway's own may stand: a ping to who is silent, a close frame when the other end went
without one.  Both ends are endpoints of the edge's sockets, or protocols of a transport of the loop's
(TLS).  It knows nothing of HTTP: whoever joins the two has seen to both handshakes.

What always holds:

* bytes of one direction leave in order, and no frame is put into another;
* who does not read is not read for: while an end is blocked, nothing is read from the other;
* when one end goes, the other hears of it by a close frame if none was passed to it, and both are gone after
  at most the close timeout;
* the owner hears once of each end that it is over, after everything else; no exception leaves a protocol
  callback.
"""
from asyncio import BufferedProtocol
from os import urandom

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from gateway import closecodes
from gateway._encode cimport encode_close, encode_frame
from gateway.connection._edge cimport Edge
from gateway.connection._ending cimport CLOSED, CLOSING, OPEN, OPENING, Ending
from gateway.connection._walker cimport FrameWalker

cdef enum:
    PING = 9
    EARLY_BYTES = 65536     # of a client that cannot wait, about; then it is not read from

cdef int GOING_AWAY = closecodes.GOING_AWAY
cdef int SERVICE_RESTART = closecodes.SERVICE_RESTART
cdef int POLICY_VIOLATION = closecodes.POLICY_VIOLATION
cdef int OVER_CAPACITY = closecodes.OVER_CAPACITY
cdef int RATE_LIMITED = closecodes.RATE_LIMITED
cdef int DRAIN = closecodes.DRAIN
cdef int INTERNAL_ERROR = closecodes.INTERNAL_ERROR


cdef class TunnelEnd(Ending, BufferedProtocol):
    """One socket of a tunnel.

    Its `owner` joins the ends.  Before that it is told what an upstream says (`heard(bytes)`) and of an end
    that is not joined after `patience_s` (`late(end)`): of a client's, and of an upstream's that is not even
    connected.  When an end is gone it is told (`over(end)`).
    """

    def __init__(self, Edge edge not None, owner not None, *, bint client, double patience_s):
        self.edge = edge
        self.owner = owner
        self.client = client
        self.patience = patience_s

    # -- what the loop calls ------------------------------------------------------------

    def connection_made(self, transport):
        """Begin at a transport of the loop's: an upstream's under TLS."""
        transport.set_write_buffer_limits(high=1, low=0)
        self.began(transport, -1)

    cdef int began(self, object transport, int fd) except -1:
        self.transport = transport
        self.fd = fd
        self.direct = fd >= 0
        return self.attached()

    def take_over(self, connection, transport, int fd, bytes early not None):
        """Begin where a connection left, with its transport and what came behind its request."""
        self.transport = transport
        self.fd = fd
        self.direct = fd >= 0
        if self.edge.admission is not None:
            self.edge.admission.move(connection, self)
        self.early = bytearray(early) if early else None
        self.edge.connections.add(self)
        transport.set_protocol(self)
        self.attached()

    cdef int attached(self) except -1:
        self.opened_at = self.last_heard = self.edge.loop.time()
        self.deadline = self.opened_at + self.patience
        return self.schedule(self.deadline)

    def get_buffer(self, sizehint):
        """Lend the loop the one read buffer."""
        return self.edge.read_view

    def buffer_updated(self, nbytes):
        """Handle what was read into the shared buffer."""
        self.received(nbytes)

    cdef int received(self, size_t n) except -1:
        cdef Edge edge = self.edge
        try:
            self.heard = True
            if self.client:
                edge.stats.bytes_in += n
            if self.state == OPEN:
                self.pass_on(edge.read_at, n)
            elif self.state == OPENING and self.client:
                self.keep_early(edge.read_at, n)
            elif self.state == OPENING:
                self.owner.heard(PyBytes_FromStringAndSize(edge.read_at, n))
            elif self.state == CLOSING and not self.closed and self.walker is not None:
                self.pass_last_frame(edge.read_at, n)
                if self.walker.closed:
                    self.linger()                   # the answer to our close frame
        except Exception:
            self.fail("received")
        return 0

    cdef int keep_early(self, const char* data, size_t n) except -1:
        """Keep what a client says before its upstream is there; then read no more, for a time."""
        if self.early is None:
            self.early = bytearray()
        self.early += data[:n]
        if len(self.early) >= EARLY_BYTES:
            self.stop_reading()
        return 0

    def eof_received(self):
        """The peer sends nothing more: have the transport closed."""
        return False

    def pause_writing(self):
        """The peer does not read: read nothing for it."""
        self.blocked = True
        try:
            if self.other is not None:
                self.other.stop_reading()
        except Exception:
            self.fail("pause_writing")

    def resume_writing(self):
        """The peer reads again."""
        self.blocked = False
        self.heard = True
        try:
            if self.other is not None and self.state == OPEN:
                self.other.read_again()
        except Exception:
            self.fail("resume_writing")

    def connection_lost(self, exc):
        """The socket is gone: the other end hears of it."""
        cdef Edge edge = self.edge
        cdef TunnelEnd other = self.other
        cdef bint passing = self.state == OPEN
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.closed = True
        self.fd = -1
        try:
            edge.wheel.remove(self)
            if other is not None:
                other.other_gone = True
                if passing:
                    other.left_alone(self.walker)
                elif other.farewell is not None:
                    other.abort()                   # in the midst of a frame that will not end
                elif other.state == OPEN:
                    other.part()
            if self.client:
                edge.left(self)
                edge.stats.closed += 1
                if self.walker is not None:
                    cut_off = passing and not self.walker.closed
                    code = closecodes.ABNORMAL if cut_off else self.walker.close_code
                    edge.stats.count(edge.stats.closes, code)
            self.owner.over(self)
        except Exception:
            edge.log.exception("connection_lost", extra={"remote": self.remote})
        self.transport = self.other = self.owner = self.early = self.meter = None

    def fail(self, str where):
        """Something of ours raised: log it, and drop both ends."""
        self.edge.log.exception("internal error in %s", where, extra={"remote": self.remote})
        self.abort()

    # -- what whoever makes the tunnel calls --------------------------------------------

    def refuse(self, bytes response not None):
        """Answer the client's request by HTTP, and hang up."""
        if self.state == OPENING and self.transport is not None:
            self.transport.write(response)
            self.linger()

    def say(self, bytes data not None):
        """Send bytes to an upstream before the ends are joined: the gateway's handshake."""
        if self.state == OPENING:
            self.push(PyBytes_AS_STRING(data), len(data))

    def tunnel(self, TunnelEnd upstream not None, owner not None, bytes response not None,
               bytes upstream_early not None, *, int rsv):
        """Join the client's end with an upstream's: answer its request, and let frames pass.

        From now on `owner` hears of both.  `upstream_early` is what came behind the head of the upstream's
        answer.  `rsv` are the reserved bits of the extensions agreed on.
        """
        self.owner = upstream.owner = owner
        early, self.early = self.early, None
        self.walker = FrameWalker(masked=True, rsv=rsv, max_message_bytes=self.edge.max_message_bytes,
                                  max_fragments=self.edge.max_fragments)
        upstream.walker = FrameWalker(masked=False, rsv=rsv)
        self.push(PyBytes_AS_STRING(response), len(response))
        self.edge.stats.opened += 1
        self.join(upstream)
        upstream.join(self)
        if upstream_early and upstream.state == OPEN:
            upstream.pass_on(PyBytes_AS_STRING(upstream_early), len(upstream_early))
        if early and self.state == OPEN:
            self.pass_on(PyByteArray_AS_STRING(early), len(early))
        if self.state == OPEN and not upstream.blocked:
            self.read_again()
        if upstream.state == OPEN and self.blocked:
            upstream.stop_reading()

    cdef int join(self, TunnelEnd other) except -1:
        cdef double now = self.edge.loop.time()
        self.other = other
        self.state = OPEN
        self.deadline = 0
        self.last_heard = now
        self.next_ping = now + self.edge.ping_interval
        return self.schedule(self.next_ping)

    @property
    def is_relayed(self):
        """Whether it is joined, so that its client is that of another service."""
        return self.state == OPEN

    def close(self, int code, str reason):
        """Begin the closing handshake at both ends.  Idempotent.

        The client is told `code`, but for those of Ringgate's own that a client of another service does not
        know: 1012 for that of a gateway that stops, 1008 for those of limits.  The upstream is told 1001.
        """
        if code == DRAIN:
            code = SERVICE_RESTART
        elif code == OVER_CAPACITY or code == RATE_LIMITED:
            code = POLICY_VIOLATION
        if self.state == OPENING:
            self.abort()
        elif self.state == OPEN:
            other = self.other
            self.say_close(code, reason.encode())
            if other is not None:
                (<TunnelEnd>other).say_close(GOING_AWAY, reason.encode())

    # -- bytes --------------------------------------------------------------------------

    cdef int pass_on(self, const char* data, size_t n) except -1:
        """Give the other end what came, as far as it goes."""
        cdef FrameWalker walker = self.walker
        cdef TunnelEnd other = self.other
        cdef uint64_t messages = walker.messages, pings = walker.pings
        cdef uint64_t begun = walker.begun, begun_bytes = walker.begun_bytes
        cdef size_t rest
        cdef int wrong
        if other is not None and other.farewell is not None:
            return self.pass_last_frame(data, n)
        if self.meter is not None and 0 < walker.left < n:
            rest = walker.left                      # of a frame that was paid for when it began
            self.pass_on(data, rest)
            return self.pass_on(data + rest, n - rest) if self.state == OPEN else 0
        wrong = walker.walk(<const unsigned char*>data, n)
        if other is None or other.state != OPEN:
            return 0
        if self.meter is not None and walker.begun_bytes != begun_bytes:
            if not self.is_allowed(walker.begun - begun, walker.begun_bytes - begun_bytes):
                walker.left = 0                     # nothing of what began goes out
                return self.broke_a_rule(POLICY_VIOLATION, b"too many messages")
        if self.client:
            self.edge.stats.messages_in += walker.messages - messages
        else:
            self.edge.stats.messages_out += walker.messages - messages
            other.walker.owed += walker.pings - pings
        if walker.carried:
            other.push(<const char*>walker.head_sent, walker.carried)
        if walker.good:
            other.push(data, walker.good)
        if wrong:
            if self.client:
                self.edge.broken(wrong, self.remote)
            return self.broke_a_rule(wrong, b"")
        if walker.closed:
            return self.closing()
        return 0

    cdef bint is_allowed(self, size_t messages, size_t n_bytes) except -1:
        return self.meter.take(messages, n_bytes)

    cdef int pass_last_frame(self, const char* data, size_t n) except -1:
        """Follow what comes after goodbye; the rest of a frame that the other waits for still goes there."""
        cdef FrameWalker walker = self.walker
        cdef TunnelEnd other = self.other
        if other is not None and other.farewell is not None and other.state == OPEN:
            walker.one_frame = True
            walker.walk(<const unsigned char*>data, n)
            walker.one_frame = False
            other.push(data, walker.good)
            data, n = data + walker.seen, n - walker.seen
            if walker.closed:
                other.farewell = None               # that frame was a goodbye itself
                other.linger()
            elif walker.at_boundary():
                other.part()
        walker.walk(<const unsigned char*>data, n)
        return 0

    cdef int closing(self) except -1:
        """A close frame was passed on: the second ends both, the first has to be answered in time."""
        cdef TunnelEnd other = self.other
        if other.walker.closed:
            self.linger()
            return other.linger()
        self.deadline = other.deadline = self.edge.loop.time() + self.edge.close_timeout
        self.schedule(self.deadline)
        return other.schedule(other.deadline)

    cdef int broke_a_rule(self, int code, bytes reason) except -1:
        """Tell who broke it, then the other end."""
        cdef TunnelEnd other = self.other
        self.lingers = True                         # what follows cannot be understood
        self.say_close(code, reason)
        if other is not None:
            other.say_close(GOING_AWAY if self.client else SERVICE_RESTART, b"")
        return 0

    cdef int say_close(self, int code, bytes reason) except -1:
        """Send a close frame as soon as one may stand there, unless one did already; then let this end go."""
        if self.state != OPEN:
            return 0
        if self.other is not None and self.other.walker.closed:
            return self.linger()
        self.farewell = encode_close(code, reason, None if self.client else urandom(4))
        if self.client:
            self.edge.stats.count(self.edge.stats.closes, code)
        if self.other is None or self.other.walker.at_boundary():
            return self.part()
        self.deadline = self.edge.loop.time() + self.edge.close_timeout
        return self.schedule(self.deadline)

    cdef int part(self) except -1:
        """Say goodbye, and take nothing more."""
        farewell, self.farewell = self.farewell, None
        self.state = CLOSING
        if farewell is not None and not self.closed:
            self.push(PyBytes_AS_STRING(farewell), len(farewell))
        if self.other is None or self.other.farewell is None or not self.other.blocked:
            self.read_again()
        self.deadline = self.edge.loop.time() + self.edge.close_timeout
        self.schedule(self.deadline)
        if self.other_gone or self.lingers:
            return self.linger()
        return 0

    def left_alone(self, FrameWalker walker not None):
        """The other end is gone; `walker` followed what it sent."""
        if self.state != OPEN:
            if self.state == CLOSING:
                self.linger()
            return
        if walker.closed:
            self.linger()
        elif walker.at_boundary():
            self.say_close(SERVICE_RESTART if self.client else GOING_AWAY, b"")
            if self.edge.stopped:
                self.abort()
        else:
            self.abort()                            # nothing can be said in the midst of a frame

    # -- timers -------------------------------------------------------------------------

    def visit(self, double now):
        """Look after this end; called by the one timer of all connections."""
        try:
            if self.state == OPEN:
                self.visit_passing(now)
            elif self.state != CLOSED and now < self.deadline:
                self.schedule(self.deadline)
            elif self.state == OPENING:
                if self.client or self.blocked:     # blocked: the handshake waits for the connection
                    self.owner.late(self)
            elif self.state != CLOSED:
                self.abort()
        except Exception:
            self.fail("visit")

    cdef int visit_passing(self, double now) except -1:
        cdef Edge edge = self.edge
        cdef bytes ping
        # Who is not read from for the other's sake cannot be heard.
        if self.heard or self.reading_paused or self.is_reading():
            self.heard = False
            self.last_heard = now
        if now - self.last_heard >= edge.idle_timeout or self.deadline and now >= self.deadline:
            self.abort()
            return 0
        if now >= self.next_ping:
            self.next_ping = now + edge.ping_interval
            if not self.blocked and self.other.walker.at_boundary() and not self.other.walker.closed:
                self.walker.owed += 1
                ping = encode_frame(PING, b"", True, False, None if self.client else urandom(4))
                self.push(PyBytes_AS_STRING(ping), len(ping))
        due = min(self.next_ping, now + edge.idle_timeout / 4)
        return self.schedule(min(due, self.deadline) if self.deadline else due)
