# Publications that leave for Redis together.  See _group.pyx.


cdef class Piece:
    cdef bytearray data
    cdef readonly str key
    cdef readonly Py_ssize_t count
    cdef readonly long long counted_bytes   # against the bound on bytes

    cdef int add(self, bytes packed, Py_ssize_t payload_bytes) except -1


cdef class Group:
    cdef readonly object keys
    cdef readonly object options
    cdef readonly list pieces
    cdef list publishers
    cdef Piece last                 # if more may be put into it
    cdef long long size_bytes
    cdef long long piece_bytes

    cpdef bint add(self, publication, options, str key, publisher) except -1


cdef class Gatherer:
    cdef object keys_of
    cdef object on_first
    cdef list groups
    cdef dict open                  # by channel: the last of its groups
