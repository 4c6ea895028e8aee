# cython: language_level=3, boundscheck=False, wraparound=False
"""What became of a publication that was begun, for publishers in Cython.

An `Outcome` is a `Publisher` (see interface.py) that a broker can tell, in a batch, without a Python call for
each.  It knows neither brokers nor sessions.  What always holds: it is settled once.
"""
from gateway.broker.interface import PublishResult


cdef class Outcome:
    """Whoever learns what became of a publication: nothing until it is `known`."""

    def settle(self, outcome):
        """Take a PublishResult, or what `Broker.publish` would have raised."""
        if isinstance(outcome, Exception):
            self.problem = outcome
        else:
            self.epoch, self.offset, self.duplicate = outcome
        self.known = True
        self.on_known()

    cdef int place(self, str epoch, long long offset) except -1:
        self.epoch = epoch
        self.offset = offset
        self.known = True
        return self.on_known()

    cdef int on_known(self) except -1:
        return 0

    @property
    def outcome(self):
        """The PublishResult or the problem; None until it is known."""
        if not self.known or self.problem is not None:
            return self.problem
        return PublishResult(self.epoch, self.offset, self.duplicate)
