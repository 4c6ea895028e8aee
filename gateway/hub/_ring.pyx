"""The broadcast ring: a message is encoded once, a subscriber is a cursor.

A ring holds the outgoing frames of one channel in one encoding, back to back in a circular
buffer.  Positions are absolute byte counts, so a cursor is one number.  Publishing
appends and asks for one flush this turn of the loop; the flush does one send per
subscriber, straight from the ring's memory, with everything that was appended.

It knows sinks (things with a socket that can be blocked), but neither WebSocket connections
nor brokers nor encodings.  What always holds:

* a sink gets whole frames, in order, each once: a frame taken in part is finished
  by `Sink.hand_over` before anything else is sent, and only then is the sink blocked;
* an open cursor never stands below `tail`; who is about to be overwritten meets the
  policy (disconnect, skip, latest), and every frame dropped is counted;
* `entries` describe exactly the bytes between `tail` and `head`;
* the list of cursors changes only in attach() and detach(), never inside a flush.
"""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from gateway._encode cimport write_header
from gateway._sink cimport Sink, ssize

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
    DISCONNECT = 0
    SKIP = 1
    LATEST = 2
    LEAST_CAPACITY = 1024
    LEAST_ENTRIES = 16
    HAND_OVER_BYTES = 65536     # at a time, to a sink that has no socket of its own

# Positions start in the middle of nowhere, so that history can be put in front.
cdef uint64_t ORIGIN = <uint64_t>1 << 48

POLICIES = {"disconnect": DISCONNECT, "skip": SKIP, "latest": LATEST}


cdef class HubStats:
    """Counters of every ring that was made with it.  Frames and bytes, never reset."""


cdef class Flusher:
    """Runs every dirty ring's flush once per turn of the loop.

    `call_soon(callback)` is the loop's own.
    """

    def __init__(self, call_soon):
        self.call_soon = call_soon
        self.dirty = []

    cdef int mark(self, Ring ring) except -1:
        if not ring.dirty:
            ring.dirty = True
            self.dirty.append(ring)
            if not self.scheduled:
                self.scheduled = True
                self.call_soon(self.run)
        return 0

    def run(self):
        """Flush all dirty rings, in the order in which they became dirty."""
        cdef Ring ring
        rings, self.dirty = self.dirty, []
        self.scheduled = False
        for ring in rings:
            ring.flush()

    @staticmethod
    def catch_up(Sink sink not None):
        """Send to a sink that is no longer blocked what its cursors have not had yet."""
        cdef Cursor cursor
        for cursor in sink.cursors:
            if sink.blocked or sink.closed:
                return
            cursor.ring.drain(cursor)


cdef class Cursor:
    """A subscriber's place in a ring.  Made by `Ring.attach`, kept alive by its sink's `cursors`."""

    @property
    def lag_bytes(self):
        """Bytes in the ring that this cursor has not had yet."""
        return 0 if self.ring is None else self.ring.head - self.position

    def skip_newest(self):
        """Leave out the frame appended last: its publication excludes this subscriber."""
        cdef Ring ring = self.ring
        cdef uint64_t start
        if ring is None or ring.end_entry == ring.first_entry:
            return
        start = ring.entry(ring.end_entry - 1).start
        if self.position > start:
            return
        if self.position == start:
            self.position = ring.head
            return
        if self.holes is None:
            self.holes = []
        if self.holes and self.holes[-1][1] == start:
            self.holes[-1] = (self.holes[-1][0], ring.head)
        else:
            self.holes.append((start, ring.head))


