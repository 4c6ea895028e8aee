# What became of a publication that was begun.  See _outcome.pyx.


cdef class Outcome:
    cdef readonly bint known        # it is settled
    cdef readonly object problem    # what `Broker.publish` would have raised, or None
    cdef str epoch
    cdef long long offset
    cdef bint duplicate

    # Take where the publication stands.
    cdef int place(self, str epoch, long long offset) except -1
    # What a publisher does once it is known; must not raise.
    cdef int on_known(self) except -1
