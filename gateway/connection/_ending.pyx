"""The states of a socket of the edge, its place in the timer wheel, and how it comes to its end.

It knows the edge and a transport; what is said before the end is its subclasses' (`_entering`, `_tunnel`).
"""


cdef class Ending(Outgoing):
    """What a client's connection and an end of a tunnel have in common."""

    def __cinit__(self):
        self.wheel_slot = -1

    cdef int linger(self) except -1:
        """Say that nothing more comes; wait, not for long, until the peer has read it and hangs up.

        Closing at once with bytes unread would reset the connection, and the peer might
        never see why.
        """
        self.state = LINGERING
        self.closed = True
        if self.transport is None:
            return 0
        self.read_again()
        self.deadline = self.edge.loop.time() + self.edge.close_timeout
        self.schedule(self.deadline)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        return 0

    cdef int schedule(self, double due) except -1:
        self.wheel_slot = self.edge.wheel.place(self, self.wheel_slot, due)
        return 0

    cdef int stop_reading(self) except -1:
        if not self.reading_paused and self.transport is not None:
            self.reading_paused = True
            self.transport.pause_reading()
        return 0

    cdef int read_again(self) except -1:
        if self.reading_paused and self.transport is not None:
            self.reading_paused = False
            self.transport.resume_reading()
        return 0
