"""The edge protocol: one client's socket, from accept to close.

A `Connection` is a uvloop BufferedProtocol: under TLS of a transport of the loop's, else of one of
`_sockets`.  All connections of a loop read into one buffer and gather their answers in one other, so an
idle connection holds neither.  How one comes in is in `_entering`.  It knows frames; channels and
sessions are its handler's.

What always holds:

* bytes leave in order: answers gathered during a read leave before anything a ring
  sends (`corked`), and once the transport holds bytes (`blocked`) everything goes
  behind them, or stays where it is;
* while the peer does not read, nothing is read from it: what was read already and not
  decoded waits in `stalled`;
* after a close frame nothing is sent; every closing has a deadline;
* no exception leaves a protocol callback;
* the handler hears on_close once, and nothing after it.
"""
from asyncio import BufferedProtocol

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from gateway import closecodes
from gateway._encode cimport encode_close
from gateway._frames cimport BINARY, CLOSE, NEED_DATA, PING, PONG, TEXT, Decoder
from gateway.connection._edge cimport Edge
from gateway.connection._ending cimport CLOSED, CLOSING, LINGERING, OPEN, OPENING
from gateway.connection._entering cimport Entering

cdef enum:
    MOST_CONTROL_BYTES = 125    # RFC 6455 section 5.5

cdef int NO_STATUS = closecodes.NO_STATUS
cdef int INTERNAL_ERROR = closecodes.INTERNAL_ERROR
cdef int SERVICE_RESTART = closecodes.SERVICE_RESTART
cdef int DRAIN = closecodes.DRAIN
cdef int POLICY_VIOLATION = closecodes.POLICY_VIOLATION
cdef int OVER_CAPACITY = closecodes.OVER_CAPACITY
cdef int RATE_LIMITED = closecodes.RATE_LIMITED


