"""The edge: what the connections of one event loop share.

One read buffer, one place where the answers of one read are gathered, one timer, the counters, and
the bounds.  It knows connections only as things that are visited, closed and aborted.
"""
import logging
from random import random

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdlib cimport free, realloc

from gateway.connection._wheel cimport TimerWheel

from gateway import closecodes
from gateway.deflate import Deflater, Inflater

cdef enum:
    OUT_BYTES = 65536           # the least memory for gathered answers

cdef int TOO_BIG = closecodes.MESSAGE_TOO_BIG
cdef int TOO_MANY = closecodes.POLICY_VIOLATION      # of frames: fragments


cdef class EdgeStats:
    """Counters of all connections of one gateway, in messages and bytes; never reset."""

    def __cinit__(self):
        self.refusals = {}
        self.closes = {}

    def count_refusal(self, str label):
        """Count a handshake that was refused."""
        self.count(self.refusals, label)

    cdef int count(self, dict counts, object label) except -1:
        counts[label] = counts.get(label, 0) + 1
        return 0


cdef class Edge:
    """What the connections of one event loop share.

    `protocol` makes a connection of this edge (`_connection.Connection`).  `routes` maps a path to its
    RouteOptions, `factories` the same path to the HandlerFactory of its connections, or to None for
    echo.  `passages` maps a path to whatever takes its connections, without a factory.
    `options` is an EdgeOptions, `admission` an `admission.Admission` or None.
    """

    def __init__(
        self, *, loop, protocol, routes, factories, options, EdgeStats stats not None, passages=None,
        admission=None
    ):
        self.loop = loop
        self.protocol = protocol
        self.routes = routes
        self.factories = factories
        self.passages = passages or {}
        self.options = options
        self.stats = stats
        self.admission = admission
        self.connections = set()
        self.deflaters = {}
        self.wheel = TimerWheel(now=loop.time())
        self.log = logging.getLogger("gateway.edge")
        self.read_buffer = bytearray(options.read_buffer_bytes)
        self.read_view = memoryview(self.read_buffer)
        self.read_at = PyByteArray_AS_STRING(self.read_buffer)
        self.read_bytes = len(self.read_buffer)
        self.handshake_timeout = options.handshake_timeout
        self.message_timeout = options.message_timeout
        self.ping_interval = options.ping_interval
        self.idle_timeout = options.idle_timeout
        self.close_timeout = options.close_timeout
        self.max_missed_pings = options.max_missed_pings
        self.compression_threshold = options.compression_threshold
        self.max_connections = options.max_connections
        self.max_message_bytes = options.max_message_bytes
        self.max_fragments = options.max_fragments
        self._tick()

    def __dealloc__(self):
        free(self.out)

    def __call__(self):
        """Return the protocol of a connection that was just accepted."""
        return self.protocol(self)

    def _tick(self):
        now = self.loop.time()
        for connection in self.wheel.due(now):
            connection.visit(now)
        self.timer = self.loop.call_later(self.wheel.tick_s, self._tick)

    def change(self, *, routes, passages):
        """Use other routes and passages for those who come from now on; who is there stays."""
        self.routes = routes
        self.passages = passages or {}

    def drain(self, int code, str reason, double spread_s=0.0):
        """Let nobody in any more; send every open connection a close frame.

        Clients of other services are told so at random times within `spread_s`: no event of ours tells them
        when to come back, so they do it at once.
        """
        self.draining = True
        for connection in list(self.connections):
            if spread_s > 0 and connection.is_relayed:
                self.loop.call_later(random() * spread_s, connection.close, code, reason)
            else:
                connection.close(code, reason)

    def stop(self):
        """Drop what is left and end the timer."""
        self.draining = self.stopped = True
        for connection in list(self.connections):
            connection.abort()
        self.timer.cancel()
        if self.outbound is not None:
            self.outbound.close()

    cdef int reached(self, str limit, str who) except -1:
        """Tell that a bound was reached: its name, and the address of who reached it, if it was one."""
        if self.on_limit is not None:
            self.on_limit(limit, who)
        return 0

    cdef int broken(self, int code, str who) except -1:
        """Tell of the bound that was reached where frames are refused with a close code for that."""
        if code == TOO_BIG:
            return self.reached("message_bytes", who)
        return self.reached("fragments", who) if code == TOO_MANY else 0

    cdef int left(self, object connection) except -1:
        """Forget a connection whose socket is gone."""
        self.connections.discard(connection)
        if self.admission is not None:
            self.admission.leave(connection)
        if self.census is not None:
            self.census.tell(len(self.connections))
        return 0

    cdef object deflater(self, object parameters):
        """Return what compresses for a connection: one for all that keep no context, else one of its own."""
        bits = parameters.server_max_window_bits
        takeover = not parameters.server_no_context_takeover
        deflater = None if takeover else self.deflaters.get(bits)
        if deflater is None:
            deflater = Deflater(
                window_bits=bits,
                takeover=takeover,
                level=self.options.compression_level,
                mem_level=self.options.compression_memory,
            )
            if not takeover:
                self.deflaters[bits] = deflater
        return deflater

    cdef object inflater(self, object parameters):
        """Return what inflates for one connection."""
        return Inflater(
            window_bits=parameters.client_max_window_bits,
            takeover=not parameters.client_no_context_takeover,
        )

    cdef char* reserve(self, size_t n) except NULL:
        """Return where `n` more bytes of gathered answers can be written."""
        cdef size_t capacity = max(<size_t>OUT_BYTES, self.out_capacity)
        cdef char* out
        while capacity < self.out_bytes + n:
            capacity *= 2
        if capacity != self.out_capacity:
            out = <char*>realloc(self.out, capacity)
            if out == NULL:
                raise MemoryError
            self.out = out
            self.out_capacity = capacity
        return self.out + self.out_bytes
