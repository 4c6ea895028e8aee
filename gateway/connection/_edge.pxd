# One client's socket, and what all connections of a loop share.  See _edge.pyx.
from libc.stdint cimport uint64_t

from gateway._frames cimport Decoder
from gateway._sink cimport Sink, ssize


cdef class EdgeStats:               # counters of all connections of one gateway; never reset
    cdef public uint64_t accepted, opened, closed
    cdef public uint64_t messages_in, message_bytes_in
    cdef public uint64_t messages_out, message_bytes_out        # not counting what rings send
    cdef public uint64_t bytes_in
    cdef public uint64_t pings_out, pongs_in
    cdef readonly dict refusals         # label: count
    cdef readonly dict closes           # close code sent or received: count

    cdef int count(self, dict counts, object label) except -1


cdef class Edge:                    # what the connections of one loop share
    # collaborators
    cdef readonly object loop
    cdef readonly object wheel
    cdef readonly object options
    cdef readonly EdgeStats stats
    cdef readonly set connections
    cdef object routes, factories, log
    cdef object timer
    cdef dict deflaters             # by window bits: they keep no context, and serve everybody
    cdef readonly bint draining
    # one read buffer for all, and one place where the answers of one read are gathered
    cdef object read_view
    cdef bytearray read_buffer
    cdef char* read_at
    cdef char* out
    cdef size_t out_bytes, out_capacity
    # limits, copied from options: seconds and bytes
    cdef double handshake_timeout, message_timeout, ping_interval, idle_timeout, close_timeout
    cdef unsigned int max_missed_pings
    cdef size_t compression_threshold
    cdef Py_ssize_t max_connections

    cdef object deflater(self, object parameters)
    cdef char* reserve(self, size_t n) except NULL


cdef class Connection(Sink):
    cdef Edge edge
    cdef object transport
    cdef object handler             # None until the handshake is done
    cdef Decoder decoder
    cdef object deflater
    cdef bytearray head             # of the handshake, while it is incomplete
    cdef bytes stalled              # what was read and not decoded when the peer stopped reading
    cdef bytes pong                 # the one that is owed
    cdef readonly double opened_at
    cdef int state
    cdef bint echo
    cdef bint gathering             # a read is being handled: answers go to edge.out
    cdef bint reading_paused
    # timers: the loop's time
    cdef public int wheel_slot
    cdef bint heard                 # something came since the last visit
    cdef unsigned int pings_unanswered
    cdef double last_heard, next_ping, deadline
    cdef size_t queued_before       # bytes behind the socket at the last visit

    cdef int read_head(self, const char* data, size_t n) except -1
    cdef int open(self, object accepted) except -1
    cdef int refuse(self, object refusal) except -1
    cdef int read_frames(self, char* data, size_t n) except -1
    cdef int take_message(self, int opcode) except -1
    cdef int answer_close(self, int code, bytes reason) except -1
    cdef int write(self, int opcode, const char* payload, size_t n, bint rsv1) except -1
    cdef int push(self, const char* data, size_t n) except -1
    cdef int send_out(self) except -1
    cdef int start_closing(self, int code, bytes reason, int state) except -1
    cdef int linger(self) except -1
    cdef int tell_closed(self, int code, str reason) except -1
    cdef int schedule(self, double due) except -1
    cdef int visit(self, double now) except -1
    cdef int visit_open(self, double now) except -1
    cdef bint is_reading(self) except -1
    cdef double next_visit(self, double now) noexcept