cdef class Ring:
    """One channel's outgoing frames in one encoding.

    `bound_bytes` (rounded down to a power of two, at least 1,024) bounds its memory;
    `retain_bytes` of what everybody has had are kept for resume.  `policy` is one of
    POLICIES.  `newest` is the offset of the channel's newest publication.
    `encode_gap(cursor)` returns the payload of the event that announces `cursor`'s gap, and
    its opcode.
    """

    def __cinit__(self):
        self.tail = self.head = self.flushed = self.floor = ORIGIN

    def __init__(self, *, bound_bytes, retain_bytes, policy, newest, Flusher flusher not None,
                 HubStats stats not None, encode_gap):
        if bound_bytes < LEAST_CAPACITY:
            raise ValueError("a ring needs a bound of at least 1024 bytes")
        self.bound = <uint64_t>1 << (<int>bound_bytes.bit_length() - 1)
        self.retain = min(retain_bytes, self.bound // 2)
        self.policy = POLICIES[policy]
        self.covered = self.newest = newest
        self.flusher = flusher
        self.stats = stats
        self.encode_gap = encode_gap

    def __dealloc__(self):
        if self.stats is not None:
            self.stats.ring_bytes -= self.capacity
        free(self.data)
        free(self.entries)
        free(self.cursors)

    # -- subscribers ------------------------------------------------------------------

    def attach(self, Sink sink not None, owner):
        """Return a new cursor of `sink` at the head: it gets what is appended from now on."""
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cdef Py_ssize_t capacity
        cdef void** cursors
        if self.cursor_count == self.cursors_capacity:
            capacity = max(4, self.cursors_capacity * 2)
            cursors = <void**>realloc(self.cursors, capacity * sizeof(void*))
            if cursors == NULL:
                raise MemoryError
            self.cursors = cursors
            self.cursors_capacity = capacity
        cursor.sink = sink
        cursor.ring = self
        cursor.owner = owner
        cursor.position = self.head
        cursor.index = self.cursor_count
        sink.cursors.append(cursor)
        self.cursors[self.cursor_count] = <void*>cursor
        self.cursor_count += 1
        return cursor

    def detach(self, Cursor cursor not None):
        """Forget a cursor.  It is sent nothing more.  Idempotent."""
        cdef Cursor last
        if cursor.ring is not self:
            return
        self.cursor_count -= 1
        last = <Cursor>self.cursors[self.cursor_count]
        self.cursors[cursor.index] = <void*>last
        last.index = cursor.index
        cursor.ring = None
        cursor.sink.cursors.remove(cursor)
        if self.cursor_count < self.cursors_capacity // 4 and self.cursors_capacity > 16:
            self.cursors_capacity //= 2
            self.cursors = <void**>realloc(self.cursors, self.cursors_capacity * sizeof(void*))

    def send_pending(self, Cursor cursor not None):
        """Send a cursor what it has not had yet, at once, as far as its sink takes it."""
        if cursor.ring is self:
            self.drain(cursor)

    def seek(self, Cursor cursor not None, uint64_t offset):
        """Set a cursor back so that its next publication is the one after `offset`.

        Returns False, and changes nothing, when the ring does not cover that place.
        """
        cdef uint64_t low = self.first_entry, high = self.end_entry, middle
        if offset < self.covered or offset > self.newest:
            return False
        while low < high:
            middle = (low + high) // 2
            if self.entry(middle).offset > offset:
                high = middle
            else:
                low = middle + 1
        cursor.position = self.head if low == self.end_entry else self.entry(low).start
        cursor.holes = None
        if cursor.position != self.head:
            self.floor = min(self.floor, cursor.position)
            self.flusher.mark(self)
        return True

    # -- publications -----------------------------------------------------------------

    def append(self, int opcode, bytes payload not None, uint64_t offset=0):
        """Append one frame and have it sent in this turn of the loop.

        `offset` is the publication's, one more than the newest, or 0 for an event that is
        not numbered.  Raises ValueError when the frame does not fit into the bound.
        """
        cdef char header[14]
        cdef const char* source = payload
        cdef uint64_t payload_bytes = len(payload)
        cdef uint64_t header_bytes = write_header(header, opcode, payload_bytes, True, False)
        cdef uint64_t n = header_bytes + payload_bytes
        cdef Entry* entry
        if n > self.bound:
            raise ValueError("the frame is larger than the ring's bound")
        if self.cursor_count == 0 and self.retain == 0:
            self.newest = max(self.newest, offset)
            self.covered = self.newest
            return
        self.make_room(n)
        entry = self.entry(self.end_entry)
        entry.start = self.head
        entry.numbered = offset != 0
        if offset:
            self.newest = offset
        entry.offset = self.newest
        self.copy_in(self.head, header, header_bytes)
        self.copy_in(self.head + header_bytes, source, payload_bytes)
        self.end_entry += 1
        self.head += n
        self.fresh += 1
        self.stats.frames_appended += 1
        self.stats.bytes_appended += n
        if self.cursor_count:
            self.flusher.mark(self)
        else:
            self.flushed = self.floor = self.head
            self.fresh = 0

    def prepend(self, int opcode, list payloads not None):
        """Put older publications in front: those that end just where the ring's cover begins.

        `payloads` are encoded events in ascending order; the last one's offset is
        `covered`.  Returns False, and changes nothing, when they do not fit.
        """
        cdef char header[14]
        cdef uint64_t n = 0, header_bytes, offset = self.covered, position
        cdef Entry* entry
        cdef bytes payload
        for payload in payloads:
            n += write_header(header, opcode, len(payload), True, False) + <uint64_t>len(payload)
        if <uint64_t>len(payloads) > offset or self.head - self.tail + n > self.bound:
            return False
        while self.capacity < self.head - self.tail + n:
            self.resize(max(LEAST_CAPACITY, self.capacity * 2))
        while self.entries_capacity < self.end_entry - self.first_entry + <uint64_t>len(payloads):
            self.resize_entries(max(LEAST_ENTRIES, self.entries_capacity * 2))
        for payload in reversed(payloads):
            header_bytes = write_header(header, opcode, len(payload), True, False)
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

    def tidy(self, bint idle):
        """Give memory back: all of it when `idle`, else some of what a burst left behind.

        Nothing that an open cursor has not had is touched.  Returns whether the ring holds
        no memory for frames any more.
        """
        cdef uint64_t used
        if self.capacity == 0:
            return True
        self.find_floor()
        self.drop_until(self.floor if idle else min(self.floor, self.head - min(self.retain, self.head - self.tail)))
        used = self.head - self.tail
        if used == 0 and (idle or self.retain == 0):
            self.stats.ring_bytes -= self.capacity
            free(self.data)
            free(self.entries)
            self.data = NULL
            self.entries = NULL
            self.capacity = self.entries_capacity = 0
            return True
        if used <= self.capacity // 8 and self.capacity > LEAST_CAPACITY:
            self.resize(self.capacity // 2)
        if self.end_entry - self.first_entry <= self.entries_capacity // 8 and self.entries_capacity > LEAST_ENTRIES:
            self.resize_entries(self.entries_capacity // 2)
        return False

    @property
    def capacity_bytes(self):
        """Memory held for frames now."""
        return self.capacity

    def lag(self):
        """Return (bytes that the slowest open cursor is behind, number of cursors that are behind)."""
        cdef uint64_t worst = 0
        cdef Py_ssize_t i, behind = 0
        cdef Cursor cursor
        for i in range(self.cursor_count):
            cursor = <Cursor>self.cursors[i]
            if cursor.position != self.head and not cursor.sink.closed:
                behind += 1
                worst = max(worst, self.head - cursor.position)
        return worst, behind

    # -- entries and memory -----------------------------------------------------------

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

    cdef void copy_in(self, uint64_t position, const char* source, uint64_t n) noexcept:
        cdef uint64_t at = position & (self.capacity - 1)
        cdef uint64_t first = min(n, self.capacity - at)
        memcpy(self.data + at, source, first)
        memcpy(self.data, source + first, n - first)

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
        self.stats.ring_bytes += capacity - self.capacity
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

    cdef int make_room(self, uint64_t n) except -1:
        """See that `n` bytes and one entry can be appended."""
        if self.head - self.tail + n > self.capacity:
            if self.retain < self.head - self.tail:
                # What everybody has had goes first; the floor is looked for only when it must be.
                if self.floor < self.head - self.retain:
                    self.find_floor()
                self.drop_until(min(self.floor, self.head - self.retain))
            while self.head - self.tail + n > self.capacity and self.capacity < self.bound:
                self.resize(min(self.bound, max(LEAST_CAPACITY, self.capacity * 2)))
            if self.head - self.tail + n > self.capacity:
                self.apply_policy(n)
        if self.end_entry - self.first_entry == self.entries_capacity:
            self.resize_entries(max(LEAST_ENTRIES, self.entries_capacity * 2))
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

    cdef void find_floor(self) noexcept:
        cdef Py_ssize_t i
        cdef uint64_t floor = self.head
        cdef Cursor cursor
        for i in range(self.cursor_count):
            cursor = <Cursor>self.cursors[i]
            if cursor.position < floor and not cursor.sink.closed:
                floor = cursor.position
        self.floor = floor

    # -- slow consumers ---------------------------------------------------------------

    cdef int apply_policy(self, uint64_t n) except -1:
        """The ring is at its bound: send what can be sent, then move who is still in the way."""
        cdef uint64_t keep_from, target
        cdef Py_ssize_t i
        cdef Cursor cursor
        self.flush()
        self.find_floor()
        keep_from = self.frame_start(self.head + n - self.capacity)
        if self.floor < keep_from:
            # Half a ring is cleared at once, so that a slow subscriber is not met at every append.
            target = self.frame_start(self.head + n - self.capacity // 2)
            for i in range(self.cursor_count):
                cursor = <Cursor>self.cursors[i]
                if cursor.position < keep_from and not cursor.sink.closed:
                    self.leave_behind(cursor, target)
            self.find_floor()
        self.drop_until(keep_from)
        return 0

    cdef int leave_behind(self, Cursor cursor, uint64_t target) except -1:
        """Treat one cursor that is in the way by the policy; count every frame it loses."""
        cdef uint64_t index = self.index_at(cursor.position), last
        if self.policy == DISCONNECT:
            self.stats.dropped_disconnect += self.end_entry - index
            self.stats.slow_disconnects += 1
            cursor.sink.too_slow(cursor)
            return 0
        if self.policy == LATEST:
            target = self.head
        last = self.index_at(target)
        if self.policy == LATEST:
            self.stats.dropped_latest += last - index
        else:
            self.stats.dropped_skip += last - index
        while index < last:
            if self.entry(index).numbered:
                if cursor.gap_from == 0:
                    cursor.gap_from = self.entry(index).offset
                cursor.gap_to = self.entry(index).offset
            index += 1
        cursor.gapped = True
        cursor.position = target
        if cursor.holes is not None:
            cursor.holes = [hole for hole in cursor.holes if <uint64_t>hole[0] >= target] or None
        return 0

    # -- sending ----------------------------------------------------------------------

    cdef int flush(self) except -1:
        """Offer every cursor that can move all that it has not had, in one send each."""
        cdef uint64_t start = self.flushed, n = self.head - start, fresh = self.fresh
        cdef uint64_t at = start & (self.capacity - 1), served = 0
        cdef ssize taken
        cdef Py_ssize_t i
        cdef Cursor cursor
        cdef Sink sink
        cdef bint whole = self.tail <= start and n != 0 and at + n <= self.capacity
        self.dirty = False
        self.flushed = self.head
        self.fresh = 0
        for i in range(self.cursor_count):
            cursor = <Cursor>self.cursors[i]
            if cursor.position == self.head:
                continue
            sink = cursor.sink
            if sink.blocked or sink.closed:
                continue
            if not (whole and cursor.position == start and sink.fd >= 0) or (
                    cursor.gapped or sink.corked or cursor.holes is not None):
                self.drain(cursor)
                continue
            taken = sink.offer(self.data + at, n)
            if taken == <ssize>n:
                cursor.position = self.head
                served += 1
            else:
                self.advance(cursor, taken, n)
                self.drain(cursor)
        self.stats.sends += served
        self.stats.bytes_sent += served * n
        self.stats.frames_delivered += served * fresh
        return 0

    cdef int drain(self, Cursor cursor) except -1:
        """Send one cursor all that it has not had, until its sink is blocked."""
        cdef Sink sink = cursor.sink
        cdef uint64_t end, at
        if sink.blocked or sink.closed:
            return 0
        if sink.corked:
            sink.uncork()
        if cursor.gapped and not sink.blocked and not sink.closed:
            self.send_gap(cursor)
        while cursor.position != self.head and not sink.blocked and not sink.closed:
            end = self.next_stop(cursor)
            if end == cursor.position:
                continue                            # it stood before a hole, and is behind it now
            if sink.fd < 0:
                self.hand_over(cursor, self.frame_start(min(end, cursor.position + HAND_OVER_BYTES)))
                continue
            at = cursor.position & (self.capacity - 1)
            end = min(end, cursor.position + self.capacity - at)
            self.advance(cursor, sink.offer(self.data + at, end - cursor.position), end - cursor.position)
        return 0

    cdef int advance(self, Cursor cursor, ssize taken, uint64_t offered) except -1:
        """Move a cursor past what its sink took; finish a frame that was taken in part."""
        cdef uint64_t index
        self.stats.sends += 1
        if taken < 0:
            cursor.sink.broken()
            return 0
        index = self.index_at(cursor.position)
        cursor.position += taken
        self.stats.bytes_sent += taken
        self.stats.frames_delivered += self.index_at(cursor.position) - index
        if <uint64_t>taken < offered:
            self.stats.blocks += 1
            self.hand_over(cursor, self.end_of(self.find(cursor.position)))
        return 0

    cdef int hand_over(self, Cursor cursor, uint64_t end) except -1:
        """Queue what lies between a cursor and `end`, the end of a frame, behind its socket."""
        cdef uint64_t at = cursor.position & (self.capacity - 1)
        cdef uint64_t n = end - cursor.position, first = min(n, self.capacity - at)
        cdef uint64_t index = self.index_at(cursor.position)
        cursor.position = end
        self.stats.bytes_sent += n
        self.stats.frames_delivered += self.index_at(end) - index
        cursor.sink.hand_over(self.data + at, first)
        if n > first:
            cursor.sink.hand_over(self.data, n - first)
        return 0

    cdef int send_gap(self, Cursor cursor) except -1:
        """Tell a subscriber what it lost, before anything that follows."""
        cdef char header[14]
        cdef ssize taken, n
        opcode, payload = self.encode_gap(cursor)
        frame = header[:write_header(header, opcode, len(payload), True, False)] + payload
        n = len(frame)
        cursor.gapped = False
        cursor.gap_from = cursor.gap_to = 0
        self.stats.gaps += 1
        taken = cursor.sink.offer(<const char*>frame, n) if cursor.sink.fd >= 0 else 0
        if taken < 0:
            cursor.sink.broken()
        elif taken < n:
            cursor.sink.hand_over(<const char*>frame + taken, n - taken)
        return 0

    cdef uint64_t next_stop(self, Cursor cursor) except? 0:
        """Return up to where the cursor may be sent in one piece, passing a hole that it stands at."""
        cdef uint64_t start
        if cursor.holes is None:
            return self.head
        start = cursor.holes[0][0]
        if start == cursor.position:
            cursor.position = cursor.holes[0][1]
            del cursor.holes[0]
            if not cursor.holes:
                cursor.holes = None
            return cursor.position
        return start
