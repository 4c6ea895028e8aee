# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The echo scenario: every connection sends messages and waits for them to come back.

Closed loop: each connection has `in_flight` messages on their way; those that one read brought back are
followed by as many in one send.  Open loop: messages leave at a rate, over the connections in turn.

What always holds: a message is counted as echoed once at most; an echo that is not byte for byte the message
that was next in order is counted as wrong.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from gateway._frames cimport BINARY, TEXT
from gateway.bench._load cimport READY, Load, Peer
from gateway.bench._payload cimport TAG_BYTES, Finder, Template

cdef enum:
    MAX_UNANSWERED = 1024       # of a connection in an open loop: beyond it, messages wait to be sent


cdef class EchoLoad(Load):
    """Echo over all connections that were added.  `wrong` counts echoes that differ from what was sent."""

    cdef readonly uint64_t wrong
    cdef Template _template
    cdef Finder _finder
    cdef int _opcode
    cdef uint64_t* _sent_ns             # MAX_UNANSWERED (or in_flight) times of each connection
    cdef uint64_t _window

    def __init__(self, bytes mark, *, size_t payload_bytes, bint binary=False, **options):
        Load.__init__(self, **options)
        self._template = Template(mark, payload_bytes)
        self._finder = Finder(mark)
        self._opcode = BINARY if binary else TEXT

    def __dealloc__(self):
        free(self._sent_ns)

    @property
    def outstanding(self):
        """How many messages did not come back yet."""
        cdef Peer peer
        cdef uint64_t count = 0
        for peer in self.peers:
            if peer.state == READY:
                count += peer.sent - peer.taken
        return count

    def begin(self, *, double seconds, uint64_t messages, uint64_t in_flight, double rate=0.0):
        """See Load; `in_flight` is meant for each connection."""
        cdef Peer peer
        free(self._sent_ns)
        self._window = MAX_UNANSWERED if rate else max(in_flight, 1)
        self._sent_ns = <uint64_t*>calloc(self._window * max(len(self.peers), 1), sizeof(uint64_t))
        if self._sent_ns == NULL:
            raise MemoryError
        for peer in self.peers:
            peer.first = peer.taken = peer.sent
            peer.due = 0 if rate else in_flight
        self.wrong = 0
        Load.begin(self, seconds=seconds, messages=messages, in_flight=in_flight, rate=rate)
        for peer in self.peers:
            self.on_read(peer)

    cdef void on_message(self, Peer peer, const char* data, size_t n) noexcept:
        cdef long long number = self._finder.find(data, n)
        cdef const char* filling = self._template.data + TAG_BYTES
        if number < <long long>peer.first or <uint64_t>number >= peer.sent:
            self._other(peer, data, n)
            return
        if (<uint64_t>number != peer.taken or n != self._template.data_bytes
                or memcmp(data + TAG_BYTES, filling, n - TAG_BYTES) != 0):
            self.wrong += 1
            if <uint64_t>number < peer.taken:
                return
        self.record(self._sent_ns[peer.index * self._window + <uint64_t>number % self._window])
        peer.taken = <uint64_t>number + 1
        self.completed += 1
        if not self._interval_ns:
            peer.due += 1

    cdef void on_read(self, Peer peer) noexcept:
        while peer.due and self.may_send():
            peer.due -= 1
            self._send(peer, self._now_ns)
        self.flush(peer)

    cdef void on_batch(self) noexcept:
        cdef uint64_t meant_ns
        cdef Peer peer
        if not self._interval_ns:
            return
        while self.may_send():
            meant_ns = self.intended_ns(self.sent)
            if meant_ns > self._now_ns:
                self.wake_at(meant_ns)
                return
            peer = <Peer>self.peers[self.sent % <uint64_t>len(self.peers)]
            if peer.state == READY and peer.sent - peer.taken >= self._window:
                return
            self._send(peer, meant_ns)
            self.flush(peer)

    cdef void _send(self, Peer peer, uint64_t meant_ns) noexcept:
        self.sent += 1
        if peer.state != READY:
            return
        self._sent_ns[peer.index * self._window + peer.sent % self._window] = meant_ns
        self._template.set_number(peer.sent)
        peer.sent += 1
        peer.add_frame(self._opcode, self._template.data, self._template.data_bytes)
