# One subscriber's place in a ring.  See _cursor.pyx.
from libc.stdint cimport uint64_t

from gateway._sink cimport Sink
from gateway.hub._framelog cimport FrameLog


cdef class Cursor:
    cdef readonly Sink sink
    cdef readonly FrameLog ring         # None once detached
    # place in the ring
    cdef uint64_t position          # next byte to send
    cdef Py_ssize_t index           # in the ring's list
    cdef list holes                 # [start, end) pairs of frames that it must not get, ascending
    # a gap not yet announced
    cdef readonly bint gapped
    cdef readonly uint64_t gap_from, gap_to     # offsets, 0 when nothing numbered was dropped

    cdef int leave_out(self, uint64_t start, uint64_t end) except -1
    cdef bint excludes(self, uint64_t start)
    cdef uint64_t next_stop(self) except? 0
