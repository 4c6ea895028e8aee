"""Frames back to back in a circular buffer: the memory of a broadcast ring.

Positions are absolute byte counts, so that a reader is one number; they, and the numbers of the
entries, start in the middle of nowhere, so that older frames can be put in front.  It knows
neither who reads nor what the frames mean, beyond the offset of the publication that each
of them carries.  What always holds: `entries` describe exactly the bytes between `tail` and `head`, frame by
frame; the log covers every publication after `covered` up to `newest`.
"""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from gateway._encode cimport write_header
from gateway._sink cimport iovec

cdef extern from *:
    """
    #ifdef RINGGATE_DEBUG
    #define RINGGATE_POISON 1
    #else
    #define RINGGATE_POISON 0
    #endif
    """
    const int RINGGATE_POISON

cdef enum:
    LEAST_CAPACITY = 1024
    LEAST_ENTRIES = 16

cdef uint64_t ORIGIN = <uint64_t>1 << 48


cdef class FrameLog:
    """A log of frames that holds at most `bound` bytes; see `_ring.Ring` for its use."""

    def __cinit__(self):
        self.tail = self.head = self.first_entry = self.end_entry = ORIGIN

    def __dealloc__(self):
        free(self.data)
        free(self.entries)

    @property
    def capacity_bytes(self):
        """Memory held for frames now."""
        return self.capacity

    @property
    def held_bytes(self):
        """Bytes of frames that are kept now."""
        return self.head - self.tail

    def prepend(self, list frames not None):
        """Put older publications in front: those that end just where the ring's cover begins.

        `frames` are pairs of opcode (with RSV1 where deflated) and payload, in ascending order; the last
        one's offset is `covered`.  Returns False, and changes nothing, when they do not fit, or when frames
        from before a `rebase` are still here, which would come between them and those that follow.
        """
        cdef char header[HEADER_BYTES]
        cdef uint64_t n = 0, header_bytes, offset = self.covered, position
        cdef Entry* entry
        cdef bytes payload
        cdef int opcode
        if self.first_entry != self.end_entry and self.entry(self.first_entry).offset < self.covered:
            return False
        for opcode, payload in frames:
            n += <uint64_t>len(payload)
            n += write_header(header, opcode & 15, len(payload), True, (opcode & RSV1) != 0)
        if <uint64_t>len(frames) > offset or self.head - self.tail + n > self.bound:
            return False
        self.grow(n)
        self.grow_entries(len(frames))
        for opcode, payload in reversed(frames):
            header_bytes = write_header(header, opcode & 15, len(payload), True, (opcode & RSV1) != 0)
            position = self.tail - header_bytes - <uint64_t>len(payload)
            self.copy_in(position, header, header_bytes)
            self.copy_in(position + header_bytes, payload, len(payload))
            self.first_entry -= 1
            entry = self.entry(self.first_entry)
            entry.start = position
            entry.offset = offset
            entry.numbered = True
            offset -= 1
            self.tail = position
        self.covered = offset
        return True

    def rebase(self, uint64_t newest):
        """Begin a new count at `newest`: a new epoch, or a place after publications that never came.

        Frames already in the ring still reach their subscribers; they cannot be resumed from.
        """
        cdef uint64_t index
        for index in range(self.first_entry, self.end_entry):
            self.entry(index).offset = 0
            self.entry(index).numbered = False
        self.covered = self.newest = newest

    # -- entries --------------------------------------------------------------------------

    cdef Entry* entry(self, uint64_t index) noexcept:
        return &self.entries[index & (self.entries_capacity - 1)]

    cdef uint64_t find(self, uint64_t position) noexcept:
        """Return the index of the entry whose frame holds the byte at `position`."""
        cdef uint64_t low = self.first_entry, high = self.end_entry, middle
        while high - low > 1:
            middle = (low + high) // 2
            if self.entry(middle).start <= position:
                low = middle
            else:
                high = middle
        return low

    cdef uint64_t index_at(self, uint64_t position) noexcept:
        """Return find(position), or one past the last entry when `position` is the head."""
        return self.end_entry if position == self.head else self.find(position)

    cdef uint64_t end_of(self, uint64_t index) noexcept:
        return self.head if index + 1 == self.end_entry else self.entry(index + 1).start

    cdef uint64_t frame_start(self, uint64_t position) noexcept:
        """Return the least position at or after `position` at which a frame starts, or the head."""
        cdef uint64_t index
        if position >= self.head:
            return self.head
        index = self.find(position)
        return position if self.entry(index).start == position else self.end_of(index)

    cdef uint64_t first_after(self, uint64_t offset) noexcept:
        """Return the position of the first frame whose offset is greater, or the head."""
        cdef uint64_t low = self.first_entry, high = self.end_entry, middle
        while low < high:
            middle = (low + high) // 2
            if self.entry(middle).offset > offset:
                high = middle
            else:
                low = middle + 1
        return self.head if low == self.end_entry else self.entry(low).start

    # -- memory ---------------------------------------------------------------------------

    cdef void copy_in(self, uint64_t position, const char* source, uint64_t n) noexcept:
        cdef uint64_t at = position & (self.capacity - 1)
        cdef uint64_t first = min(n, self.capacity - at)
        memcpy(self.data + at, source, first)
        memcpy(self.data, source + first, n - first)

    cdef int pieces_of(self, uint64_t start, uint64_t end, iovec* pieces) noexcept:
        """Describe the bytes from `start` to `end`: one piece of memory, or two where they wrap around."""
        cdef uint64_t at = start & (self.capacity - 1), n = end - start
        pieces[0].iov_base = self.data + at
        pieces[0].iov_len = min(n, self.capacity - at)
        pieces[1].iov_base = self.data
        pieces[1].iov_len = n - pieces[0].iov_len
        return 2 if pieces[1].iov_len else 1

    cdef int resize(self, uint64_t capacity) except -1:
        """Move everything into a buffer of another size (a power of two that holds it)."""
        cdef char* data = <char*>malloc(capacity)
        cdef uint64_t position = self.tail, source, target, n
        if data == NULL:
            raise MemoryError
        while position != self.head:
            source = position & (self.capacity - 1)
            target = position & (capacity - 1)
            n = min(self.head - position, min(self.capacity - source, capacity - target))
            memcpy(data + target, self.data + source, n)
            position += n
        free(self.data)
        self.data = data
        self.capacity = capacity
        return 0

    cdef int resize_entries(self, uint64_t capacity) except -1:
        cdef Entry* entries = <Entry*>malloc(capacity * sizeof(Entry))
        cdef uint64_t index
        if entries == NULL:
            raise MemoryError
        for index in range(self.first_entry, self.end_entry):
            entries[index & (capacity - 1)] = self.entry(index)[0]
        free(self.entries)
        self.entries = entries
        self.entries_capacity = capacity
        return 0

    cdef void drop_until(self, uint64_t position) noexcept:
        """Forget whole frames that end at or before `position`."""
        cdef uint64_t end, at, first
        while self.first_entry != self.end_entry:
            end = self.end_of(self.first_entry)
            if end > position:
                return
            if RINGGATE_POISON:
                at = self.tail & (self.capacity - 1)
                first = min(end - self.tail, self.capacity - at)
                memset(self.data + at, 0xDD, first)
                memset(self.data, 0xDD, end - self.tail - first)
            self.covered = max(self.covered, self.entry(self.first_entry).offset)
            self.first_entry += 1
            self.tail = end

    cdef void write(self, const char* header, uint64_t header_bytes, bytes payload, uint64_t offset) noexcept:
        """Append one frame; there must be room for it.  `offset` 0: it is not numbered."""
        cdef Entry* entry = self.entry(self.end_entry)
        entry.start = self.head
        entry.numbered = offset != 0
        if offset:
            self.newest = offset
        entry.offset = self.newest
        self.copy_in(self.head, header, header_bytes)
        self.copy_in(self.head + header_bytes, payload, len(payload))
        self.end_entry += 1
        self.head += header_bytes + <uint64_t>len(payload)

    cdef void forget(self) noexcept:
        """Free all memory; only when nothing is kept."""
        free(self.data)
        free(self.entries)
        self.data = NULL
        self.entries = NULL
        self.capacity = self.entries_capacity = 0

    cdef int shrink(self) except -1:
        """Give half of the memory back where an eighth of it would do."""
        if self.head - self.tail <= self.capacity // 8 and self.capacity > LEAST_CAPACITY:
            self.resize(self.capacity // 2)
        if (self.end_entry - self.first_entry <= self.entries_capacity // 8
                and self.entries_capacity > LEAST_ENTRIES):
            self.resize_entries(self.entries_capacity // 2)
        return 0

    cdef int grow(self, uint64_t n) except -1:
        """Make `n` bytes fit behind the head, as far as the bound allows."""
        while self.head - self.tail + n > self.capacity and self.capacity < self.bound:
            self.resize(min(self.bound, max(<uint64_t>LEAST_CAPACITY, self.capacity * 2)))
        return 0

    cdef int grow_entries(self, uint64_t n) except -1:
        """Make `n` more entries fit."""
        while self.entries_capacity < self.end_entry - self.first_entry + n:
            self.resize_entries(max(<uint64_t>LEAST_ENTRIES, self.entries_capacity * 2))
        return 0