cdef class Connection(Entering, BufferedProtocol):
    """One client's connection: handshake, frames, keep-alive, closing.  See `interface.Connection`."""

    def __init__(self, Edge edge not None):
        self.edge = edge

    # -- what the loop calls ------------------------------------------------------------

    def connection_made(self, transport):
        """Begin at a transport of the loop's."""
        try:
            # Blocked from the first byte that waits.  TLS counts "at least", and with 0 would never rest.
            plain = transport.get_extra_info("ssl_object") is None
            transport.set_write_buffer_limits(high=0 if plain else 1, low=0)
            self.began(transport, transport.get_extra_info("socket").fileno() if plain else -1)
        except Exception:
            self.fail("connection_made")

    def get_buffer(self, sizehint):
        """Lend the loop the one read buffer."""
        return self.edge.read_view

    def buffer_updated(self, nbytes):
        """Handle what was read into the shared buffer."""
        self.received(nbytes)

    cdef int received(self, size_t n) except -1:
        cdef Edge edge = self.edge
        try:
            edge.stats.bytes_in += n
            self.heard = True
            if self.state == OPEN or self.state == CLOSING:
                self.read_frames(edge.read_at, n)
            elif self.state == OPENING:
                self.read_head(edge.read_at, n)
        except Exception:
            self.fail("buffer_updated")
        return 0

    def eof_received(self):
        """The peer sends nothing more: have the transport closed."""
        return False

    def pause_writing(self):
        """The peer does not read: send nothing more, and read nothing more from it."""
        self.blocked = True
        if self.state == OPEN:
            self.stop_reading()

    def resume_writing(self):
        """The peer reads again: first what is owed, then the rings, then its own commands."""
        self.blocked = False
        self.heard = True                           # who reads is alive
        try:
            if self.state == OPEN and self.pong is not None:
                pong, self.pong = self.pong, None
                self.write(PONG, PyBytes_AS_STRING(pong), len(pong), False)
            if self.state == OPEN and self.handler is not None and not self.blocked:
                self.handler.on_writable()
            self.read_on()
        except Exception:
            self.fail("resume_writing")

    def connection_lost(self, exc):
        """The socket is gone."""
        cdef Edge edge = self.edge
        self.closed = True
        if self.state != CLOSED:
            try:
                self.tell_closed(closecodes.ABNORMAL, "")
            except Exception:
                edge.log.exception("connection_lost", extra={"remote": self.remote})
            self.state = CLOSED
        edge.wheel.remove(self)
        edge.left(self)
        edge.stats.closed += 1
        self.fd = -1
        self.handler = self.transport = self.decoder = self.deflater = None
        self.stalled = self.pong = None
        self.head = None

    def fail(self, str where):
        """Something of ours raised: log it, tell the peer 1011, let nobody else notice."""
        self.edge.log.exception("internal error in %s", where, extra={"remote": self.remote})
        try:
            if self.state == OPEN:
                self.start_closing(INTERNAL_ERROR, b"internal error", CLOSING)
            elif self.state == OPENING or self.state == CLOSING:
                self.abort()
        except Exception:
            self.abort()

    cdef int read_on(self) except -1:
        """Go on where reading was left, unless the peer must read first or the handler is not ready."""
        cdef bytes stalled
        if self.state == OPEN and self.stalled is not None and not self.blocked and not self.held:
            stalled, self.stalled = self.stalled, None
            data = bytearray(stalled)
            self.read_frames(PyByteArray_AS_STRING(data), len(data))
        return 0 if self.blocked or self.held else self.read_again()

    # -- what the handler calls ---------------------------------------------------------

    def hold(self):
        """Read no more messages until `release`.  Idempotent."""
        if self.state == OPEN and not self.held:
            self.held = True
            self.stop_reading()

    def release(self):
        """Go on, in a later turn of the loop.  Idempotent."""
        if self.held:
            self.held = False
            self.heard = True                       # it was not the peer who was silent
            self.edge.loop.call_soon(self.released)

    def released(self):
        """Read again what comes."""
        try:
            if self.deadline and not self.held:
                self.deadline = self.edge.loop.time() + self.edge.message_timeout
            self.read_on()
        except Exception:
            self.fail("released")

    def send(self, int opcode, bytes payload not None):
        """Send one message; see `interface.Connection`."""
        cdef bytes data
        if self.state != OPEN or self.closed:
            return
        self.edge.stats.messages_out += 1
        self.edge.stats.message_bytes_out += len(payload)
        if self.deflater is not None and <size_t>len(payload) >= self.edge.compression_threshold:
            data = self.deflater.deflate(payload)
            self.write(opcode, PyBytes_AS_STRING(data), len(data), True)
        else:
            self.write(opcode, PyBytes_AS_STRING(payload), len(payload), False)

    def send_control(self, int opcode, bytes payload not None):
        """Send a ping or a pong of at most 125 bytes; see `interface.Connection`."""
        if self.state == OPEN and not self.closed and len(payload) <= MOST_CONTROL_BYTES:
            self.write(opcode, PyBytes_AS_STRING(payload), len(payload), False)

    def close(self, int code, str reason):
        """Begin the closing handshake.  Idempotent.

        Another service's client does not know Ringgate's own codes: it is told 1012 for that of a gateway
        that stops, 1008 for those of limits.
        """
        if self.relays:
            if code == DRAIN:
                code = SERVICE_RESTART
            elif code == OVER_CAPACITY or code == RATE_LIMITED:
                code = POLICY_VIOLATION
        if self.state == OPEN:
            self.start_closing(code, reason.encode(), CLOSING)
        elif self.state == OPENING:
            self.abort()

    @property
    def is_relayed(self):
        """Whether it is open, and its client that of another service."""
        return self.relays and self.state == OPEN

    @property
    def shared_deflater(self):
        """What compresses for all connections that keep no context; None with a context, or uncompressed.

        Where a context is kept, messages of somebody else's compressor would disturb it.
        """
        deflater = self.deflater
        return deflater if deflater is not None and deflater in self.edge.deflaters.values() else None

    # -- frames in ----------------------------------------------------------------------

    cdef int read_frames(self, char* data, size_t n) except -1:
        """Decode what was read; gather the answers, and send them in one piece at the end."""
        cdef Decoder decoder = self.decoder
        cdef int kind = NEED_DATA
        cdef bint taken = False
        self.gathering = True
        try:
            decoder.feed(data, n)
            while True:
                if (self.blocked or self.held) and self.state == OPEN:
                    if decoder._at != decoder._end:
                        self.stalled = PyBytes_FromStringAndSize(decoder._at, decoder._end - decoder._at)
                        decoder.feed(NULL, 0)
                    break
                kind = decoder.next()
                if kind == NEED_DATA:
                    break
                if kind == TEXT or kind == BINARY:
                    taken = True
                    if self.state == OPEN:
                        self.take_message(kind)
                elif kind == PING:
                    if self.state == OPEN:
                        if self.blocked:
                            self.pong = decoder.payload[:decoder.payload_bytes]
                        else:
                            self.write(PONG, decoder.payload, decoder.payload_bytes, False)
                        if self.relays:
                            self.handler.on_control(PING, decoder.payload[:decoder.payload_bytes])
                elif kind == PONG:
                    self.pings_unanswered = 0
                    self.edge.stats.pongs_in += 1
                    if self.relays and self.state == OPEN:
                        self.handler.on_control(PONG, decoder.payload[:decoder.payload_bytes])
                elif kind == CLOSE:
                    if self.relays and self.state == OPEN:
                        self.handler.on_goodbye(decoder.close_code, decoder.close_reason)
                    self.answer_close(decoder.close_code, decoder.close_reason)
                    break
                else:
                    if self.state == OPEN:
                        self.edge.broken(decoder.close_code, self.remote)
                        self.start_closing(decoder.close_code, decoder.close_reason, LINGERING)
                    self.linger()
                    break
        finally:
            self.gathering = False
            if self.corked:
                self.send_out()
        if self.state == OPEN:
            if not decoder.in_message:
                self.deadline = 0
            elif taken or self.deadline == 0:
                self.deadline = self.edge.loop.time() + self.edge.message_timeout
                self.schedule(self.next_visit(self.edge.loop.time()))
        return 0

    cdef int take_message(self, int opcode) except -1:
        cdef Edge edge = self.edge
        cdef Decoder decoder = self.decoder
        cdef size_t n = decoder.payload_bytes
        edge.stats.messages_in += 1
        edge.stats.message_bytes_in += n
        if not self.echo:
            self.handler.on_message(opcode, PyBytes_FromStringAndSize(decoder.payload, n))
        elif self.deflater is not None:
            self.send(opcode, PyBytes_FromStringAndSize(decoder.payload, n))
        else:
            edge.stats.messages_out += 1
            edge.stats.message_bytes_out += n
            self.write(opcode, decoder.payload, n, False)
        return 0

    # -- as a sink ----------------------------------------------------------------------

    cdef int too_slow(self, object cursor) except -1:
        # The hub may be in the midst of a flush: it is told in a later turn of the loop.
        self.closed = True
        self.edge.loop.call_soon(self.close_slow)
        return 0

    def close_slow(self):
        """Close because a ring had to go on without this connection."""
        if self.state == OPEN:
            self.closed = False                     # the close frame may still be sent
            self.close(closecodes.SLOW_CONSUMER, "slow consumer")

    # -- closing ------------------------------------------------------------------------

    cdef int answer_close(self, int code, bytes reason) except -1:
        """The peer sent a close frame: answer it (RFC 6455 section 5.5.1), then hang up."""
        if self.state == OPEN:
            self.start_closing(code, b"", LINGERING)
        return self.linger()

    cdef int start_closing(self, int code, bytes reason, int state) except -1:
        """Send a close frame with `code` (none for NO_STATUS); nothing may be sent after it."""
        cdef Edge edge = self.edge
        cdef bytes frame = encode_close(code, reason) if code != NO_STATUS else b"\x88\x00"
        edge.stats.count(edge.stats.closes, code)
        self.state = state
        self.held = False
        self.stalled = self.pong = None
        if self.corked:
            self.send_out()
        self.push(PyBytes_AS_STRING(frame), len(frame))
        self.closed = True
        self.deadline = edge.loop.time() + edge.close_timeout
        self.schedule(self.deadline)
        self.read_again()
        return self.tell_closed(code, reason.decode("utf-8", "replace"))

    cdef int tell_closed(self, int code, str reason) except -1:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_close(code, reason)
        return 0

    # -- timers -------------------------------------------------------------------------

    def visit(self, double now):
        """Look after this connection; called by the one timer of all."""
        try:
            if self.state == OPEN:
                self.visit_open(now)
            elif self.state != CLOSED:
                if now >= self.deadline:
                    if self.turned_away and self.state == OPENING:
                        self.turn_away()
                        return
                    if self.state == OPENING:
                        self.edge.stats.count(self.edge.stats.refusals, "timeout")
                    self.abort()
                else:
                    self.schedule(self.deadline)
        except Exception:
            self.fail("visit")

    cdef int visit_open(self, double now) except -1:
        cdef Edge edge = self.edge
        if self.heard or self.held or self.is_reading():
            self.heard = False
            self.last_heard = now
        if (now - self.last_heard >= edge.idle_timeout
                or now >= self.next_ping and self.pings_unanswered >= edge.max_missed_pings):
            return self.start_closing(closecodes.NO_PONG, b"nothing heard", CLOSING)
        if self.deadline and now >= self.deadline and not self.held:
            return self.start_closing(closecodes.POLICY_VIOLATION, b"a message took too long", CLOSING)
        if now >= self.next_ping:
            self.next_ping = now + edge.ping_interval
            if not self.blocked and not self.held:
                self.pings_unanswered += 1
                edge.stats.pings_out += 1
                self.write(PING, "", 0, False)
        return self.schedule(self.next_visit(now))

    cdef double next_visit(self, double now) noexcept:
        cdef double due = min(self.next_ping, now + self.edge.idle_timeout / 4)
        return min(due, self.deadline) if self.deadline else due
