"""A cursor: one subscriber's place in a ring.

It knows the frames of its ring and its sink, but not how anything is sent.  What always holds: its
position is the start of a frame or the head, but for the moments in which a frame is being sent;
`holes` are frames ahead of it that this subscriber must not get, in order and apart.
"""
from cython cimport no_gc
from libc.stdint cimport uint64_t

from gateway.hub._framelog cimport FrameLog


@no_gc
cdef class Cursor:
    """A subscriber's place in a ring.  Made by `Ring.attach`, kept alive by its sink's `cursors`.

    The garbage collector does not look at it: the circle through its sink ends when it is detached.
    """

    @property
    def lag_bytes(self):
        """Bytes in the ring that this cursor has not had yet."""
        return 0 if self.ring is None else self.ring.head - self.position

    def skip_newest(self):
        """Leave out the frame appended last: its publication excludes this subscriber."""
        cdef FrameLog ring = self.ring
        cdef uint64_t start
        if ring is None or ring.end_entry == ring.first_entry:
            return
        start = ring.entry(ring.end_entry - 1).start
        if self.position > start:
            return
        if self.position == start:
            self.position = ring.head
            return
        if self.holes is None:
            self.holes = []
        if self.holes and self.holes[-1][1] == start:
            self.holes[-1] = (self.holes[-1][0], ring.head)
        else:
            self.holes.append((start, ring.head))

    cdef bint excludes(self, uint64_t start):
        """Tell whether the frame at `start` is one that this subscriber must not get."""
        if self.holes is None:
            return False
        return any(<uint64_t>low <= start < <uint64_t>high for low, high in self.holes)

    cdef uint64_t next_stop(self) except? 0:
        """Return up to where it may be sent in one piece, passing a hole that it stands at."""
        cdef uint64_t start
        if self.holes is None:
            return self.ring.head
        start = self.holes[0][0]
        if start == self.position:
            self.position = self.holes[0][1]
            del self.holes[0]
            if not self.holes:
                self.holes = None
            return self.position
        return start
