# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The fan-out scenario: one publisher, many subscribers, and an account of every single delivery.

Message i goes to channel i modulo the number of channels, so a subscriber knows which number it sees next.
Where a subscriber has several channels, those of a group, groups take the place of channels in the account:
message i goes to group i modulo their number.
Closed loop: `in_flight` messages are published and not yet with all their subscribers.

What always holds: expected = delivered + lost, where `expected` is the sum of subscribers over all messages;
`doubled` were delivered once more than that; `reordered` are delivered ones that came after a later one.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from gateway._frames cimport BINARY, TEXT
from gateway.bench._load cimport READY, Load, Peer
from gateway.bench._payload cimport Finder, Template

cdef enum:
    MAX_UNDELIVERED = 1 << 16   # messages on their way at any time
    REMEMBERED = 64             # messages back for which a repetition is told from a late arrival


cdef bint _is_refusal(const char* data, size_t n) noexcept nogil:
    """Whether a piece of an HTTP answer begins with a status other than 200."""
    return n >= 12 and memcmp(data, b"HTTP/1.", 7) == 0 and memcmp(data + 8, b" 200", 4) != 0


cdef class FanoutLoad(Load):
    """Fan-out to all connections that were added, but the publisher.

    `templates` are the messages that publish to each of the channels.  With `raw` (the bare connection of
    an HTTP publisher) they are sent as they are, without a frame.  With `groups`, which divides the number
    of templates, a connection's `channel` is its group: channel i is of group i modulo `groups`.
    """

    cdef readonly uint64_t expected, delivered, doubled, reordered
    cdef list _templates
    cdef Finder _finder
    cdef Peer _publisher
    cdef bint _raw
    cdef int _opcode
    cdef uint32_t _channels             # those of the account: groups, where there are some
    cdef uint64_t* _subscribers         # of each channel
    cdef uint64_t* _sent_ns             # of each message on its way
    cdef uint64_t* _remaining           # its deliveries to come
    cdef uint64_t _base                 # number of the first message of this run
    cdef uint64_t _undelivered          # messages on their way

    def __init__(self, bytes mark, list templates, *, bint raw=False, bint binary=False, uint32_t groups=0,
                 **options):
        Load.__init__(self, **options)
        self._templates = templates
        self._finder = Finder(mark)
        self._raw = raw
        self._opcode = BINARY if binary else TEXT
        self._channels = groups or len(templates)
        self._subscribers = <uint64_t*>calloc(self._channels, sizeof(uint64_t))
        self._sent_ns = <uint64_t*>calloc(MAX_UNDELIVERED, sizeof(uint64_t))
        self._remaining = <uint64_t*>calloc(MAX_UNDELIVERED, sizeof(uint64_t))
        if self._subscribers == NULL or self._sent_ns == NULL or self._remaining == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self._subscribers)
        free(self._sent_ns)
        free(self._remaining)

    def publish_over(self, int index):
        """Make a connection that was added the publisher; no messages are expected on it."""
        self._publisher = self.peers[index]

    @property
    def outstanding(self):
        """How many deliveries are still to come."""
        return self.expected - self.delivered

    @property
    def lost(self):
        """How many deliveries did not come (while messages are on their way: yet)."""
        return self.expected - self.delivered

    def begin(self, *, double seconds, uint64_t messages, uint64_t in_flight, double rate=0.0):
        """See Load; `in_flight` is at most 65,536."""
        cdef Peer peer
        cdef uint32_t i
        self._base += self.sent
        self._base += (self._channels - self._base % self._channels) % self._channels
        self.expected = self.delivered = self.doubled = self.reordered = self._undelivered = 0
        for i in range(self._channels):
            self._subscribers[i] = 0
        for i in range(MAX_UNDELIVERED):
            self._remaining[i] = 0
        for peer in self.peers:
            if peer is not self._publisher and peer.state == READY:
                self._subscribers[peer.channel] += 1
                peer.taken = 0
                peer.received_mask = 0
        in_flight = MAX_UNDELIVERED if rate else min(max(in_flight, 1), <uint64_t>MAX_UNDELIVERED)
        Load.begin(self, seconds=seconds, messages=messages, in_flight=in_flight, rate=rate)

    cdef void on_message(self, Peer peer, const char* data, size_t n) noexcept:
        cdef long long number = self._finder.find(data, n) - <long long>self._base
        if peer is self._publisher or number + <long long>self._base < 0:
            if not self._raw or _is_refusal(data, n):
                self._other(peer, data, n)
            return
        if number < 0 or number >= <long long>self.sent or number % self._channels != peer.channel:
            self.doubled += 1       # of an earlier run, or of another channel: nobody asked for it
            return
        self._deliver(peer, <uint64_t>number)

    cdef void _deliver(self, Peer peer, uint64_t number) noexcept:
        """Count message `number` of this run, which is the `place`-th of its channel."""
        cdef uint64_t place = number // self._channels, back, ahead
        if place >= peer.taken:
            ahead = place - peer.taken + 1
            peer.received_mask = (peer.received_mask << ahead if ahead < REMEMBERED else 0) | 1
            peer.taken = place + 1
        else:
            back = peer.taken - 1 - place
            if back >= REMEMBERED or (peer.received_mask >> back) & 1:
                self.doubled += 1
                return
            peer.received_mask |= <uint64_t>1 << back
            self.reordered += 1
        self.delivered += 1
        self.record(self._sent_ns[number % MAX_UNDELIVERED])
        self._settle(number)

    cdef void _settle(self, uint64_t number) noexcept:
        """One delivery less to wait for."""
        cdef uint64_t slot = number % MAX_UNDELIVERED
        if self._remaining[slot] and self.sent - number <= MAX_UNDELIVERED:
            self._remaining[slot] -= 1
            if not self._remaining[slot]:
                self._undelivered -= 1
                self.completed += 1

    cdef void on_batch(self) noexcept:
        cdef uint64_t meant_ns = self._now_ns
        cdef bint some = False
        while self._undelivered < self._in_flight and self.may_send():
            if self._interval_ns:
                meant_ns = self.intended_ns(self.sent)
                if meant_ns > self._now_ns:
                    self.wake_at(meant_ns)
                    break
            self._publish(meant_ns)
            some = True
        if some:
            self.flush(self._publisher)

    cdef void _publish(self, uint64_t meant_ns) noexcept:
        cdef uint64_t slot = self.sent % MAX_UNDELIVERED
        cdef uint32_t channel = self.sent % self._channels
        cdef Template template = <Template>self._templates[self.sent % <uint64_t>len(self._templates)]
        template.set_number(self._base + self.sent)
        if self._raw:
            self._publisher.add_raw(template.data, template.data_bytes)
        else:
            self._publisher.add_frame(self._opcode, template.data, template.data_bytes)
        if self._remaining[slot]:
            self._undelivered -= 1      # so long ago that it is lost
        self._sent_ns[slot] = meant_ns
        self._remaining[slot] = self._subscribers[channel]
        self.expected += self._subscribers[channel]
        self.sent += 1
        if self._remaining[slot]:
            self._undelivered += 1
        else:
            self.completed += 1

    cdef void on_lost(self, Peer peer) noexcept:
        """Without the publisher nothing is sent any more; what a subscriber did not get is not waited for."""
        cdef uint64_t number = peer.taken * self._channels + peer.channel
        if peer is self._publisher:
            self._sending = False
        elif self._subscribers[peer.channel]:
            self._subscribers[peer.channel] -= 1
            while number < self.sent:
                self._settle(number)
                number += self._channels
