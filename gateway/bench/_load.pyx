# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The connections of the load tool and the loop that serves them: raw sockets, epoll, our own frame decoder.

It connects, shakes hands, subscribes, answers pings, and hands messages to a scenario (a subclass).  It must
not know what a scenario measures, nor how a result is told.

What always holds: one thread; one read a connection and turn; what a scenario adds to a connection's `out`
leaves with the next flush; a time of an open loop is measured from when the message should have been sent.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport abort, calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset, strerror

from gateway._encode cimport write_header
from gateway._frames cimport BINARY, CLOSE, FAILED, NEED_DATA, PING, PONG, TEXT, Decoder

from gateway.errors import UsageError


cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int fd, void* to, size_t n, int flags)
    ssize_t c_send "send"(int fd, const void* data, size_t n, int flags)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef extern from "<string.h>" nogil:
    void* memmem(const void* data, size_t n, const void* wanted, size_t wanted_bytes)

cdef extern from * nogil:
    int leading_zeros "__builtin_clzll"(unsigned long long)

cdef extern from "_mask.h" nogil:
    void rg_mask(char* to, const char* data, size_t n, const unsigned char* key, unsigned int at)

cdef extern from "bench/_poller.h" nogil:
    int rg_poller()
    int rg_timer()
    int rg_set_timer(int timer, uint64_t at_ns)
    int rg_watch(int poller, int fd, uint32_t index, int wanted, int is_new)
    int rg_wait(int poller, rg_event* to, int timeout_ms)
    socklen_t rg_address(sockaddr_storage* to, const char* host, const char* port, const char* path)
    int rg_connect(const sockaddr_storage* to, socklen_t size)
    void rg_abort(int fd)
    int rg_socket_error(int fd)

cdef enum:
    READ_BYTES = 1 << 18
    KEPT_BYTES = 1 << 14            # of a connection's `out`; more is given back when it is empty
    MAX_HEAD_BYTES = 1 << 14
    MAX_SHOWN_BYTES = 300
    TIMER = 0xFFFFFFFF              # the timer's index
    MAX_MESSAGE_BYTES = 1 << 26
    MAX_FRAGMENTS = 1 << 20


cdef class Target:
    """An address in numbers (or the path of a Unix socket) and the upgrade request to send there."""

    def __init__(self, str host, int port, *, str path="", bytes request=b"", bytes accept=b""):
        self._address_bytes = rg_address(&self._address, host.encode(), str(port).encode(), path.encode())
        if not self._address_bytes:
            raise UsageError(f"no address: {path or host}")
        self._request = request
        self._accept = accept


