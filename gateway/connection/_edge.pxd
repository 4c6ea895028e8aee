# What all connections of a loop share.  See _edge.pyx.
from libc.stdint cimport uint64_t

from gateway.connection._census cimport Census
from gateway.connection._wheel cimport TimerWheel


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
    cdef readonly TimerWheel wheel
    cdef readonly object options
    cdef readonly EdgeStats stats
    cdef readonly set connections
    cdef object protocol
    cdef readonly object routes, factories, log
    cdef readonly object passages   # path: what takes the connections that are passed through
    cdef object outbound            # the poller of sockets that the gateway connected, once there are some
    cdef object timer
    cdef dict deflaters             # by window bits: they keep no context, and serve everybody
    cdef readonly bint draining, stopped
    cdef public object admission    # finds clients' addresses and bounds them; None where that is not wanted
    cdef public object on_limit     # hears which bound was reached, and by whom; None where nobody listens
    cdef public Census census       # the connections of several processes; None where there is one
    # one read buffer for all, and one place where the answers of one read are gathered
    cdef object read_view
    cdef bytearray read_buffer
    cdef char* read_at
    cdef size_t read_bytes
    cdef char* out
    cdef size_t out_bytes, out_capacity
    # limits, copied from options: seconds and bytes
    cdef double handshake_timeout, message_timeout, ping_interval, idle_timeout, close_timeout
    cdef unsigned int max_missed_pings
    cdef size_t compression_threshold, max_message_bytes, max_fragments
    cdef Py_ssize_t max_connections

    cdef int reached(self, str limit, str who) except -1
    cdef int broken(self, int code, str who) except -1
    cdef int left(self, object connection) except -1
    cdef object deflater(self, object parameters)
    cdef object inflater(self, object parameters)
    cdef char* reserve(self, size_t n) except NULL
