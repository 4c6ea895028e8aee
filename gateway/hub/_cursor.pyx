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

    @property
    def had_offset(self):
        """Offset of the newest publication before its place; 0 among frames from before a `rebase`."""
        cdef FrameLog ring = self.ring
        cdef uint64_t index
        if ring is None:
            return 0
        if self.position == ring.head:
            return ring.newest
        index = ring.find(self.position)
        return ring.entry(index).offset - ring.entry(index).numbered

    def skip_newest(self):
        """Leave out the frame appended last: its publication excludes this subscriber."""
        cdef FrameLog ring = self.ring
        if ring is not None and ring.end_entry != ring.first_entry:
            self.leave_out(ring.entry(ring.end_entry - 1).start, ring.head)

    def skip(self, uint64_t offset):
        """Leave out the frame of a publication that excludes this subscriber, if it is still ahead.

        To be called in the order of offsets, before anything is published, for a cursor without holes.
        """
        cdef FrameLog ring = self.ring
        cdef uint64_t start = ring.first_after(offset - 1), index
        if start != ring.head:
            index = ring.find(start)
            if ring.entry(index).numbered and ring.entry(index).offset == offset:
                self.leave_out(start, ring.end_of(index))

    cdef int leave_out(self, uint64_t start, uint64_t end) except -1:
        """Let it pass the frames from `start` to `end`, which lie behind all of its holes."""
        if self.position > start:
            return 0
        if self.position == start:
            self.position = end
            return 0
        if self.holes is None:
            self.holes = []
        if self.holes and self.holes[-1][1] == start:
            self.holes[-1] = (self.holes[-1][0], end)
        else:
            self.holes.append((start, end))
        return 0

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