cdef class Peer:
    """One connection of the load."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            rg_abort(self.fd)
        free(self.out)

    cdef char* reserve(self, size_t n) noexcept:
        if self.out_end + n > self.out_room:
            self.out_room = 2 * (self.out_end + n)
            self.out = <char*>realloc(self.out, self.out_room)
            if self.out == NULL:
                abort()
        return self.out + self.out_end

    cdef void add_raw(self, const char* data, size_t n) noexcept:
        memcpy(self.reserve(n), data, n)
        self.out_end += n

    cdef void add_frame(self, int opcode, const char* payload, size_t n) noexcept:
        cdef char* to = self.reserve(n + 14)
        cdef size_t head = write_header(to, opcode, n, True, False)
        cdef uint32_t key = <uint32_t>((<uint64_t>self.out_end * 0x9E3779B97F4A7C15u + self.sent) >> 13) | 1
        to[1] |= <char>0x80
        memcpy(to + head, &key, 4)
        rg_mask(to + head + 4, payload, n, <const unsigned char*>to + head, 0)
        self.out_end += head + 4 + n


cdef class Load:
    """Connections to open and to keep.  A scenario adds what is sent over them.

    `confirmation` is what the answer to a subscribe message contains; empty: a subscription counts as made
    when it is sent.  With `close_when_ready` a connection is aborted as soon as it is ready.
    Raises OSError where there is no epoll.
    """

    def __cinit__(self):
        self._poller = self._timer = -1
        self._buffer = <char*>malloc(READ_BYTES + MAX_HEAD_BYTES)
        self._events = <rg_event*>malloc(RG_POLL_EVENTS * sizeof(rg_event))
        self._latencies = <uint64_t*>calloc(LATENCY_BUCKETS, sizeof(uint64_t))
        if self._buffer == NULL or self._events == NULL or self._latencies == NULL:
            raise MemoryError

    def __init__(self, *, bytes confirmation=b"", bint close_when_ready=False):
        self.peers = []
        self.problem = self.other = ""
        self._confirmation = confirmation
        self._close_when_ready = close_when_ready
        self._poller = rg_poller()
        self._timer = rg_timer() if self._poller >= 0 else -1
        if self._timer < 0 or rg_watch(self._poller, self._timer, TIMER, RG_READ, True) < 0:
            raise OSError(errno, "the load tool needs epoll and timerfd, which Linux has")

    def __dealloc__(self):
        if self._poller >= 0:
            c_close(self._poller)
        if self._timer >= 0:
            c_close(self._timer)
        free(self._buffer)
        free(self._events)
        free(self._latencies)

    def add(self, Target target, *, bytes subscribe=b"", int channel=0):
        """Add a connection, which `open` opens; its index is returned."""
        cdef Peer peer = Peer()
        peer.target = target
        peer.subscribe = subscribe
        peer.channel = channel
        peer.index = len(self.peers)
        self.peers.append(peer)
        return peer.index

    def open(self, *, int at_once, double rate=0.0):
        """Begin to open all connections that were added: `at_once` at a time, or `rate` a second."""
        self._at_once = at_once
        self._interval_ns = 1e9 / rate if rate else 0.0
        self._to_open = len(self.peers)
        self._begin_ns = rg_clock_ns()

    def opening(self, int timeout_ms=100):
        """Go on for up to `timeout_ms`; whether there is more to do is returned."""
        cdef uint64_t end_ns = rg_clock_ns() + <uint64_t>timeout_ms * 1000000
        while self.opened + self.failed < self._to_open:
            self._start_due()
            self._turn(timeout_ms)
            if rg_clock_ns() >= end_ns:
                return self.opened + self.failed < self._to_open
        return False

    def begin(self, *, double seconds, uint64_t messages, uint64_t in_flight, double rate=0.0):
        """Begin to send, `in_flight` at a time or at `rate`, for `seconds` or `messages` (0: any number)."""
        self._interval_ns = 1e9 / rate if rate else 0.0
        self._in_flight = in_flight
        self._messages = messages
        self.reset()
        self._begin_ns = rg_clock_ns()
        self._end_ns = self._begin_ns + <uint64_t>(seconds * 1e9)
        self._sending = True
        self._now_ns = self._begin_ns
        self.on_batch()

    def step(self, int timeout_ms=100):
        """Go on for up to `timeout_ms`; whether messages are still to be sent is returned."""
        cdef uint64_t end_ns = rg_clock_ns() + <uint64_t>timeout_ms * 1000000
        cdef uint64_t now_ns = rg_clock_ns()
        while now_ns < end_ns:
            self._turn(<int>((end_ns - now_ns) // 1000000) + 1)
            now_ns = rg_clock_ns()
            if now_ns >= self._end_ns or (self._messages and self.sent >= self._messages):
                self._sending = False
            if not self._sending:
                return False
        return True

    def wait(self, int timeout_ms):
        """Serve the connections for `timeout_ms`, or a shorter time when something happened."""
        self._turn(timeout_ms)

    def reset(self):
        """Forget counts and latencies, but not what is on its way."""
        self.bytes_in = self.reads = self.writes = self.waits = self.others = self.sent = self.completed = 0
        memset(self._latencies, 0, LATENCY_BUCKETS * sizeof(uint64_t))

    def latencies(self):
        """Return how many times fell into each bucket; histogram.py knows the bounds."""
        return [self._latencies[i] for i in range(LATENCY_BUCKETS)]

    def close(self):
        """Abort all connections."""
        cdef Peer peer
        for peer in self.peers:
            if peer.fd >= 0:
                rg_abort(peer.fd)
                peer.fd = -1
                peer.state = CLOSED

    # --- the scenario's part: nothing here ---

    cdef void on_message(self, Peer peer, const char* data, size_t n) noexcept:
        self._other(peer, data, n)

    cdef void on_read(self, Peer peer) noexcept:
        pass

    cdef void on_batch(self) noexcept:
        pass

    cdef void on_lost(self, Peer peer) noexcept:
        pass

    # --- what a scenario uses ---

    cdef void flush(self, Peer peer) noexcept:
        cdef ssize_t n = 0
        if peer.out_end > peer.out_at and not peer.watches_writes and peer.state != CLOSED:
            n = c_send(peer.fd, peer.out + peer.out_at, peer.out_end - peer.out_at, 0)
            self.writes += 1
            if n < 0 and errno != EAGAIN:
                self._lose(peer, f"sending failed: {strerror(errno).decode()}")
                return
            peer.out_at += max(n, 0)
            if peer.out_at < peer.out_end:
                peer.watches_writes = True
                rg_watch(self._poller, peer.fd, peer.index, RG_READ | RG_WRITE, False)
        if peer.out_at == peer.out_end:
            peer.out_at = peer.out_end = 0
            if peer.out_room > KEPT_BYTES:
                free(peer.out)
                peer.out = NULL
                peer.out_room = 0

    cdef bint may_send(self) noexcept:
        if self._interval_ns and self.intended_ns(self.sent) >= self._end_ns:
            return False
        return self._sending and (not self._messages or self.sent < self._messages)

    cdef uint64_t intended_ns(self, uint64_t number) noexcept:
        return self._begin_ns + <uint64_t>(<double>number * self._interval_ns)

    cdef void wake_at(self, uint64_t at_ns) noexcept:
        rg_set_timer(self._timer, at_ns)

    cdef void record(self, uint64_t since_ns) noexcept:
        cdef uint64_t ns = self._now_ns - since_ns if self._now_ns > since_ns else 0
        cdef int shift = 64 - leading_zeros(ns >> 7) if ns >> 7 else 0
        cdef uint64_t bucket = <uint64_t>shift * 64 + (ns >> shift)
        self._latencies[min(bucket, <uint64_t>LATENCY_BUCKETS - 1)] += 1

    # --- the loop ---

    cdef void _turn(self, int timeout_ms) noexcept:
        cdef int count, i
        cdef uint32_t index
        cdef Peer peer
        count = rg_wait(self._poller, self._events, 0)
        if count == 0 and timeout_ms:
            self.waits += 1
            with nogil:
                count = rg_wait(self._poller, self._events, timeout_ms)
        for i in range(count):
            index = self._events[i].index
            if index == TIMER:
                rg_set_timer(self._timer, 0)
                continue
            peer = <Peer>self.peers[index]
            if self._events[i].ready & RG_WRITE and peer.state != CLOSED:
                if peer.state == CONNECTING:
                    self._connected(peer)
                elif peer.watches_writes:
                    peer.watches_writes = False
                    rg_watch(self._poller, peer.fd, peer.index, RG_READ, False)
                    self.flush(peer)
            if self._events[i].ready & RG_READ and peer.state != CLOSED:
                self._readable(peer)
        self._now_ns = rg_clock_ns()
        self.on_batch()

    cdef void _start_due(self) noexcept:
        cdef uint64_t now_ns = rg_clock_ns(), meant_ns
        while self._started < self._to_open:
            meant_ns = self.intended_ns(self._started) if self._interval_ns else now_ns
            if meant_ns > now_ns:
                self.wake_at(meant_ns)
                return
            if not self._interval_ns and self._opening >= self._at_once:
                return
            self._start(<Peer>self.peers[self._started], meant_ns)
            self._started += 1

    cdef void _start(self, Peer peer, uint64_t meant_ns) noexcept:
        peer.began_ns = meant_ns
        peer.state = CONNECTING
        self._opening += 1
        peer.fd = rg_connect(&peer.target._address, peer.target._address_bytes)
        if peer.fd < 0 or rg_watch(self._poller, peer.fd, peer.index, RG_READ | RG_WRITE, True) < 0:
            self._lose(peer, f"connecting failed: {strerror(errno).decode()}")

    cdef void _connected(self, Peer peer) noexcept:
        cdef int problem = rg_socket_error(peer.fd)
        if problem:
            self._lose(peer, f"connecting failed: {strerror(problem).decode()}")
            return
        rg_watch(self._poller, peer.fd, peer.index, RG_READ, False)
        if not PyBytes_GET_SIZE(peer.target._request):
            self._subscribed(peer)
            return
        peer.state = UPGRADING
        peer.add_raw(PyBytes_AS_STRING(peer.target._request), PyBytes_GET_SIZE(peer.target._request))
        self.flush(peer)

    cdef void _readable(self, Peer peer) noexcept:
        cdef ssize_t n = c_recv(peer.fd, self._buffer, READ_BYTES, 0)
        cdef Py_ssize_t head = 0
        if n <= 0:
            if n < 0 and errno in (EAGAIN, EINTR):
                return
            if n < 0:
                self._lose(peer, f"the connection failed: {strerror(errno).decode()}")
            else:
                self._lose(peer, "the server ended the connection")
            return
        self.reads += 1
        self.bytes_in += n
        self._now_ns = rg_clock_ns()
        if peer.state == UPGRADING:
            if peer.head is not None:
                memmove(self._buffer + PyBytes_GET_SIZE(peer.head), self._buffer, n)
                memcpy(self._buffer, PyBytes_AS_STRING(peer.head), PyBytes_GET_SIZE(peer.head))
                n += PyBytes_GET_SIZE(peer.head)
            head = self._upgraded(peer, n)
            if head < 0:
                return
        if peer.decoder is None:
            self.on_message(peer, self._buffer, n)
        else:
            peer.decoder.feed(self._buffer + head, n - head)
            self._events_of(peer)
        if peer.state != CLOSED:
            self.on_read(peer)
            if peer.out_end:
                self.flush(peer)

    cdef Py_ssize_t _upgraded(self, Peer peer, size_t n) noexcept:
        """Check the answer's head; where it ends is returned, or -1."""
        cdef char* end = <char*>memmem(self._buffer, n, b"\r\n\r\n", 4)
        cdef size_t head
        if end == NULL:
            peer.head = PyBytes_FromStringAndSize(self._buffer, n)
            if n > MAX_HEAD_BYTES:
                self._lose(peer, "the answer to the upgrade has no end")
            return -1
        head = end + 4 - self._buffer
        peer.head = None
        if (memmem(self._buffer, min(head, 13), b"HTTP/1.1 101 ", 13) == NULL
                or memmem(self._buffer, head, PyBytes_AS_STRING(peer.target._accept),
                          PyBytes_GET_SIZE(peer.target._accept)) == NULL):
            line = PyBytes_FromStringAndSize(self._buffer, min(n, MAX_SHOWN_BYTES)).split(b"\r\n")[0]
            self._lose(peer, f"the upgrade was refused: {line.decode('ascii', 'replace')}")
            return -1
        peer.decoder = Decoder(client=True, max_message_bytes=MAX_MESSAGE_BYTES, max_fragments=MAX_FRAGMENTS)
        if PyBytes_GET_SIZE(peer.subscribe):
            peer.state = SUBSCRIBING
            peer.add_frame(TEXT, PyBytes_AS_STRING(peer.subscribe), PyBytes_GET_SIZE(peer.subscribe))
            self.flush(peer)
        if not PyBytes_GET_SIZE(peer.subscribe) or not PyBytes_GET_SIZE(self._confirmation):
            self._subscribed(peer)
        return head if peer.state != CLOSED else -1

    cdef void _events_of(self, Peer peer) noexcept:
        cdef Decoder decoder = peer.decoder
        cdef int kind = decoder.next()
        while kind != NEED_DATA and peer.state != CLOSED:
            if kind == TEXT or kind == BINARY:
                if peer.state == READY:
                    self.on_message(peer, decoder.payload, decoder.payload_bytes)
                elif memmem(decoder.payload, decoder.payload_bytes, PyBytes_AS_STRING(self._confirmation),
                            PyBytes_GET_SIZE(self._confirmation)) != NULL:
                    self._subscribed(peer)
                else:
                    self._other(peer, decoder.payload, decoder.payload_bytes)
            elif kind == PING:
                peer.add_frame(PONG, decoder.payload, decoder.payload_bytes)
            elif kind == CLOSE:
                self._lose(peer, f"the server closed with {decoder.close_code} {decoder.close_reason!r}")
            elif kind == FAILED:
                self._lose(peer, f"the server broke RFC 6455: {decoder.close_code} {decoder.close_reason!r}")
            kind = decoder.next()

    cdef void _subscribed(self, Peer peer) noexcept:
        peer.state = READY
        self.opened += 1
        self._opening -= 1
        self._now_ns = rg_clock_ns()
        self.record(peer.began_ns)
        if self._close_when_ready:
            rg_abort(peer.fd)
            peer.fd = -1
            peer.state = CLOSED
            peer.decoder = None

    cdef void _other(self, Peer peer, const char* data, size_t n) noexcept:
        self.others += 1
        if self.others <= 1000:  # the first say enough
            self.other = PyBytes_FromStringAndSize(data, min(n, MAX_SHOWN_BYTES)).decode("utf-8", "replace")

    cdef void _lose(self, Peer peer, str why) noexcept:
        if not self.problem:
            self.problem = why
        if peer.state == READY:
            self.closed += 1
        else:
            self.failed += 1
            self._opening -= 1
        peer.state = CLOSED
        if peer.fd >= 0:
            rg_abort(peer.fd)
            peer.fd = -1
        self.on_lost(peer)
