# The load generator's connections and loop.  See _load.pyx; its scenarios are in _echo.pyx and _fanout.pyx.
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from gateway._frames cimport Decoder


cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    cdef struct sockaddr_storage:
        unsigned short ss_family


cdef extern from "bench/_poller.h" nogil:
    cdef struct rg_event:
        uint32_t index
        int ready
    cdef enum:
        RG_READ
        RG_WRITE
        RG_POLL_EVENTS
    uint64_t rg_clock_ns()


cdef enum:
    CLOSED = 0
    CONNECTING = 1          # the socket is not connected yet
    UPGRADING = 2           # the request is sent, the answer not whole
    SUBSCRIBING = 3         # the subscribe message is sent, not confirmed
    READY = 4

cdef enum:
    LATENCY_BUCKETS = 2560  # 64 for each power of two of nanoseconds; histogram.py knows their bounds


# Whom to connect to and what to say first.
cdef class Target:
    cdef sockaddr_storage _address
    cdef socklen_t _address_bytes
    cdef bytes _request             # of the upgrade; empty: a bare connection, ready when connected
    cdef bytes _accept              # the Sec-WebSocket-Accept that is right for it


# One connection.
cdef class Peer:
    cdef Target target
    cdef Decoder decoder
    cdef bytes subscribe            # the message to send first, or empty
    cdef bytes head                 # of the upgrade's answer, the part that came
    cdef int fd
    cdef int state
    cdef bint watches_writes
    cdef uint32_t index             # in Load.peers
    cdef uint64_t began_ns          # when it was meant to connect
    # what is to be sent
    cdef char* out
    cdef size_t out_at, out_end, out_room
    # the scenario's
    cdef uint64_t sent, taken       # numbers of messages: the next to send, the next to receive
    cdef uint64_t first             # of this run
    cdef uint64_t received_mask     # bit i: message `taken - 1 - i` (of its channel) came
    cdef uint32_t channel
    cdef size_t due                 # messages to send when the read is dealt with

    cdef char* reserve(self, size_t n) noexcept
    cdef void add_raw(self, const char* data, size_t n) noexcept
    cdef void add_frame(self, int opcode, const char* payload, size_t n) noexcept


# A set of connections and the loop that serves them.
cdef class Load:
    cdef readonly list peers
    cdef readonly str problem           # the first thing that went wrong, or ""
    cdef readonly str other             # the last message that was none of ours
    cdef readonly uint64_t opened, failed, closed       # connections
    cdef readonly uint64_t bytes_in, reads, writes, others
    cdef readonly uint64_t sent, completed              # messages
    cdef readonly uint64_t waits                        # times the loop had nothing to do
    cdef bytes _confirmation
    cdef bint _close_when_ready
    cdef int _poller, _timer
    cdef char* _buffer
    cdef rg_event* _events
    cdef uint64_t* _latencies
    cdef uint64_t _now_ns
    cdef uint64_t _mask_state
    # connections to open
    cdef uint64_t _opening, _to_open, _at_once, _started
    # messages to send
    cdef bint _sending
    cdef uint64_t _begin_ns, _end_ns, _messages, _in_flight
    cdef double _interval_ns            # between messages or connections of an open loop; 0 in a closed one

    # the scenario's part
    cdef void on_message(self, Peer peer, const char* data, size_t n) noexcept
    cdef void on_read(self, Peer peer) noexcept
    cdef void on_batch(self) noexcept
    cdef void on_lost(self, Peer peer) noexcept
    # what a scenario uses
    cdef void flush(self, Peer peer) noexcept
    cdef bint may_send(self) noexcept
    cdef uint64_t intended_ns(self, uint64_t number) noexcept
    cdef void wake_at(self, uint64_t at_ns) noexcept
    cdef void record(self, uint64_t since_ns) noexcept
    # the loop
    cdef void _turn(self, int timeout_ms) noexcept
    cdef void _start_due(self) noexcept
    cdef void _start(self, Peer peer, uint64_t meant_ns) noexcept
    cdef void _connected(self, Peer peer) noexcept
    cdef void _readable(self, Peer peer) noexcept
    cdef Py_ssize_t _upgraded(self, Peer peer, size_t n) noexcept
    cdef void _events_of(self, Peer peer) noexcept
    cdef void _subscribed(self, Peer peer) noexcept
    cdef void _other(self, Peer peer, const char* data, size_t n) noexcept
    cdef void _lose(self, Peer peer, str why) noexcept
