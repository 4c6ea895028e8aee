# How many connections several processes have, in memory that they share.  See _census.pyx.
cdef struct Entry:
    long long name                  # a hash; 0: no entry was ever here, or is again
    long long count


cdef class Census:
    cdef object memory              # an mmap
    cdef const unsigned char[:] view    # holds the memory where it is
    cdef char* at
    cdef bytes seed
    cdef size_t capacity            # entries of each process, a power of two
    cdef Py_ssize_t table_bytes     # of each process
    cdef int processes, me
    cdef Py_ssize_t names
    cdef readonly Py_ssize_t most   # connections of all processes

    cdef long long* total_of(self, int process) noexcept nogil
    cdef Entry* entries_of(self, int process) noexcept nogil
    cdef long long hash_of(self, str name) except 0
    cdef Entry* find(self, long long name) noexcept nogil
    cdef long long elsewhere(self, long long name) noexcept nogil
    # Say how many connections this process has; return by how many all processes have too many.
    cdef Py_ssize_t over(self, Py_ssize_t here) noexcept nogil
    # Say how many connections this process has.
    cdef void tell(self, Py_ssize_t here) noexcept nogil
