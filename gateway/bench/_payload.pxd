# Payloads that tell who they are.  See _payload.pyx.
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

cdef enum:
    MARK_BYTES = 4
    DIGITS = 12
    TAG_BYTES = 16          # a mark and a number in hexadecimal


# A message of which only the number changes.
cdef class Template:
    cdef char* data                 # the message as it is sent
    cdef size_t data_bytes
    cdef size_t payload_at          # where the payload, and so the tag, begins in it
    cdef size_t payload_bytes
    cdef void set_number(self, uint64_t number) noexcept nogil


# Finds tags in what comes back; remembers where the last one was.
cdef class Finder:
    cdef char _mark[MARK_BYTES]
    cdef size_t _at
    # The number of the message is returned, or -1 when there is no tag; `at` tells where it began.
    cdef long long find(self, const char* data, size_t n) noexcept nogil
    cdef readonly size_t at
