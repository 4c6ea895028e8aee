# A client's publish on its way to the broker.  See _publishing.pyx.
from gateway.broker._outcome cimport Outcome


cdef class Numbering:
    cdef bytes prefix
    cdef unsigned long long count

    cpdef str next(self)


cdef enum:
    _MOST_BUCKETS = 32


cdef class Buckets:
    cdef double bounds[_MOST_BUCKETS]
    cdef unsigned long long found[_MOST_BUCKETS]
    cdef int number
    cdef readonly double sum


cdef class Publishing(Outcome):
    cdef readonly object command
    cdef public bint is_first           # its session answers once it is settled
    cdef object session
    cdef object clock
    cdef double started_s

    cdef int begin(self, object session, object command, object clock) except -1


cdef class Route:
    cdef object node
    cdef object node_options            # with which it was made
    cdef object options                 # of the channel, for the broker
    cdef object clock
    cdef Numbering numbering
    cdef str channel
    cdef Py_ssize_t max_bytes


cdef class Together:
    cdef object node
    cdef object clock
    cdef list outcomes                  # of `Publish`, in the order in which they were begun
    cdef Py_ssize_t left                # how many are not known
    cdef object waits                   # a future, once somebody waits
    cdef object node_options            # with which what follows was found out
    cdef str channel
    cdef object options
    cdef Numbering numbering
    cdef Py_ssize_t max_bytes

    cdef int learn(self, str channel) except -1
    cdef int on_one_known(self) except -1


cdef class Publish(Outcome):
    cdef Together together
    cdef double started_s
