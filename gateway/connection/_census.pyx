# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""How many connections several processes have: in all, and under names such as addresses and users.

It is a piece of memory that they share, with a part for each.  A process writes to its own part only, and
reads those of the others; so nothing is locked, nobody is asked, and what a process that was killed had
counted is gone as soon as its part is cleared.  A part is a number and a table of hashed names, with open
addressing.

What always holds: whoever adds writes first and reads what the others wrote afterwards, both in one order for
all processes; so of two that add at once at least one sees the other, and no bound is ever exceeded (both may
see each other, and both be one too many).  Names are hashed with a secret of the memory's own.
"""
import hashlib
import mmap
import os
import tempfile

cdef extern from *:
    """
    static inline long long rg_load(const long long* at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }
    static inline void rg_store(long long* at, long long to) { __atomic_store_n(at, to, __ATOMIC_SEQ_CST); }
    """
    long long rg_load(const long long* at) noexcept nogil
    void rg_store(long long* at, long long value) noexcept nogil

cdef enum:
    HEAD_BYTES = 64                 # of a part, before its table: the number of connections
    SEED_BYTES = 16
    LEAST_ENTRIES = 64
    ENTRIES_EACH = 4                # for each connection; it has two names at the most

PAGE_BYTES = mmap.PAGESIZE
cdef Py_ssize_t PAGE = PAGE_BYTES


def capacity_for(most):
    """Return how many entries each process's table has, of `most` connections in all."""
    capacity = LEAST_ENTRIES
    while capacity < ENTRIES_EACH * most:
        capacity *= 2
    return capacity


def part_bytes(most):
    """Return the size of each process's part: whole pages."""
    n = HEAD_BYTES + capacity_for(most) * sizeof(Entry)
    return -(-n // PAGE_BYTES) * PAGE_BYTES


def make_memory(processes, most):
    """Return a descriptor of fresh memory, which others can inherit; pages count once they are used."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("ringgate", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, PAGE_BYTES + processes * part_bytes(most))
        os.pwrite(fd, os.urandom(SEED_BYTES), 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


cdef class Census:
    """The counts of `processes`, of which this is number `me`, from 0.

    `fd` is what `make_memory` returned for the same numbers; it may be closed afterwards.  `most` is the
    bound on the connections of all processes.  It has `add`, `take` and `len()` of `counts.Counting`.
    """

    def __init__(self, int fd, *, int processes, int me, Py_ssize_t most):
        if not 0 <= me < processes:
            raise ValueError("there is no such process")
        self.table_bytes = part_bytes(most)
        self.memory = mmap.mmap(fd, PAGE_BYTES + processes * self.table_bytes)
        self.view = self.memory
        self.at = <char*>&self.view[0]
        self.seed = self.memory[:SEED_BYTES]
        self.capacity = capacity_for(most)
        self.processes = processes
        self.me = me
        self.most = most

    def add(self, str name not None):
        """Count one more under a name; return how many there are now, in all processes."""
        cdef long long hashed = self.hash_of(name)
        cdef Entry* entry = self.find(hashed)
        cdef long long count
        if entry == NULL:                           # no room: it cannot be, and costs the count only
            return 1 + self.elsewhere(hashed)
        count = 0
        if entry.name == hashed:
            count = entry.count
        else:
            rg_store(&entry.name, hashed)
        self.names += count == 0
        rg_store(&entry.count, count + 1)
        return count + 1 + self.elsewhere(hashed)

    def take(self, str name not None):
        """Count one less of what this process added."""
        cdef long long hashed = self.hash_of(name)
        cdef Entry* entries = self.entries_of(self.me)
        cdef Entry* entry = self.find(hashed)
        cdef size_t mask = self.capacity - 1, i
        if entry == NULL or entry.name != hashed or entry.count == 0:
            return
        rg_store(&entry.count, entry.count - 1)
        if entry.count:
            return
        self.names -= 1
        i = entry - entries
        if entries[(i + 1) & mask].name:
            return                                  # something may be found behind it only
        while entries[i].name and not entries[i].count:
            rg_store(&entries[i].name, 0)
            i = (i - 1) & mask

    def __len__(self):
        """Return under how many names this process has added something."""
        return self.names

    def total(self):
        """Return how many connections all processes have."""
        cdef int process
        return sum(rg_load(self.total_of(process)) for process in range(self.processes))

    def judge(self, Py_ssize_t here):
        """Say how many connections this process has; return by how many all processes have too many."""
        return self.over(here)

    def clear(self, int process):
        """Forget what a process counted that is gone, and give its memory back."""
        start = PAGE_BYTES + process * self.table_bytes
        if hasattr(mmap, "MADV_REMOVE"):
            self.memory.madvise(mmap.MADV_REMOVE, start, self.table_bytes)
        else:
            self.memory[start:start + self.table_bytes] = bytes(self.table_bytes)

    cdef long long* total_of(self, int process) noexcept nogil:
        return <long long*>(self.at + PAGE + process * self.table_bytes)

    cdef Entry* entries_of(self, int process) noexcept nogil:
        return <Entry*>(self.at + PAGE + process * self.table_bytes + HEAD_BYTES)

    cdef long long hash_of(self, str name) except 0:
        cdef bytes text = name.encode("utf-8", "surrogatepass")
        cdef bytes digest = hashlib.blake2b(text, digest_size=8, key=self.seed).digest()
        cdef long long hashed = int.from_bytes(digest, "little", signed=True)
        return hashed or 1

    cdef Entry* find(self, long long name) noexcept nogil:
        """Return the entry of a name, or where it could be; NULL without room."""
        cdef Entry* entries = self.entries_of(self.me)
        cdef Entry* free = NULL
        cdef size_t i = <size_t>name & (self.capacity - 1), _n
        for _n in range(self.capacity):
            if entries[i].name == name:
                return &entries[i]
            if entries[i].name == 0:
                return free if free != NULL else &entries[i]
            if entries[i].count == 0 and free == NULL:
                free = &entries[i]
            i = (i + 1) & (self.capacity - 1)
        return free

    cdef long long elsewhere(self, long long name) noexcept nogil:
        """Return how many other processes have under a name."""
        cdef long long count = 0, found, there
        cdef size_t i, _n
        cdef int process
        cdef Entry* entries
        for process in range(self.processes):
            if process == self.me:
                continue
            entries = self.entries_of(process)
            i = <size_t>name & (self.capacity - 1)
            for _n in range(self.capacity):
                there = rg_load(&entries[i].name)
                if there == name:
                    found = rg_load(&entries[i].count)
                    if rg_load(&entries[i].name) == name:   # it was not given to another meanwhile
                        count += found
                if there == name or there == 0:
                    break
                i = (i + 1) & (self.capacity - 1)
        return count

    cdef Py_ssize_t over(self, Py_ssize_t here) noexcept nogil:
        cdef Py_ssize_t count = 0
        cdef int process
        self.tell(here)
        for process in range(self.processes):
            count += rg_load(self.total_of(process))
        return count - self.most

    cdef void tell(self, Py_ssize_t here) noexcept nogil:
        rg_store(self.total_of(self.me), here)
