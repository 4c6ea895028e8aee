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
* the list of cursors changes only in attach() and detach(), never inside a flush.
"""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc

from gateway._encode cimport write_header
from gateway._sink cimport Sink, ssize
from gateway.hub._framelog cimport FrameLog

cdef enum:
    DISCONNECT = 0
    SKIP = 1
    LATEST = 2
    LEAST_BOUND = 1024
    HEADER_BYTES = 10           # of a frame without a mask, at most
    HAND_OVER_BYTES = 65536     # at a time, to a sink that has no socket of its own

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


    cdef bint excludes(self, uint64_t start):
        """Tell whether the frame at `start` is one that this subscriber must not get."""
        if self.holes is None:
            return False
        return any(<uint64_t>low <= start < <uint64_t>high for low, high in self.holes)


cdef class Ring(FrameLog):
    """One channel's outgoing frames in one encoding.

    `bound_bytes` (rounded down to a power of two, at least 1,024) bounds its memory;
    `retain_bytes` of what everybody has had are kept for resume.  `policy` is one of
    POLICIES.  `newest` is the offset of the channel's newest publication.
    `encode_gap(cursor)` returns the payload of the event that announces `cursor`'s gap, and
    its opcode.
    """

    def __cinit__(self):
        self.flushed = self.floor = self.head

    def __init__(self, *, bound_bytes, retain_bytes, policy, newest, Flusher flusher not None,
                 HubStats stats not None, encode_gap):
        if bound_bytes < LEAST_BOUND:
            raise ValueError("a ring needs a bound of at least 1024 bytes")
        self.bound = <uint64_t>1 << (<int>bound_bytes.bit_length() - 1)
        self.retain = min(retain_bytes, self.bound // 2)
        self.policy = POLICIES[policy]
        self.covered = self.newest = newest
        self.flusher = flusher
        self.stats = stats
        self.encode_gap = encode_gap

    def __dealloc__(self):
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
        if offset < self.covered or offset > self.newest:
            return False
        cursor.position = self.first_after(offset)
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
        cdef char header[HEADER_BYTES]
        cdef uint64_t header_bytes = write_header(header, opcode, len(payload), True, False)
        cdef uint64_t n = header_bytes + <uint64_t>len(payload)
        if n > self.bound:
            raise ValueError("the frame is larger than the ring's bound")
        if self.cursor_count == 0 and self.retain == 0:
            self.drop_until(self.head)
            self.covered = self.newest = max(self.newest, offset)
            return
        self.make_room(n)
        self.write(header, header_bytes, payload, offset)
        self.fresh += 1
        self.stats.frames_appended += 1
        self.stats.bytes_appended += n
        if self.cursor_count:
            self.flusher.mark(self)
        else:
            self.flushed = self.floor = self.head
            self.fresh = 0

    def tidy(self, bint idle):
        """Give memory back: all of it when `idle`, else some of what a burst left behind.

        Nothing that an open cursor has not had is touched.  Returns whether the ring holds
        no memory for frames any more.
        """
        cdef uint64_t keep = 0 if idle else min(self.retain, self.head - self.tail)
        if self.capacity == 0:
            return True
        self.find_floor()
        self.drop_until(min(self.floor, self.head - keep))
        if self.head == self.tail and (idle or self.retain == 0):
            self.forget()
            return True
        self.shrink()
        return False

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

    # -- room -------------------------------------------------------------------------

    cdef int make_room(self, uint64_t n) except -1:
        """See that `n` bytes and one entry can be appended."""
        if self.head - self.tail + n > self.capacity:
            if self.retain < self.head - self.tail:
                # What everybody has had goes first; the floor is looked for only when it must be.
                if self.floor < self.head - self.retain:
                    self.find_floor()
                self.drop_until(min(self.floor, self.head - self.retain))
            self.grow(n)
            if self.head - self.tail + n > self.capacity:
                self.apply_policy(n)
        return self.grow_entries(1)

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
                self.next_stop(cursor)              # frames that it must not get are no loss
                if cursor.position < keep_from and not cursor.sink.closed:
                    self.leave_behind(cursor, target)
            self.find_floor()
        self.drop_until(keep_from)
        return 0

    cdef int leave_behind(self, Cursor cursor, uint64_t target) except -1:
        """Treat one cursor that is in the way by the policy; count every frame it loses."""
        cdef uint64_t index = self.index_at(cursor.position), last, lost = 0
        if self.policy != SKIP:
            target = self.head
        last = self.index_at(target)
        while index < last:
            if not cursor.excludes(self.entry(index).start):
                lost += 1
                if self.entry(index).numbered:
                    if cursor.gap_from == 0:
                        cursor.gap_from = self.entry(index).offset
                    cursor.gap_to = self.entry(index).offset
            index += 1
        if self.policy == DISCONNECT:
            self.stats.dropped_disconnect += lost
            self.stats.slow_disconnects += 1
            cursor.sink.too_slow(cursor)
            return 0
        if self.policy == LATEST:
            self.stats.dropped_latest += lost
        else:
            self.stats.dropped_skip += lost
        cursor.gapped = True
        cursor.position = target
        if cursor.holes is not None:
            cursor.holes = [(max(low, target), high) for low, high in cursor.holes if high > target] or None
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
        cdef char header[HEADER_BYTES]
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
